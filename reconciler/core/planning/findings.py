"""What became of a step that a killed run left uncertain: the engine looks, the planner takes note."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.core.state.journal import LastRun
from reconciler.diagnostics import Diagnostic
from reconciler.model import Recorded
from reconciler.plan import Action

_IDLE = ("none", "forget", "undeploy")  # actions that create nothing


@dataclass(frozen=True, slots=True)
class Finding:
    """One uncertain creating step, looked up.

    `found`: it took effect, `entry` is what the state says from now on. `absent`: it did not; `entry` is what still
    stands beside it, if anything. `unclear`: it can't be told; `message` names the commands to choose from.
    """

    address: str
    what: Literal["found", "absent", "unclear"]
    message: str
    entry: Recorded | None = None


def uncertain(
    recovered: Iterable[Finding], chosen: Collection[str], moved: Iterable[tuple[str, str]]
) -> tuple[Diagnostic, ...]:
    """Steps of which nobody can say what became of them, at the addresses `chosen`: they can't be planned, nor may they
    be sent again."""
    renames = dict(moved)
    return tuple(
        Diagnostic(
            f"an earlier run left {address} uncertain", address=address, detail=finding.message,
            hint=f"settle it as said, or leave it out: --exclude '{address}'",
        )
        for finding in recovered
        if finding.what == "unclear" and (address := renames.get(finding.address, finding.address)) in chosen
    )  # fmt: skip


def notes(
    recovered: Sequence[Finding], actions: Iterable[Action] = (), moved: Iterable[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """What is told of them beside `actions`, which say whether a step that did nothing will be done again."""
    if not recovered:
        return ()
    does, renames = {action.address for action in actions if action.action not in _IDLE}, dict(moved)
    return tuple(
        f"{finding.message.removesuffix('.')}, so it will be done again."
        if finding.what == "absent" and renames.get(finding.address, finding.address) in does
        else finding.message
        for finding in recovered
    )


def unended(last_run: LastRun | None, *, under_way: bool) -> str:
    """That the last run did not say that it ended, and how far it came; empty where it did end."""
    if last_run is None or last_run.result is not None:
        return ""
    run = last_run.started
    who = f"(`{run.command}`, {run.user} on {run.host}, {run.at})"
    step = last_run.step or "that it began"
    if under_way:
        return f"A run is under way {who}; the last that it wrote down: {step}."
    return f"The last run {who} did not end; the last that it wrote down: {step}."
