"""What every command has: the global options of this run, the console, and a help that goes through it.

Knows no command.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reconciler.cli.console import Console


@dataclass(slots=True)
class Globals:
    """The global options of one command line."""

    folder: Path
    file: Path | None
    sandbox: bool
    console: Console

    @property
    def called(self) -> str:
        """How the tool was called, up to the command: what a pasted next line has to begin with."""
        words = ["reconciler"]
        words += ["-C", str(self.folder)] if str(self.folder) != "." else []
        words += ["-f", str(self.file)] if self.file else []
        words += ["--sandbox"] if self.sandbox else []
        return shlex.join(words)


def _show_help(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """As click does it, but a stdout that can't be written is an error here too."""
    if wanted and not ctx.resilient_parsing:
        given = ctx.obj
        (given.console if isinstance(given, Globals) else given).result(ctx.get_help())
        ctx.exit()


class Command(click.Command):
    """A command whose help is written as results are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, but an option without its value also knows which command it was given to."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


class Group(Command, click.Group):
    """A group of such commands; its help shows the first sentence of each in full."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self.commands[name].get_short_help_str(300)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def pass_globals(function: Any) -> Any:
    """Give a command the `Globals` of this run as its first argument."""
    return click.make_pass_decorator(Globals)(function)
