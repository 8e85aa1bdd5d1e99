"""`plan`, `drift` and `show`: everything that reads and prints, and changes nothing."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.context import Command, Globals, pass_globals
from reconciler.cli.exits import DIFFERENCE
from reconciler.cli.options import named, output_format, plan_options, planning, targets, variables
from reconciler.cli.run import print_plan, workspace

if TYPE_CHECKING:
    from reconciler.plan import Plan


@click.command(
    "plan",
    cls=Command,
    epilog="\b\nExamples:\n  reconciler plan\n  reconciler plan --out plan.json --var replicas=4\n"
    "  reconciler plan --format markdown --max-bytes 60000 > comment.md",
)
@variables
@planning
@click.option(
    "--out", metavar="FILE", callback=named, help="Save the plan (readable JSON, mode 0600) for `apply FILE`."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 where there are actions or state changes.")
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1000),
    metavar="N",
    help="Cut markdown to N bytes, the least important first.",
)
@output_format("text", "json", "markdown", "html")
@pass_globals
def plan_command(
    run: Globals, var: tuple[str, ...], var_file: tuple[str, ...], out: str | None, detailed_exitcode: bool,
    max_bytes: int | None, format_: str, **options: Any,
) -> int:  # fmt: skip
    """Show what `apply` would do, and why. Takes no lock, writes nothing."""
    from reconciler import saved_plans, workflow
    from reconciler.edge.planfile import write_plan

    with workspace(run, var, var_file) as space:
        planned = workflow.plan(space, plan_options(**options))
        save = out if out and not planned.plan.refused else None
        if save:
            write_plan(Path(run.folder, save), saved_plans.saved(planned))
        print_plan(run, planned.plan, format_, max_bytes=max_bytes, saved_as=save, given=space.given_variables)
    if save:
        how = f"; to carry it out: {run.called} apply {shlex.quote(save)}" if format_ == "json" else ""
        run.console.say(f"saved the plan to {save}{how}")
    elif out:
        run.console.say(f"{out} was not written: the plan is refused")
    if planned.plan.refused:
        return 1
    return DIFFERENCE if detailed_exitcode and differs(planned.plan) else 0


def differs(plan: Plan) -> bool:
    """Whether an apply of it would do or write down anything."""
    return bool(plan.state_changes) or any(action.action != "none" for action in plan.actions)


@click.command(
    "drift",
    cls=Command,
    epilog="\b\nExamples:\n  reconciler drift\n  reconciler drift --format json --metrics-file drift.prom",
)
@variables
@targets
@click.option("--unmanaged", is_flag=True, help="List unmanaged deployments in full.")
@click.option("--metrics-file", metavar="FILE", callback=named, help="Write Prometheus metrics there.")
@click.option("--max-bytes", type=click.IntRange(min=1000), metavar="N", help="Cut markdown to N bytes.")
@output_format("text", "json", "markdown", "html")
@pass_globals
def drift_command(
    run: Globals, var: tuple[str, ...], var_file: tuple[str, ...], unmanaged: bool, metrics_file: str | None,
    max_bytes: int | None, format_: str, **options: Any,
) -> int:  # fmt: skip
    """Compare what is live with what the state recorded. Exit 2: there is drift; 1: a provider can't be read."""
    from reconciler import workflow
    from reconciler.core.compare.drift import is_drift
    from reconciler.edge.planfile import write_text
    from reconciler.render.metrics import metrics_text

    with workspace(run, var, var_file) as space:
        planned = workflow.drift(space, plan_options(**options))
    print_plan(run, planned.plan, format_, max_bytes=max_bytes, drift=True, unmanaged=unmanaged)
    if metrics_file:
        write_text(Path(run.folder, metrics_file), metrics_text(planned.plan, at=time.time()))
    if planned.plan.unreadable:
        run.console.complain(*planned.plan.unreadable)
        return 1
    return DIFFERENCE if any(map(is_drift, planned.plan.drift)) else 0


@click.command(
    "show",
    cls=Command,
    epilog="\b\nExamples:\n  reconciler show plan.json --format markdown\n  reconciler show",
)
@click.argument("planfile", required=False)
@click.option("--max-bytes", type=click.IntRange(min=1000), metavar="N", help="Cut markdown to N bytes.")
@output_format("text", "json", "markdown", "html")
@pass_globals
def show_command(run: Globals, planfile: str | None, max_bytes: int | None, format_: str) -> int:
    """Show a saved plan, offline and without credentials; without one, the state."""
    if planfile is None:
        from reconciler.cli.commands.state import show_state

        return show_state(run, format_)
    from reconciler import saved_plans

    plan = saved_plans.read_saved(Path(run.folder, planfile))
    print_plan(run, plan, format_, max_bytes=max_bytes, saved_as=planfile)
    return 0
