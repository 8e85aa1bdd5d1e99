"""What every command is given: the global options of this run, and the console. Knows no command."""

from __future__ import annotations

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


def pass_globals(function: Any) -> Any:
    """Give a command the `Globals` of this run as its first argument."""
    return click.make_pass_decorator(Globals)(function)
