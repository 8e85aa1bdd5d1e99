"""A plan and its drift as text for a terminal or a CI log, readable without colour.

Pure: colour and width are arguments, the same plan gives the same bytes. What is said stands in `view`; here is only
how it is laid out.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.diagnostics import Diagnostic
from reconciler.plan import Action, ActionKind, Plan
from reconciler.render import values, view
from reconciler.render.layout import Ink, table, widest, wrap
from reconciler.render.safe import block, columns, finish, line, pad

_STYLES: dict[ActionKind, str] = {
    "deploy": "green",
    "adopt": "cyan",
    "scale": "yellow",
    "update": "yellow",
    "replace": "magenta",
    "undeploy": "red",
    "forget": "dim",
    "none": "",
}
_WORD = max(len(word) for word in _STYLES)
_DRIFT_LINES = 20  # in a plan, where drift is not the subject


def plan_text(
    plan: Plan,
    *,
    color: bool,
    width: int,
    full: bool = False,
    command: str = "reconciler",
    saved_as: str | None = None,
    given: Sequence[str] = (),
    next_step: bool = True,
) -> str:
    """The whole plan. `full` also names unchanged and unmanaged deployments.

    `command` is how the tool was called, for the line that can be pasted; `saved_as` the file that holds the plan,
    `given` the words that gave variables.
    Without `next_step` the last line is left out (an apply that goes on by itself).
    """
    ink = Ink(color)
    sections = [
        [ink("bold", view.heading(plan)), *view.circumstances(plan)],
        _bullets("Notes:", plan.notes, width),
        _warnings(plan.warnings, ink, width),
        _actions(plan, ink, width),
        _unchanged(plan, full, width),
        _state_changes(plan),
        _plan_drift(plan, full),
        _unmanaged(plan, full),
        _unreadable(plan.unreadable, ink, width),
        _refused(plan, ink, width),
        _summary(plan, ink),
        _next(plan, ink, command, saved_as, given) if next_step else [],
    ]
    return _document(sections)


def drift_text(plan: Plan, *, color: bool, width: int, unmanaged: bool = False, command: str = "reconciler") -> str:
    """Live against prior state, by class. `unmanaged` lists those in full."""
    ink = Ink(color)
    real = view.of_kind(plan, "changed", "missing")
    rows = [(line(item.address, 100), view.drift_line(item)) for item in real]
    addresses = len({item.address for item in real})
    verdict = (
        f"Drift: {values.count(addresses, 'deployment')} differ{'s' if addresses == 1 else ''} from the state."
        if real
        else view.NO_DRIFT_BUT
        if plan.unreadable
        else "No drift: what could be read is as the state recorded it."
    )
    step: list[str] = []
    if real:
        step = [f"To see what an apply would do: {ink('bold', f'{command} plan')}"]
    sections = [
        [ink("bold", view.heading(plan, "Drift")), *view.circumstances(plan)],
        _bullets("Notes:", plan.notes, width),
        _warnings(plan.warnings, ink, width),
        ["Changed or missing:", *table(rows, indent="  ")] if rows else [],
        _not_compared(plan, full=True),
        _unmanaged(plan, unmanaged),
        _unreadable(plan.unreadable, ink, width),
        [ink("bold yellow" if real else "bold", verdict)],
        step,
    ]
    return _document(sections)


def _document(sections: Sequence[Sequence[str]]) -> str:
    out: list[str] = []
    for section in sections:
        if section:
            out += ["", *section] if out else section
    return finish(out)


def _bullets(heading: str, texts: Sequence[str], width: int) -> list[str]:
    if not texts:
        return []
    return [heading, *(row for text in texts for row in wrap(line(text, 1000), width, first="  * ", rest="    "))]


# --- actions ------------------------------------------------------------------------------------------------------


def _actions(plan: Plan, ink: Ink, width: int) -> list[str]:
    actions = view.active(plan)
    if not actions:
        return []
    address = widest((line(a.address, 100) for a in actions), 40)
    provider = widest((line(a.provider, 80) for a in actions), 24)
    out = ["Actions, in the order in which they run:"]
    for action in actions:
        head = f"{view.SYMBOLS[action.action]} {action.action:<{_WORD}}"
        where = f"{pad(line(action.address, 100), address)}  {pad(line(action.provider, 80), provider)}"
        out += ["", f"{ink(_STYLES[action.action], head)}  {where}  {view.title(action)}".rstrip()]
        out += _details(action, ink, width)
    return out


def _details(action: Action, ink: Ink, width: int) -> list[str]:
    out = wrap(f"reason: {line(action.reason)}", width, first="    ", rest="      ")
    if action.may:
        out.append("    only if a value that is not known yet turns out different")
    if steps := view.steps(action):
        out.append(f"    steps: {steps}")
    if action.depends_on:
        out += wrap(f"depends on: {values.listed(action.depends_on)}", width, first="    ", rest="      ")
    for note in action.notes:
        out += [ink("yellow", row) for row in wrap(line(note, 1000), width, first="    ! ", rest="      ")]
    changes = view.shown(action)
    cost = values.cost(action.hourly_cost) if action.hourly_cost else ""
    label = widest([*(item.path for item in changes), "cost" if cost else ""], 48)
    before = widest((item.before for item in changes if item.before is not None and columns(item.before) <= 32), 32)
    for item in changes:
        out += _change(item, ink, label, before, width)
    if cost:
        out.append(f"      {pad('cost', label)}  {cost}")
    if hidden := view.folded(action):
        out.append(ink("dim", f"      ({values.count(hidden, 'unchanged attribute')} not shown)"))
    return out


def _change(item: values.Shown, ink: Ink, label: int, before: int, width: int) -> list[str]:
    head = f"      {pad(item.path, label)}  "
    tail = ink("red", "  forces replacement") if item.forces_replacement else ""
    if item.before is None:
        rows = [f"{head}{item.after}{tail}"]
    else:
        one = f"{head}{pad(item.before, before)} → {item.after}"
        if columns(one) + (20 if tail else 0) <= max(width, 60):
            rows = [one + tail]
        else:
            rows = [f"{head}{item.before}", f"{' ' * (columns(head) - 2)}→ {item.after}{tail}"]
    if item.note:
        rows += [ink("yellow", row) for row in wrap(item.note, width, first="        ! ", rest="          ")]
    return rows


# --- what is not an action ----------------------------------------------------------------------------------------


def _unchanged(plan: Plan, full: bool, width: int) -> list[str]:
    same = view.counts(plan)["none"]
    if not same:
        return []
    out = [f"= {values.count(same, 'deployment')} unchanged"]
    if full:
        names = [line(action.address, 100) for action in plan.actions if action.action == "none"]
        out += table([(name,) for name in names], indent="    ")
    for action in view.noted(plan):
        for note in action.notes:
            text = f"{line(action.address, 100)}: {line(note, 1000)}"
            out += wrap(text, width, first="    ! ", rest="      ")
    return out


def _state_changes(plan: Plan) -> list[str]:
    if not plan.state_changes:
        return []
    return ["State changes (only written down):", *(f"  {view.state_change(item)}" for item in plan.state_changes)]


def _plan_drift(plan: Plan, full: bool) -> list[str]:
    real = view.of_kind(plan, "changed", "missing")
    if not real:
        return _not_compared(plan, full)
    rows = [(line(i.address, 100), view.drift_line(i)) for i in (real if full else real[:_DRIFT_LINES])]
    out = ["Changed outside since the last apply:", *table(rows, indent="  ")]
    if len(real) > len(rows):
        out.append(f"  … and {len(real) - len(rows)} more (all of them: drift)")
    return [*out, *_not_compared(plan, full)]


def _not_compared(plan: Plan, full: bool) -> list[str]:
    out = []
    found = view.of_kind(plan, "not_compared")
    if found and full:
        rows = [(line(item.address, 100), view.drift_line(item)) for item in found]
        out += ["Not compared (no drift):", *table(rows, indent="  ")]
    elif found:
        out.append(f"Not compared: {len(found)} (told by: drift)")
    if plan.ignored:
        out.append(f"Ignored: {values.count(plan.ignored, 'difference')} (lifecycle.ignore_changes)")
    return out


def _unmanaged(plan: Plan, full: bool) -> list[str]:
    if not plan.unmanaged:
        return []
    if not full and len(plan.unmanaged) > view.FEW:
        return [f"{view.unmanaged_heading(plan)}; list them: drift --unmanaged"]
    return [f"{view.unmanaged_heading(plan)}:", *(f"  {view.unmanaged_line(item)}" for item in plan.unmanaged)]


def _warnings(warnings: Sequence[Diagnostic], ink: Ink, width: int) -> list[str]:
    out: list[str] = []
    for item in warnings:
        out += _complaint(item, ink("yellow", item.severity), width)
    return out


def _unreadable(items: Sequence[Diagnostic], ink: Ink, width: int) -> list[str]:
    if not items:
        return []
    out = ["Could not be read:"]
    for item in items:
        out += [f"  {row}" for row in _complaint(item, ink("red", "error"), width - 2)]
    return out


def _complaint(item: Diagnostic, word: str, width: int) -> list[str]:
    out = [f"{word}: {view.complaint(item)}"]
    for text, first in ((item.detail, "  "), (item.hint, "  hint: ")):
        for n, row in enumerate(block(text) if text else ()):
            out += wrap(row, width, first="  " if n else first, rest="  ")
    return out


def _refused(plan: Plan, ink: Ink, width: int) -> list[str]:
    if not plan.refused:
        return []
    out = [ink("bold red", "Refused:")]
    for item in plan.refused:
        out += wrap(f"{line(item.rule)}: {line(item.message, 1000)}", width, first="  ", rest="    ")
    return out


def _summary(plan: Plan, ink: Ink) -> list[str]:
    out = [ink("bold", view.summary(plan))]
    out += [f"Cost: {text}" for text in values.totals(plan.costs)]
    return out


def _next(plan: Plan, ink: Ink, command: str, saved_as: str | None, given: Sequence[str]) -> list[str]:
    step = view.next_step(plan, command=command, saved_as=saved_as, given=given)
    return [f"{step.text} {ink('bold', step.command)}".rstrip()]
