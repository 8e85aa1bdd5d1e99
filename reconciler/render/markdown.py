"""A plan or its drift as Markdown for a pull request, within a number of bytes.

Pure. Whatever is not our own word stands in code spans or fences, where nothing is markup. Under `max_bytes` parts
are left out by importance, never in the middle of one, and the document says what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.diagnostics import Diagnostic
from reconciler.plan import Action, Plan
from reconciler.render import values, view
from reconciler.render.safe import html_text, line, markdown_code, markdown_fence

MIN_BYTES = 1000  # less can't hold the heading, the summary and the note about the cut
_RESERVE = 360  # for that note
_LONG_TAIL = 200  # a last line that is longer is the first to go
_OPEN = ("undeploy", "replace", "forget")


@dataclass(frozen=True, slots=True)
class _Section:
    """Parts that stand together below an introduction; `name` is how the note about a cut calls one of them."""

    name: str
    intro: str
    parts: tuple[tuple[int, str], ...]  # weight (low is important), text
    outro: str = ""
    skip_big: bool = False  # one part that is too big does not end the document


def plan_markdown(
    plan: Plan,
    *,
    max_bytes: int | None = None,
    command: str = "reconciler",
    saved_as: str | None = None,
    given: Sequence[str] = (),
) -> str:
    """The plan with a hidden marker by which a comment can be found and updated.

    Raises ValueError where `max_bytes` is below `MIN_BYTES`.
    """
    head = [
        f"<!-- reconciler:plan:{_marker(plan.stack)} -->",
        _heading(plan, "Plan"),
        "",
        f"**{view.summary(plan)}**" + (" **REFUSED**" if plan.refused else ""),
    ]
    step = view.next_step(plan, command=command, saved_as=saved_as, given=given)
    tail = f"{step.text} {markdown_code(step.command, limit=400)}" if step.command else step.text
    actions = view.active(plan)
    sections = [
        _refused(plan),
        _unreadable(plan),
        _lines("summary line", 1, [*_circumstances(plan), *_cost(plan)]),
        _table(actions),
        _lines("note", 15, [f"- {markdown_code(note, limit=600)}" for note in plan.notes]),
        _lines("warning", 15, [f"- {item.severity}: {_complaint(item)}" for item in plan.warnings]),
        _lines("note", 16, _notes_of_unchanged(plan)),
        _details(actions),
        _listing(
            "state change", 50, "State changes (only written down)", [view.state_change(i) for i in plan.state_changes]
        ),
        _drift(plan, 40),
        _unmanaged(plan, 60),
    ]
    return _fit(head, sections, tail, max_bytes)


def drift_markdown(plan: Plan, *, max_bytes: int | None = None, command: str = "reconciler") -> str:
    """Live against prior state. Raises ValueError where `max_bytes` is below `MIN_BYTES`."""
    real = view.of_kind(plan, "changed", "missing")
    verdict = (
        f"{values.count(len({item.address for item in real}), 'deployment')} with drift."
        if real
        else view.NO_DRIFT_BUT
        if plan.unreadable
        else "No drift."
    )
    head = [
        f"<!-- reconciler:drift:{_marker(plan.stack)} -->",
        _heading(plan, "Drift"),
        "",
        f"**{verdict}**" + (" **Not everything could be read.**" if plan.unreadable else ""),
    ]
    sections = [
        _unreadable(plan),
        _lines("summary line", 1, _circumstances(plan)),
        _drift(plan, 2),
        _listing(
            "not-compared line",
            30,
            "Not compared (no drift)",
            [f"{item.address}: {view.drift_line(item)}" for item in view.of_kind(plan, "not_compared")],
        ),
        _lines("note", 15, [f"- {markdown_code(note, limit=600)}" for note in plan.notes]),
        _lines("warning", 15, [f"- {item.severity}: {_complaint(item)}" for item in plan.warnings]),
        _unmanaged(plan, 20),
    ]
    tail = f"To see what an apply would do: {markdown_code(f'{command} plan', limit=400)}" if real else ""
    return _fit(head, sections, tail, max_bytes)


# --- fitting ------------------------------------------------------------------------------------------------------


def _fit(head: Sequence[str], sections: Sequence[_Section], tail: str, max_bytes: int | None) -> str:
    if max_bytes is not None and max_bytes < MIN_BYTES:
        raise ValueError(f"max_bytes must be at least {MIN_BYTES}")
    order = sorted((weight, s, p) for s, section in enumerate(sections) for p, (weight, _) in enumerate(section.parts))
    room = None
    if max_bytes is not None:
        tail = tail if _size(tail) <= max(_LONG_TAIL, max_bytes // 10) else ""
        room = max_bytes - _size("\n".join(head)) - _size(tail) - _RESERVE
    kept: list[set[int]] = [set() for _ in sections]
    for _, s, p in order:
        section = sections[s]
        need = _size(section.parts[p][1]) + 1
        if not kept[s]:
            need += _size(section.intro) + _size(section.outro) + 4
        if room is not None:
            if need > room:
                if section.skip_big:
                    continue
                break
            room -= need
        kept[s].add(p)
    out = list(head)
    for section, positions in zip(sections, kept, strict=True):
        if positions:
            out += ["", *([section.intro] if section.intro else [])]
            out += [section.parts[p][1] for p in sorted(positions)]
            out += [section.outro] if section.outro else []
    missing: dict[str, int] = {}
    for section, positions in zip(sections, kept, strict=True):
        if len(positions) < len(section.parts):
            missing[section.name] = missing.get(section.name, 0) + len(section.parts) - len(positions)
    if missing:
        told = ", ".join(values.count(number, name) for name, number in missing.items())
        out += ["", f"> **Cut to fit {max_bytes} bytes.** Left out: {told}."]
    return "\n".join([*out, *(["", tail] if tail else [])]) + "\n"


def _size(text: str) -> int:
    return len(text.encode())


# --- sections -----------------------------------------------------------------------------------------------------


def _marker(stack: str) -> str:
    """A stack's name holds nothing else; what does is not let into a comment."""
    return re.sub(r"[^a-z0-9-]", "_", stack[:63]) or "_"


def _heading(plan: Plan, word: str) -> str:
    return f"### {view.heading(plan, word, markdown_code(_marker(plan.stack)))}"


def _circumstances(plan: Plan) -> list[str]:
    return [f"- {markdown_code(text, limit=600)}" for text in view.circumstances(plan)]


def _cost(plan: Plan) -> list[str]:
    return [f"- Cost: {markdown_code(text)}" for text in values.totals(plan.costs)]


def _lines(name: str, weight: int, texts: Iterable[str]) -> _Section:
    return _Section(name, "", tuple((weight, text) for text in texts))


def _refused(plan: Plan) -> _Section:
    rows = [f"- {markdown_code(item.rule)}: {markdown_code(item.message, limit=600)}" for item in plan.refused]
    return _Section("refusal", "**Refused:**\n", tuple((0, row) for row in rows))


def _unreadable(plan: Plan) -> _Section:
    rows = [f"- {_complaint(item)}" for item in plan.unreadable]
    return _Section("unreadable provider", "**Could not be read:**\n", tuple((0, row) for row in rows))


def _complaint(item: Diagnostic) -> str:
    more = "".join(f" {markdown_code(text, limit=400)}" for text in (item.detail, item.hint) if text)
    return markdown_code(view.complaint(item), limit=600) + more


def _notes_of_unchanged(plan: Plan) -> list[str]:
    return [
        f"- {markdown_code(action.address)}: {markdown_code(note, limit=600)}"
        for action in view.noted(plan)
        for note in action.notes
    ]


def _table(actions: Sequence[Action]) -> _Section:
    rows = []
    for action in actions:
        cost = values.cost(action.hourly_cost) if action.hourly_cost else ""
        cells = (
            f"{view.SYMBOLS[action.action]} **{action.action}**",
            markdown_code(action.address, limit=100, table=True),
            markdown_code(action.provider, limit=80, table=True),
            markdown_code(action.reason, table=True) if action.reason else "",
            markdown_code(cost, table=True) if cost else "",
        )
        rows.append((2 + view.IMPORTANCE.index(action.action), f"| {' | '.join(cells)} |"))
    return _Section(
        "table row",
        "| action | deployment | provider | reason | cost |\n| --- | --- | --- | --- | --- |",
        tuple(rows),
    )


def _details(actions: Sequence[Action]) -> _Section:
    parts = []
    for action in sorted(actions, key=lambda action: view.IMPORTANCE.index(action.action)):
        state = " open" if action.action in _OPEN else ""
        summary = f"{view.SYMBOLS[action.action]} {action.action} <code>{html_text(action.address, 100)}</code>"
        body = "\n".join(markdown_fence(_detail_lines(action), "diff"))
        text = f"\n<details{state}><summary>{summary}</summary>\n\n{body}\n\n</details>"
        parts.append((20 + view.IMPORTANCE.index(action.action), text))
    return _Section("detail", "#### Details", tuple(parts), skip_big=True)


def _detail_lines(action: Action) -> list[str]:
    """Lines of a `diff` fence: the first character is ours and gives the colour."""
    out = [f"  {view.title(action)}"] if view.title(action) else []
    out.append(f"  reason: {line(action.reason)}")
    if action.may:
        out.append("  only if a value that is not known yet turns out different")
    if steps := view.steps(action):
        out.append(f"  steps: {steps}")
    if action.depends_on:
        out.append(f"  depends on: {values.listed(action.depends_on)}")
    out += [f"! {line(note, 1000)}" for note in action.notes]
    for item in view.shown(action):
        forced = "  (forces replacement)" if item.forces_replacement else ""
        if item.before is not None and item.before != values.NOT_SET:
            out.append(f"- {item.path}: {item.before}")
        if item.after != values.NOT_SET:
            out.append(f"+ {item.path}: {item.after}{forced}")
        if item.note:
            out.append(f"! {item.note}")
    if action.hourly_cost:
        out.append(f"  cost: {values.cost(action.hourly_cost)}")
    if hidden := view.folded(action):
        out.append(f"  ({values.count(hidden, 'unchanged attribute')} not shown)")
    return out


def _listing(name: str, weight: int, heading: str, texts: Sequence[str]) -> _Section:
    return _Section(name, f"**{heading}:**\n", tuple((weight, f"- {markdown_code(text, limit=600)}") for text in texts))


def _drift(plan: Plan, weight: int) -> _Section:
    rows = [
        (weight, f"- {markdown_code(item.address, limit=100)}: {markdown_code(view.drift_line(item), limit=600)}")
        for item in view.of_kind(plan, "changed", "missing")
    ]
    return _Section("drift line", "**Changed outside since the last apply:**\n", tuple(rows))


def _unmanaged(plan: Plan, weight: int) -> _Section:
    if not plan.unmanaged:
        return _Section("unmanaged deployment", "", ())
    rows = [(weight, f"- {markdown_code(view.unmanaged_line(item), limit=400)}") for item in plan.unmanaged]
    intro = f"<details><summary>{view.unmanaged_heading(plan)}</summary>\n"
    return _Section("unmanaged deployment", intro, tuple(rows), outro="\n</details>")
