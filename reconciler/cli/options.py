"""Options that several commands share, as decorators, and how they become values of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from reconciler.plan import PlanOptions

F = TypeVar("F", bound=Callable[..., Any])


def _all(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


variables = _all(
    click.option("--var", "var", multiple=True, metavar="K=V", help="Set a variable; a later one wins."),
    click.option("--var-file", multiple=True, metavar="FILE", help="Variables from a YAML or JSON file."),
)

targets = _all(
    click.option(
        "--target", multiple=True, metavar="ADDR", help="Only this address and what it needs (* and ? allowed)."
    ),
    click.option("--exclude", multiple=True, metavar="ADDR", help="All but this address and what depends on it."),
)

planning = _all(
    targets,
    click.option("--replace", multiple=True, metavar="ADDR", help="Undeploy and deploy this one anew."),
    click.option("--destroy", is_flag=True, help="Plan to undeploy all that the state holds."),
    click.option("--refresh-only", is_flag=True, help="Only write down what is live; change nothing at a provider."),
    click.option(
        "--allow-undeploys",
        type=click.IntRange(min=0),
        metavar="N",
        help="Allow a plan that undeploys or replaces up to N.",
    ),
    click.option("--allow-empty", multiple=True, metavar="PROVIDER", help="Believe this provider's empty list."),
    click.option(
        "--accept-endpoint", multiple=True, metavar="PROVIDER", help="Accept that this provider's scope has changed."
    ),
)

lock_timeout = click.option(
    "--lock-timeout", default="0s", metavar="D", help="How long to wait for the state's lock (e.g. 30s, 10m)."
)


def named(_ctx: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A file to write must have a name: an unset shell variable is no wish to write nothing."""
    if value == "":
        raise click.BadParameter("is empty", param=option)
    return value


def output_format(*choices: str) -> Callable[[F], F]:
    """`--format`, the first choice being the default."""
    return click.option(
        "--format", "format_", type=click.Choice(choices), default=choices[0], help="How to print the result."
    )


def plan_options(**values: Any) -> PlanOptions:
    """The planning options of a command line as a value; click's names are the model's."""
    return PlanOptions(**{name: values[name] for name in PlanOptions.__slots__ if name in values})


PLANNING_NAMES = tuple(PlanOptions.__slots__)
