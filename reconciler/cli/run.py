"""What all commands share: opening the workspace, and printing plans, reports and locks in the chosen format."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from reconciler.cli.context import Globals

if TYPE_CHECKING:
    from reconciler.edge.lock import LockStatus
    from reconciler.plan import Plan, Report
    from reconciler.workspace import Workspace


def workspace(
    run: Globals, var: tuple[str, ...] = (), var_files: tuple[str, ...] = (), *, offline: bool = False
) -> Workspace:
    """The workspace of this command line."""
    from reconciler.edge.environment import command_line, real_environment
    from reconciler.workspace import Invocation, Workspace

    return Workspace(
        Invocation(
            folder=run.folder,
            file=run.file,
            sandbox=run.sandbox,
            environment=real_environment(),
            say=run.console.tell,
            log=run.console.log,
            command=command_line(["reconciler", *sys.argv[1:]]),
            called=run.called,
            var=var,
            var_files=var_files,
            offline=offline,
        )
    )


def print_plan(
    run: Globals, plan: Plan, format_: str, *, max_bytes: int | None = None, drift: bool = False,
    unmanaged: bool = False, saved_as: str | None = None, given: tuple[str, ...] = (),
    next_step: bool = True,
) -> None:  # fmt: skip
    """The plan (or its drift) to stdout, in the chosen format."""
    console, command = run.console, run.called
    if format_ == "json":
        from reconciler.core.planfile.plan_codec import drift_to_json, plan_to_json
        from reconciler.render.json import to_json

        text = to_json(drift_to_json(plan) if drift else plan_to_json(plan))
    elif format_ == "markdown":
        from reconciler.render.markdown import drift_markdown, plan_markdown

        if drift:
            text = drift_markdown(plan, max_bytes=max_bytes, command=command)
        else:
            text = plan_markdown(plan, max_bytes=max_bytes, command=command, saved_as=saved_as, given=given)
    elif format_ == "html":
        from reconciler.render.html import drift_html, plan_html

        text = (
            drift_html(plan, command=command)
            if drift
            else plan_html(plan, command=command, saved_as=saved_as, given=given)
        )
    elif drift:
        from reconciler.render.text import drift_text

        text = drift_text(plan, color=console.color_out, width=console.width, unmanaged=unmanaged, command=command)
    else:
        from reconciler.render.text import plan_text

        text = plan_text(
            plan,
            color=console.color_out,
            width=console.width,
            command=command,
            saved_as=saved_as,
            given=given,
            next_step=next_step,
        )
    console.result(text)


def print_report(run: Globals, report: Report, plan: Plan, format_: str, given: tuple[str, ...] = ()) -> None:
    """How an apply ended, to stdout."""
    from reconciler.render.json import summary_to_json, to_json
    from reconciler.render.reports import report_text

    if format_ == "json":
        run.console.result(to_json(summary_to_json(report.outcomes, report.outputs), indent=None))
    else:
        text = report_text(
            report, plan, color=run.console.color_out, width=run.console.width, command=run.called, given=given
        )
        run.console.result(text)


def print_lock(run: Globals, status: LockStatus, format_: str) -> None:
    """Who holds the lock, to stdout."""
    from reconciler.render.json import to_json
    from reconciler.render.reports import lock_text

    holder = asdict(status.record) if status.record else None
    if format_ == "json":
        run.console.result(to_json({"state": status.state, "holder": holder}))
        return
    alive = {"held": True, "abandoned": False}.get(status.state)
    run.console.result(lock_text(holder, alive=alive, unlock=f"{run.called} unlock"))
