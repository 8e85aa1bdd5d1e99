"""`apply` and `destroy`: show the plan, ask, execute, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.console import OutputError
from reconciler.cli.context import Command, Globals, pass_globals
from reconciler.cli.options import PLANNING_NAMES, lock_timeout, named, output_format, plan_options, planning, variables
from reconciler.cli.run import print_plan, workspace
from reconciler.diagnostics import Diagnostic, IncompleteError, RefusedError, UsageError

if TYPE_CHECKING:
    from reconciler.plan import Plan, PlanOptions
    from reconciler.workflow import Approval
    from reconciler.workspace import Workspace

executing = (
    click.option("--auto-approve", is_flag=True, help="Do not ask."),
    click.option("--parallelism", type=click.IntRange(1, 10_000), default=10, show_default=True, metavar="N",
                 help="Actions under way at once: the blast radius."),
    lock_timeout,
    click.option("--events", metavar="FILE", callback=named, help="Write every event there as JSON lines."),
    output_format("text", "json"),
)  # fmt: skip


def with_execution(function: Any) -> Any:
    for option in reversed(executing):
        function = option(function)
    return function


@click.command(
    "apply",
    cls=Command,
    epilog="\b\nExamples:\n  reconciler apply\n  reconciler apply --auto-approve --parallelism 50\n"
    "  reconciler apply plan.json",
)
@click.argument("planfile", required=False)
@variables
@planning
@with_execution
@click.option(
    "--same-as", metavar="PLANFILE", help="Plan anew; go on without asking only if the actions are the saved ones."
)
@pass_globals
def apply_command(
    run: Globals, planfile: str | None, var: tuple[str, ...], var_file: tuple[str, ...], auto_approve: bool,
    parallelism: int, lock_timeout: str, events: str | None, format_: str, same_as: str | None, **options: Any,
) -> int:  # fmt: skip
    """Make the providers match the file; with PLANFILE carry out exactly that plan, without asking.

    After a yes it looks again: where the plan no longer fits, nothing is changed (exit 4).
    """
    from reconciler import saved_plans, workflow

    if planfile and (same_as or any(options[name] for name in PLANNING_NAMES)):
        raise UsageError(
            Diagnostic("a plan file carries its own planning options", hint=f"reconciler apply {planfile}")
        )
    with workspace(run, var, var_file) as space:
        if planfile:
            tell_unused(run, space, var)
            source: Callable[[], workflow.Planned] = partial(saved_plans.plan_from, space, Path(run.folder, planfile))
            approve: Callable[[Plan], Approval] = accepter(run)
        elif same_as:
            source = partial(saved_plans.plan_same_as, space, plan_options(**options), Path(run.folder, same_as))
            approve = accepter(run)
        else:
            source = partial(workflow.plan, space, plan_options(**options), locked=True)
            approve = asker(run, auto_approve, format_, plan_options(**options), space.given_variables)
        return execute(run, space, source, approve, parallelism, lock_timeout, events, format_, "apply")


@click.command(
    "destroy",
    cls=Command,
    epilog="\b\nExamples:\n  reconciler destroy\n  reconciler destroy --target chat --auto-approve",
)
@variables
@click.option(
    "--target", multiple=True, metavar="ADDR", help="Only this address and what depends on it (* and ? allowed)."
)
@with_execution
@pass_globals
def destroy_command(
    run: Globals, var: tuple[str, ...], var_file: tuple[str, ...], target: tuple[str, ...], auto_approve: bool,
    parallelism: int, lock_timeout: str, events: str | None, format_: str,
) -> int:  # fmt: skip
    """Undeploy all that the state holds, dependents first. Held by `prevent_undeploy` alone.

    After a yes it looks again: where the plan no longer fits, nothing is changed (exit 4).
    """
    from reconciler import workflow

    with workspace(run, var, var_file) as space:
        options = replace(plan_options(), target=target, destroy=True)
        approve = asker(run, auto_approve, format_, options, space.given_variables)
        return execute(
            run,
            space,
            partial(workflow.plan, space, options, locked=True),
            approve,
            parallelism,
            lock_timeout,
            events,
            format_,
            "destroy",
        )


def tell_unused(run: Globals, space: Workspace, var: Sequence[str]) -> None:
    """Of the variables only the sensitive ones are asked for again: a saved plan holds the values of all others."""
    fixed = [name for name in (word.partition("=")[0] for word in var) if not space.is_sensitive(name)]
    if fixed:
        run.console.tell(f"note: --var {', '.join(fixed)} changes nothing: a saved plan has its values already")


def accepter(run: Globals) -> Callable[[Plan], Approval]:
    """What takes a plan as it is, without showing it."""

    def approve(plan: Plan) -> Approval:
        tell_notes(run, plan)
        return "given"

    return approve


def tell_notes(run: Globals, plan: Plan) -> None:
    """What is told beside a plan that is not printed: what an earlier run left, and what became of it."""
    for note in plan.notes:
        run.console.tell(f"note: {note}")


def asker(
    run: Globals, auto_approve: bool, format_: str, options: PlanOptions, given: Sequence[str]
) -> Callable[[Plan], Approval]:
    """What shows the plan and asks; without a terminal nothing is asked. `given` are the words of variables."""

    def approve(plan: Plan) -> Approval:
        from reconciler.cli.commands.plan import differs

        if format_ == "text":
            print_plan(run, plan, "text", next_step=False)
        else:
            tell_notes(run, plan)
        if plan.refused or auto_approve or not differs(plan):  # a refused one is not carried out, whatever is said
            return "given"
        what = "undeploy these deployments of" if plan.options.destroy else "apply this plan to"
        return "answered" if run.console.ask(f"Do you want to {what} {plan.stack}?") else "no"

    if not auto_approve and not run.console.can_ask:
        from reconciler.render.view import applying, planning

        command, *words = applying(options, given)
        raise UsageErrorWithoutTerminal(
            Diagnostic(
                f"{command} would have to ask, but there is no terminal",
                hint=f"reconciler {' '.join([command, *words])} --auto-approve\n"
                f"or apply a saved plan: reconciler {' '.join(planning(options, given))} --out plan.json",
            )
        )
    return approve


class UsageErrorWithoutTerminal(RefusedError):
    """Nothing is asked without a terminal (exit 1: the command line itself is right)."""


def execute(
    run: Globals, space: Workspace, source: Callable[[], Any], approve: Callable[[Plan], Approval], parallelism: int,
    lock_timeout: str, events: str | None, format_: str, command: str,
) -> int:  # fmt: skip
    """Lock, plan, ask, apply, report; the exit code: 3 also where all was done but could not be told."""
    from reconciler import workflow
    from reconciler.cli.progress import Progress
    from reconciler.cli.run import print_report

    with Progress.opened(run, format_, Path(run.folder, events) if events else None) as progress:
        applied = workflow.apply(
            space, source, approve=approve, parallelism=parallelism, lock_timeout=lock_timeout, command=command,
            emit=progress.emit, begin=progress.begin,
        )  # fmt: skip
        if applied is not None:
            progress.end(applied.report)
    if applied is None:
        run.console.say("nothing was changed")
        return 1
    failure = progress.failure
    try:
        print_report(run, applied.report, applied.plan, format_, space.given_variables)
    except OutputError as error:
        failure = failure or error.diagnostics[0]
    if failure is None:
        return applied.exit_code
    run.console.complain(replace(failure, hint=f"what was done is in the state: {run.called} plan shows what is left"))
    return applied.exit_code or IncompleteError.exit_code
