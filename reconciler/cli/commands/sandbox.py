"""`sandbox serve|reset`: the built-in simulators for other programs, and a clean slate."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.context import Globals, Group, pass_globals
from reconciler.cli.run import workspace


@click.group("sandbox", cls=Group)
def sandbox_command() -> None:
    """The built-in simulators. `--sandbox` uses them in process; `serve` offers them over loopback HTTP."""


@sandbox_command.command("serve", epilog="\b\nExample:\n  reconciler sandbox serve --port 8080 --data ./world")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address; no other is taken.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option("--data", metavar="DIR", help="Keep the data in this folder (default: in memory).")
@click.option("--speed", default=1.0, type=click.FloatRange(min=0.001), help="How fast the simulators' clock runs.")
@pass_globals
def serve_command(run: Globals, host: str, port: int, data: str | None, speed: float) -> int:
    """Serve all simulators until interrupted; the base URL is the only line on stdout.

    A provider is at BASE/<type> (and BASE/<type>.<name> for further accounts).
    """
    from reconciler.sandbox.mount import serve

    folder = Path(run.folder, data) if data else None
    serve(host, port, folder=folder, speed=speed, ready=run.console.result)
    return 0


@sandbox_command.command("reset", epilog="\b\nExample:\n  reconciler sandbox reset")
@pass_globals
def reset_command(run: Globals) -> int:
    """Forget the simulators' data and the sandbox's state of this stack."""
    from reconciler import workflow

    with workspace(run) as space:
        for line in workflow.reset_sandbox(space):
            run.console.say(line)
    return 0
