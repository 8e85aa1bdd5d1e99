"""`state list|show|mv|rm|pull|push|mv-stack`: what Terraform's do, on this stack's state."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.cli.context import Globals, Group, pass_globals
from reconciler.cli.options import lock_timeout, output_format
from reconciler.cli.run import workspace
from reconciler.diagnostics import Diagnostic, FileError


@click.group("state", cls=Group)
def state_command() -> None:
    """List, show, move or remove what the state holds. None of these touches a provider."""


@state_command.command("list", epilog="\b\nExamples:\n  reconciler state list\n  reconciler state list 'chat*'")
@click.argument("patterns", nargs=-1)
@output_format("text", "json")
@pass_globals
def list_command(run: Globals, patterns: tuple[str, ...], format_: str) -> int:
    """Print the addresses in the state, one a line; PATTERNS as in --target."""
    from dataclasses import asdict

    from reconciler.core.planning.select import matching
    from reconciler.core.state.state_ops import rows
    from reconciler.render.json import to_json
    from reconciler.render.reports import state_list_text

    with workspace(run) as space:
        state = space.base.state
    found = rows(state) if state else ()
    if patterns:
        wanted = matching("state list", patterns, [row.address for row in found])
        found = tuple(row for row in found if row.address in wanted)
    if format_ == "json":
        run.console.result(to_json([asdict(row) for row in found]))
    elif found:
        run.console.result(state_list_text([row.address for row in found]))
    return 0


@state_command.command("show", epilog="\b\nExample:\n  reconciler state show 'chat[\"eu\"]'")
@click.argument("address", required=False)
@output_format("text", "json")
@pass_globals
def show_command(run: Globals, address: str | None, format_: str) -> int:
    """Print one recorded deployment in full, or all of them."""
    if address is None:
        return show_state(run, format_)
    from reconciler.core.state.state_codec import recorded_to_json
    from reconciler.core.state.state_ops import entry_of
    from reconciler.render.json import to_json
    from reconciler.render.reports import entry_text

    with workspace(run) as space:
        entry = entry_of(space.state_or_error(), address)
    text = to_json(recorded_to_json(entry)) if format_ == "json" else entry_text(entry, color=run.console.color_out)
    run.console.result(text)
    return 0


def show_state(run: Globals, format_: str) -> int:
    """Print the whole state; JSON is the state's own form without its digest key."""
    from reconciler.core.state.state_codec import state_to_json
    from reconciler.render.json import to_json
    from reconciler.render.reports import state_text

    if format_ not in ("text", "json"):
        raise FileError(Diagnostic(f"the state has no {format_} form", hint="--format text or json"))
    with workspace(run) as space:
        state = space.state_or_error()
    if format_ == "json":
        shown = {name: value for name, value in state_to_json(state).items() if name != "digest_key"}
        run.console.result(to_json(shown))
    else:
        run.console.result(state_text(state, color=run.console.color_out))
    return 0


@state_command.command("mv", epilog="\b\nExample:\n  reconciler state mv chat assistant")
@click.argument("source")
@click.argument("target")
@lock_timeout
@pass_globals
def mv_command(run: Globals, source: str, target: str, lock_timeout: str) -> int:
    """Give what stands at SOURCE the address TARGET. Prefer `moved:` in the file: it is reviewed."""
    from reconciler import workflow

    with workspace(run) as space:
        state = workflow.move(space, source, target, lock_timeout)
    run.console.say(f"moved {source} to {target} (serial {state.serial})")
    return 0


@state_command.command("rm", epilog="\b\nExample:\n  reconciler state rm chat")
@click.argument("addresses", nargs=-1, required=True)
@lock_timeout
@pass_globals
def rm_command(run: Globals, addresses: tuple[str, ...], lock_timeout: str) -> int:
    """Stop managing ADDRESSES; what is deployed goes on running, and goes on billing."""
    from reconciler import workflow

    with workspace(run) as space:
        state = workflow.remove(space, addresses, lock_timeout)
    run.console.say(f"removed {', '.join(addresses)} from the state (serial {state.serial}); nothing was undeployed")
    return 0


@state_command.command("pull", epilog="\b\nExample:\n  reconciler state pull > copy.json")
@pass_globals
def pull_command(run: Globals) -> int:
    """Print the state as it is stored, what the journal says folded in. It holds the digest key: keep it private."""
    from reconciler.core.state.state_codec import encode_state

    with workspace(run) as space:
        run.console.result(encode_state(space.state_or_error()))
    return 0


@state_command.command("push", epilog="\b\nExample:\n  reconciler state push copy.json")
@click.argument("file")
@click.option("--force", is_flag=True, help="Also over another lineage or a newer serial.")
@lock_timeout
@pass_globals
def push_command(run: Globals, file: str, force: bool, lock_timeout: str) -> int:
    """Put a state in place of the present one (`-`: from stdin). The present one becomes the backup."""
    from reconciler import workflow
    from reconciler.core.state.state_codec import decode_state

    try:
        text = sys.stdin.read() if file == "-" else Path(run.folder, file).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(Diagnostic(f"can't read {file}", detail=error.strerror or str(error))) from error
    except UnicodeDecodeError as error:
        raise FileError(Diagnostic(f"can't read {file}", detail="it is not UTF-8 text")) from error
    with workspace(run) as space:
        state = workflow.push_state(space, decode_state(text, file=file), force=force, lock_timeout=lock_timeout)
    run.console.say(f"pushed {file} (serial {state.serial})")
    return 0


@state_command.command("mv-stack", epilog="\b\nExample:\n  reconciler state mv-stack support-bots help-bots")
@click.argument("source")
@click.argument("target")
@lock_timeout
@pass_globals
def mv_stack_command(run: Globals, source: str, target: str, lock_timeout: str) -> int:
    """Give the state of stack SOURCE the name TARGET; then write `stack: TARGET` in the file (or before: both work)."""
    from reconciler import workflow

    with workspace(run) as space:
        workflow.move_stack(space, source, target, lock_timeout)
    run.console.say(f"the state of stack {source} is now that of {target}; the file must say: stack: {target}")
    return 0
