"""What other commands than plan and drift print: the end of an apply, the state, outputs, a validated file, a lock.

Pure; layout only. Values of the state are sealed before they come here, and anything sealed is shown as sensitive.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from reconciler.core.schemas.probe import probe_to_json
from reconciler.model import Json, Recorded, Stack, State
from reconciler.plan import Action, Cost, Outcome, Plan, PlanOptions, Report
from reconciler.render import values
from reconciler.render.diagnostics import diagnostic_line
from reconciler.render.layout import Ink, table, widest, wrap
from reconciler.render.safe import block, finish, line, pad, visible
from reconciler.render.view import planning

_RESULTS = (
    ("done", "Done", "green"),
    ("unchanged", "Unchanged (nothing had to be sent)", ""),
    ("failed", "Failed", "bold red"),
    ("interrupted", "Interrupted (still under way at the provider)", "bold yellow"),
    ("skipped", "Skipped", "yellow"),
)
_BAD = ("failed", "interrupted", "skipped")


# --- the end of an apply ------------------------------------------------------------------------------------------


def report_text(
    report: Report, plan: Plan, *, color: bool, width: int, command: str = "reconciler", given: Sequence[str] = ()
) -> str:
    """Done, failed, skipped; what is left running and what that costs an hour; what to do next.

    `given` are the words that gave variables: without them the plan of what is left would be another one.
    """
    ink = Ink(color)
    actions = {action.address: action for action in plan.actions}
    outcomes = [outcome for outcome in report.outcomes if outcome.action != "none" or outcome.result in _BAD]
    sections: list[list[str]] = []
    for result, heading, style in _RESULTS:
        found = [outcome for outcome in outcomes if outcome.result == result]
        if found:
            sections.append([ink(style, f"{heading}: {len(found)}"), *_outcomes(found, width)])
    unsettled = _unsettled(report, outcomes, actions)
    if unsettled:
        sections.append(["Not settled, and may cost money now:", *table(unsettled, indent="  ")])
    sections.append([_left_running(report, actions)])
    sections.append(
        [ink("bold", _verdict(report, outcomes, plan.serial)), *_next(report, outcomes, plan, command, given)]
    )
    out: list[str] = []
    for section in sections:
        out += ["", *section] if out else section
    return finish(out)


def _outcomes(found: Sequence[Outcome], width: int) -> list[str]:
    rows = [(_word(outcome), line(outcome.address, 100), _about(outcome), _took(outcome)) for outcome in found]
    out = []
    for row, outcome in zip(table(rows, indent="  "), found, strict=True):
        out.append(row)
        if outcome.error is None:
            continue
        error = outcome.error
        request = f" [request {line(error.request_id, 80)}]" if error.request_id else ""
        out += wrap(f"{line(error.summary, 500)}{request}", width, first="      ", rest="      ")
        for text in (error.detail, error.hint):
            out += [f"      {part}" for part in (block(text) if text else ())]
    return out


def _word(outcome: Outcome) -> str:
    """What was done; nothing was planned for what an earlier run had begun, but it was waited for."""
    return "wait" if outcome.action == "none" else outcome.action


def _took(outcome: Outcome) -> str:
    return "" if outcome.result == "skipped" else values.duration(outcome.elapsed)


def _about(outcome: Outcome) -> str:
    parts = [line(outcome.id, 80)] if outcome.id else []
    if outcome.health:
        parts.append(outcome.health)
    return " ".join(parts)


def _unsettled(
    report: Report, outcomes: Sequence[Outcome], actions: Mapping[str, Action]
) -> list[tuple[str, str, str, str]]:
    """Deployments whose action did not end well but which exist: address, id, health, cost."""
    rows: list[tuple[str, str, str, str]] = []
    for outcome in outcomes:
        entry = report.state.deployments.get(outcome.address)
        if outcome.result in ("failed", "interrupted") and entry is not None and entry.id is not None:
            action = actions.get(outcome.address)
            price = _price(action.hourly_cost if action else None)
            rows.append((line(entry.address, 100), line(entry.id, 80), entry.health, price))
    return rows


def _price(cost: Cost | None) -> str:
    """What an unfinished action may leave to be paid: both ends where nobody can say which holds."""
    known = sorted({side for side in (cost.before, cost.after) if side is not None}) if cost else []
    if cost is None or not known:
        return "cost unknown"
    if len(known) == 1:
        return values.amount(known[0], cost.currency)
    low, high = (values.amount(side, cost.currency) for side in known)
    return f"{low.split(' ')[0]} to {high}"


def _left_running(report: Report, actions: Mapping[str, Action]) -> str:
    """One line: how many deployments the state holds and the sum of their known prices, per currency."""
    results = {outcome.address: outcome.result for outcome in report.outcomes}
    running = [entry for entry in report.state.deployments.values() if entry.id is not None]
    if not running:
        return "Left running: nothing."
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    unknown = 0
    for entry in running:
        action = actions.get(entry.address)
        cost = action.hourly_cost if action else None
        sides = _sides(cost, results.get(entry.address))
        if cost is None or not sides:
            unknown += 1
            continue
        low[cost.currency] = low.get(cost.currency, 0.0) + min(sides)
        high[cost.currency] = high.get(cost.currency, 0.0) + max(sides)
    sums = [_range(low[currency], high[currency], currency, unknown) for currency in sorted(low)]
    if unknown:
        sums.append(f"{unknown} at unknown cost")
    return f"Left running: {values.count(len(running), 'deployment')}, {', '.join(sums)}."


def _sides(cost: Cost | None, result: str | None) -> list[float]:
    if cost is None:
        return []
    if result in ("done", "unchanged"):
        sides = [cost.after]
    elif result in ("failed", "interrupted"):
        sides = [cost.before, cost.after]
    else:
        sides = [cost.before]
    return [side for side in sides if side is not None]


def _range(low: float, high: float, currency: str, unknown: int) -> str:
    least = "≥ " if unknown else ""
    if low == high:
        return f"{least}{values.amount(low, currency)}"
    return f"{least}{values.amount(low, currency).split(' ')[0]} to {values.amount(high, currency)}"


def _verdict(report: Report, outcomes: Sequence[Outcome], serial: int) -> str:
    bad = sum(outcome.result in _BAD for outcome in outcomes)
    truth = f"The state (serial {report.state.serial}) says what is."
    if report.interrupted:
        return f"Interrupted: {values.count(bad, 'action')} not finished. {truth}"
    if bad:
        return f"Ended in part: {bad} of {values.count(len(outcomes), 'action')} not done. {truth}"
    if not outcomes and report.state.serial == serial:
        return "Done: nothing had to be changed."
    done = values.count(len(outcomes), "action") if outcomes else "only the state had to be changed"
    return f"Done: {done}. State serial {report.state.serial}."


def _next(report: Report, outcomes: Sequence[Outcome], plan: Plan, command: str, given: Sequence[str]) -> list[str]:
    if report.interrupted or any(o.result in _BAD for o in outcomes):
        options = plan.options
        chosen = PlanOptions(target=options.target, exclude=options.exclude, destroy=options.destroy)
        words = planning(chosen, given)
        return [f"To see what is left to do: {' '.join([command, *words])}"]
    return [f"Outputs: {command} output"] if report.outputs else []


# --- the state ----------------------------------------------------------------------------------------------------


def state_list_text(addresses: Sequence[str]) -> str:
    """One address a line, for scripts."""
    return finish(line(address, 400) for address in addresses)


def state_text(state: State, *, color: bool) -> str:
    """The whole state as a table, providers and outputs included."""
    ink = Ink(color)
    out = [ink("bold", f"State of stack {line(state.stack)}, serial {state.serial}, lineage {line(state.lineage)}")]
    for key, provider in sorted(state.providers.items()):
        out.append(f"  {line(key)}: {line(provider.type)}, {line(provider.scope)}")
    rows = [
        (line(e.address, 100), line(e.provider, 80), line(e.id or "(no id)", 80), e.health, _pending(e))
        for e in state.deployments.values()
    ]
    if rows:
        head = ("address", "provider", "id", "health", "")
        out += ["", *table([head, *rows], indent="  ")]
    if state.outputs:
        out += ["", "Outputs:", *_assignments(state.outputs, "  ")]
    return finish([*out, "", f"{values.count(len(rows), 'deployment')} in the state."])


def _pending(entry: Recorded) -> str:
    if entry.pending is None:
        return ""
    cause = f": {line(entry.pending.cause)}" if entry.pending.cause else ""
    return f"{entry.pending.verb} not finished since {line(entry.pending.since, 40)}{cause}"


def entry_text(entry: Recorded, *, color: bool) -> str:
    """One recorded deployment in full: what was applied, what was computed, the flags."""
    ink = Ink(color)
    life = entry.lifecycle
    facts = [
        ("provider", f"{line(entry.provider)} ({line(entry.type)})"),
        ("id", line(entry.id) if entry.id else "(none)"),
        ("name", values.value(entry.name)),
        ("identity", line(entry.identity)),
        ("health", f"{entry.health} (the provider says {values.value(entry.status)})"),
        ("unfinished", _pending(entry)),
        ("depends on", values.listed(entry.depends_on, 50)),
        (
            "lifecycle",
            ", ".join(name for name in ("prevent_undeploy", "create_before_undeploy") if getattr(life, name)),
        ),
        ("ignores", values.listed(life.ignore_changes, 50)),
        ("presence", entry.presence),
        ("probe", values.value(probe_to_json(entry.probe), 500) if entry.probe is not None else ""),
        ("retain", "true" if entry.retain else ""),
        ("taken on trust", values.listed(entry.trusted, 50)),
        ("created beside it", ", ".join(f"{line(k)} {line(v)}" for k, v in sorted(entry.created.items()))),
        ("created", line(entry.created_at)),
        ("deployed", line(entry.deployed_at)),
        ("updated", line(entry.updated_at)),
    ]
    out = [ink("bold", line(entry.address)), *table([fact for fact in facts if fact[1]], indent="  ")]
    for heading, items in (("spec as applied", entry.spec), ("computed", entry.computed)):
        if items:
            out += [f"  {heading}:", *_assignments(items, "    ")]
    return finish(out)


def _assignments(items: Mapping[str, Json], indent: str) -> list[str]:
    wide = widest((line(name) for name in items), 40)
    return [f"{indent}{pad(line(name), wide)} = {values.value(item, 2000)}" for name, item in sorted(items.items())]


# --- outputs, a file, a lock --------------------------------------------------------------------------------------


def output_text(outputs: Mapping[str, Json], name: str | None = None) -> str:
    """All outputs as `name = value`, or the one called `name` alone: a string without quotes, else JSON. Never cut."""
    if name is None:
        return finish(_assignments(outputs, "")) if outputs else "There are no outputs.\n"
    found = outputs[name]
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, sort_keys=True)
    return f"{visible(text)}\n"


def validate_text(stack: Stack, *, color: bool) -> str:
    """What a valid file declares, and the warnings about it."""
    used = {deployment.provider for deployment in stack.deployments.values()}
    unused = sorted(set(stack.providers) - used)
    out = [
        f"{Ink(color)('bold green', 'Valid')}: stack {line(stack.name)}, "
        f"{values.count(len(stack.deployments), 'deployment')} at {values.count(len(used), 'provider')}."
    ]
    if unused:
        out.append(f"Not used: {values.listed(unused)}")
    out += [f"{item.severity}: {diagnostic_line(item)}" for item in stack.warnings]
    return finish(out)


_HOLDER = {"id": "lock id", "user": "user", "host": "host", "pid": "pid", "command": "command", "since": "since"}


def lock_text(holder: Mapping[str, Json] | None, *, alive: bool | None, unlock: str) -> str:
    """Who holds the lock. `holder` is the record beside the kernel lock, None where there is none.

    `alive` says whether the holder still runs here: None where that can't be known from this machine. `unlock` is the
    command that removes the lock, without the lock's id.
    """
    if holder is None:
        return (
            "The state is locked by a run that has not said who it is yet.\n" if alive else "The state is not locked.\n"
        )
    names = {**_HOLDER, "job_url": "CI job"}
    facts = [(name, line(str(holder[key]))) for key, name in names.items() if holder.get(key) not in (None, "", 0)]
    command = f"{unlock} {shlex.quote(line(str(holder.get('id', ''))))}"
    told = {
        True: "The holder is running on this machine: wait for it.",
        False: f"The holder is gone: the next run takes over by itself. To remove the lock now: {command}",
        None: f"Whether the holder still runs can't be seen from here. If it does not: {command}",
    }
    return finish(["The state is locked:", *table(facts, indent="  "), told[alive]])
