"""The command group: names, global options, and how an error becomes text and an exit code.

Commands live in modules that are imported when they are called, so that `--help` stays quick.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from reconciler.cli.console import LEVELS, Console
from reconciler.cli.context import Globals, Group
from reconciler.cli.exits import USAGE
from reconciler.diagnostics import Diagnostic, ReconcilerError, UsageError

# name -> (module, one line for the list); the order is the order of a day's work
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("project", "Write a commented starter file and .gitignore entries."),
    "validate": ("project", "Check the file: schema, references, graph. No network."),
    "plan": ("plan", "Show what apply would do."),
    "apply": ("apply", "Make the providers match the file (or carry out a saved plan)."),
    "drift": ("plan", "Compare what is live with what the state recorded."),
    "destroy": ("apply", "Undeploy all that the state holds."),
    "import": ("adopt", "Take a live deployment into the state, or print a file for unmanaged ones."),
    "state": ("state", "List, show, move or remove what the state holds."),
    "output": ("project", "Print the recorded outputs."),
    "graph": ("project", "Print the dependency graph (dot or mermaid)."),
    "show": ("plan", "Show a saved plan, or the state."),
    "lock": ("lock", "Who holds the state's lock."),
    "unlock": ("lock", "Remove a lock whose holder is gone."),
    "sandbox": ("sandbox", "The built-in simulators: serve them over HTTP, or forget their data."),
    "schema": ("project", "Print the JSON Schema that editors use."),
    "completion": ("project", "Print the completion script of a shell."),
    "version": ("project", "Print the version."),
}


class LazyGroup(Group):
    """A group whose commands are imported when they are called; the list of them needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"reconciler.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise _unknown_command(ctx, args[0])
        return super().resolve_command(ctx, args)


def _unknown_command(ctx: click.Context, name: str) -> click.UsageError:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, 1)
    return click.UsageError(f"there is no command {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), ctx)


EPILOG = """\b
Examples:
  reconciler init neevcloud          start a file
  reconciler plan --sandbox          rehearse without credentials
  reconciler plan --out plan.json    save a plan for review ...
  reconciler apply plan.json         ... and carry out exactly that

Exit codes: 0 done, 1 error (nothing changed), 2 there are changes or drift, 3 ended in part, 4 plan file is stale,
5 locked, 64 wrong command line, 130/143 interrupted.
"""


@click.group(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option("-C", "folder", metavar="DIR", default=".", help="Change to this folder first.")
@click.option("-f", "file", metavar="PATH", help="The desired-state file or folder (default: reconciler.yaml).")
@click.option(
    "--sandbox", is_flag=True, help="Send every provider to the built-in simulators (or RECONCILER_SANDBOX=1)."
)
@click.option("--no-color", is_flag=True, help="No colours (also under NO_COLOR, and where there is no terminal).")
@click.option("--log-level", type=click.Choice(LEVELS), default="warning", help="What to log to stderr.")
@click.option(
    "--version",
    "version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda c, _p, v: _version(c, v),
    help="Print the version.",
)
@click.pass_context
def cli(ctx: click.Context, folder: str, file: str | None, sandbox: bool, no_color: bool, log_level: str) -> None:
    """Plan, apply and watch deployments of AI models from one YAML file."""
    console = ctx.obj
    console.no_color, console.log_level = no_color, log_level
    if not Path(folder).is_dir():
        raise UsageError(Diagnostic(f"-C: there is no folder {folder!r}"))
    by_environment = os.environ.get("RECONCILER_SANDBOX", "") not in ("", "0", "false")
    run = Globals(Path(folder), Path(file) if file else None, sandbox or by_environment, console)
    console.called = run.called
    ctx.obj = run


def _version(ctx: click.Context, wanted: bool) -> None:
    if wanted:
        from reconciler.version import VERSION

        ctx.obj.result(f"reconciler {VERSION}")
        ctx.exit(0)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Errors are printed, a bug is said to be one. Raises KeyboardInterrupt."""
    console = Console()
    sandboxed, rest = _sandbox_flag(arguments)
    try:
        return int(cli.main(args=sandboxed + rest, prog_name="reconciler", standalone_mode=False, obj=console) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        console.say(error.format_message())
        return USAGE
    except click.UsageError as error:
        return _usage(console, error)
    except click.Abort:  # click's name for Ctrl-C
        raise KeyboardInterrupt from None
    except ReconcilerError as error:
        console.complain(*error.diagnostics)
        return error.exit_code
    except (OSError, MemoryError, RecursionError) as error:
        console.complain(Diagnostic(_system_error(error)))
        return ReconcilerError.exit_code
    except Exception as error:  # noqa: BLE001 - a bug: said in one line, the traceback only on request
        return _bug(console, error)


def _sandbox_flag(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """`--sandbox` is a global option that people also write behind the command; both are taken."""
    position = next((n for n, word in enumerate(arguments) if word in COMMANDS), None)
    if position is None or arguments[position] == "sandbox" or "--sandbox" not in arguments[position:]:
        return list(arguments), []
    rest = [word for word in arguments[position:] if word != "--sandbox"]
    return ["--sandbox", *arguments[:position]], rest


def _usage(console: Console, error: click.UsageError) -> int:
    console.say(f"error: {error.format_message()}")
    console.say(f"\nhint: {_usage_hint(error)}")
    return USAGE


def _usage_hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "reconciler"
    if isinstance(error, click.NoSuchOption) and path != "reconciler":
        flag = next((name for option in cli.params for name in option.opts if name == error.option_name), None)
        if flag is not None:
            return f"{flag} is a global option, it stands before the command: reconciler {flag} … {path.split()[1]}"
    return f"{path} --help"


def _system_error(error: BaseException) -> str:
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return "out of memory" if isinstance(error, MemoryError) else "the input is nested too deeply"


def _bug(console: Console, error: Exception) -> int:
    """Where it happened, without the message: that may quote a value that is nobody's business."""
    import traceback

    from reconciler.version import VERSION

    frames = traceback.extract_tb(error.__traceback__)
    if console.log_level == "debug":
        console.say("".join(f"  {f.filename}:{f.lineno} {f.name}\n" for f in frames))
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    console.say(f"error: {type(error).__name__}{place}: this is a bug in reconciler {VERSION}")
    console.say("\nhint: run it again with --log-level debug and report what it prints")
    return 1
