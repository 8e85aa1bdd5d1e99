"""`lock status` and `unlock`: need no readable state, no provider and none of the file's variables."""

from __future__ import annotations

import click

from reconciler.cli.context import Command, Globals, Group, pass_globals
from reconciler.cli.options import output_format
from reconciler.cli.run import workspace


@click.group("lock", cls=Group)
def lock_command() -> None:
    """Who holds the state's lock."""


@lock_command.command("status", epilog="\b\nExample:\n  reconciler lock status --format json")
@output_format("text", "json")
@pass_globals
def status_command(run: Globals, format_: str) -> int:
    """Say who holds the lock, where, since when, and whether they are alive. Exit 0 either way."""
    from reconciler.cli.run import print_lock

    with workspace(run) as space:
        print_lock(run, space.backend.lock_status(), format_)
    return 0


@click.command("unlock", cls=Command, epilog="\b\nExample:\n  reconciler unlock 3f9c1b52-7d1e")
@click.argument("lock_id")
@pass_globals
def unlock_command(run: Globals, lock_id: str) -> int:
    """Remove a lock whose holder is gone. A wrong id, or a holder alive on this host, is an error."""
    with workspace(run) as space:
        space.backend.unlock(lock_id)
    run.console.say(f"removed lock {lock_id}")
    return 0
