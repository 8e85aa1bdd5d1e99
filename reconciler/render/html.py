"""A plan or its drift as one self-contained HTML page: no script, no network, readable in light and dark.

Pure. Every text that is not our own word goes through `html_text`; the page's own policy forbids all loading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.diagnostics import Diagnostic
from reconciler.plan import Action, Plan
from reconciler.render import values, view
from reconciler.render.safe import html_text

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --red: #c62828; --green: #2e7d32; --amber: #b26a00; }
@media (prefers-color-scheme: dark) { :root { --red: #ef9a9a; --green: #a5d6a7; --amber: #ffcc80; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
td, code, summary { overflow-wrap: anywhere; } code { font: 13px/1.4 ui-monospace, monospace; }
details { border: 1px solid var(--line); border-radius: .4rem; padding: .4rem .8rem; margin: .5rem 0; }
.undeploy, .replace, .forget, .bad { color: var(--red); } .deploy, .adopt { color: var(--green); }
.scale, .update, .note { color: var(--amber); } .word { font-weight: 600; white-space: nowrap; }
.summary { font-weight: 600; } .box { border-left: .3rem solid var(--red); padding-left: .8rem; }
"""


def plan_html(
    plan: Plan, *, command: str = "reconciler", saved_as: str | None = None, given: Sequence[str] = ()
) -> str:
    """The whole plan as a page."""
    actions = view.active(plan)
    step = view.next_step(plan, command=command, saved_as=saved_as, given=given)
    body = [
        *_top(plan, "Plan", view.summary(plan)),
        *_items("Cost", values.totals(plan.costs)),
        *_boxed("Refused", (f"{item.rule}: {item.message}" for item in plan.refused)),
        *_complaints("Could not be read", plan.unreadable),
        *_items("Notes", plan.notes),
        *_complaints("Warnings", plan.warnings),
        *_overview(actions),
        *(row for action in actions for row in _details(action)),
        *_items(
            "Unchanged, with a note",
            (f"{action.address}: {note}" for action in view.noted(plan) for note in action.notes),
        ),
        *_items("State changes (only written down)", (view.state_change(item) for item in plan.state_changes)),
        *_drift(plan, "Changed outside since the last apply"),
        *_unmanaged(plan),
        f"<p>{_text(step.text)}" + (f" <code>{_text(step.command)}</code>" if step.command else "") + "</p>",
    ]
    return _page(view.heading(plan), body)


def drift_html(plan: Plan, *, command: str = "reconciler") -> str:
    """Live against prior state as a page."""
    real = view.of_kind(plan, "changed", "missing")
    verdict = (
        f"{values.count(len({i.address for i in real}), 'deployment')} with drift."
        if real
        else view.NO_DRIFT_BUT
        if plan.unreadable
        else "No drift."
    )
    body = [
        *_top(plan, "Drift", verdict),
        *_complaints("Could not be read", plan.unreadable),
        *_items("Notes", plan.notes),
        *_complaints("Warnings", plan.warnings),
        *_drift(plan, "Changed or missing"),
        *_items(
            "Not compared (no drift)",
            (f"{i.address}: {view.drift_line(i)}" for i in view.of_kind(plan, "not_compared")),
        ),
        *_unmanaged(plan),
    ]
    if real:
        body.append(f"<p>To see what an apply would do: <code>{_text(f'{command} plan')}</code></p>")
    return _page(view.heading(plan, "Drift"), body)


def _page(title: str, body: Iterable[str]) -> str:
    head = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style></head><body>",
    ]
    return "\n".join([*head, *body, "</body></html>"]) + "\n"


def _text(text: str) -> str:
    return html_text(text, 1000)


def _top(plan: Plan, word: str, summary: str) -> list[str]:
    return [
        f"<h1>{_text(view.heading(plan, word))}</h1>",
        f'<p class="summary">{_text(summary)}</p>',
        "<ul>",
        *(f"<li>{_text(text)}</li>" for text in view.circumstances(plan)),
        "</ul>",
    ]


def _items(heading: str, texts: Iterable[str]) -> list[str]:
    rows = [f"<li>{_text(text)}</li>" for text in texts]
    return [f"<h2>{heading}</h2>", "<ul>", *rows, "</ul>"] if rows else []


def _boxed(heading: str, texts: Iterable[str]) -> list[str]:
    rows = [f"<li>{_text(text)}</li>" for text in texts]
    return ['<div class="box">', f'<h2 class="bad">{heading}</h2>', "<ul>", *rows, "</ul></div>"] if rows else []


def _complaints(heading: str, items: Sequence[Diagnostic]) -> list[str]:
    def whole(item: Diagnostic) -> str:
        more = [text for text in (item.detail, f"hint: {item.hint}" if item.hint else "") if text]
        return ". ".join([view.complaint(item), *more])

    return _boxed(heading, map(whole, items))


def _overview(actions: Sequence[Action]) -> list[str]:
    if not actions:
        return []
    out = [
        "<h2>Actions, in the order in which they run</h2>",
        "<table><thead><tr><th>action</th><th>deployment</th><th>provider</th><th>reason</th><th>cost</th></tr></thead>",
        "<tbody>",
    ]
    for action in actions:
        cost = values.cost(action.hourly_cost) if action.hourly_cost else ""
        out.append(
            f"<tr><td>{_word(action)}</td><td><code>{_text(action.address)}</code></td>"
            f"<td>{_text(action.provider)}</td><td>{_text(action.reason)}</td><td>{_text(cost)}</td></tr>"
        )
    return [*out, "</tbody></table>", "<h2>Details</h2>"]


def _word(action: Action) -> str:
    return f'<span class="word {action.action}">{view.SYMBOLS[action.action]} {action.action}</span>'


def _details(action: Action) -> list[str]:
    state = " open" if action.action in ("undeploy", "replace", "forget") else ""
    out = [
        f"<details{state}><summary>{_word(action)} <code>{_text(action.address)}</code> "
        f"{_text(view.title(action))}</summary>"
    ]
    facts = [f"reason: {action.reason}"]
    if action.may:
        facts.append("only if a value that is not known yet turns out different")
    if steps := view.steps(action):
        facts.append(f"steps: {steps}")
    if action.depends_on:
        facts.append(f"depends on: {values.listed(action.depends_on)}")
    out += ["<ul>", *(f"<li>{_text(fact)}</li>" for fact in facts)]
    out += [*(f'<li class="note">{_text(note)}</li>' for note in action.notes), "</ul>"]
    rows = [_change(item) for item in view.shown(action)]
    if rows:
        out += ["<table><thead><tr><th>attribute</th><th>before</th><th>after</th></tr></thead><tbody>", *rows]
        out.append("</tbody></table>")
    if hidden := view.folded(action):
        out.append(f"<p>{values.count(hidden, 'unchanged attribute')} not shown</p>")
    return [*out, "</details>"]


def _change(item: values.Shown) -> str:
    forced = ' <strong class="bad">forces replacement</strong>' if item.forces_replacement else ""
    note = f'<br><span class="note">{_text(item.note)}</span>' if item.note else ""
    before = f"<code>{_text(item.before)}</code>" if item.before is not None else ""
    return (
        f"<tr><td><code>{_text(item.path)}</code>{forced}{note}</td><td>{before}</td>"
        f"<td><code>{_text(item.after)}</code></td></tr>"
    )


def _drift(plan: Plan, heading: str) -> list[str]:
    return _items(heading, (f"{i.address}: {view.drift_line(i)}" for i in view.of_kind(plan, "changed", "missing")))


def _unmanaged(plan: Plan) -> list[str]:
    if not plan.unmanaged:
        return []
    rows = [f"<li><code>{_text(view.unmanaged_line(item))}</code></li>" for item in plan.unmanaged]
    return [f"<details><summary>{view.unmanaged_heading(plan)}</summary>", "<ul>", *rows, "</ul></details>"]
