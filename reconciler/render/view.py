"""What a plan has to tell, as words and counts that the text, Markdown and HTML renderers lay out.

Pure, and without any layout: no colour, no width, no markup. Texts that come from outside are neutral when they leave.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.diagnostics import Diagnostic
from reconciler.model import HEALTH_KIND
from reconciler.plan import Action, ActionKind, Drift, Plan, PlanOptions, StateChange, Unmanaged
from reconciler.render.safe import line
from reconciler.render.values import NOT_SET, SENSITIVE, UNKNOWN, Shown, change, count, listed, pair, value

SYMBOLS: Mapping[ActionKind, str] = {
    "deploy": "+",
    "update": "~",
    "scale": "↕",
    "replace": "±",
    "undeploy": "-",
    "adopt": "←",
    "forget": "×",
    "none": "=",
}
# What takes a deployment away comes first where space is short.
IMPORTANCE: tuple[ActionKind, ...] = ("undeploy", "replace", "forget", "update", "scale", "deploy", "adopt")
_SUMMARY: tuple[ActionKind, ...] = ("deploy", "adopt", "scale", "update", "replace", "undeploy", "forget")
# What the planner says in place of a value that can't be shown.
_TOLD = (SENSITIVE, UNKNOWN, "(in clear)")
FEW = 8  # so many unmanaged objects are named without being asked for


NO_DRIFT_BUT = "No drift in what could be read; the rest is not known."


def active(plan: Plan) -> list[Action]:
    """The actions other than `none`, in execution order."""
    return [action for action in plan.actions if action.action != "none"]


def noted(plan: Plan) -> list[Action]:
    """Unchanged deployments about which there is something to say."""
    return [action for action in plan.actions if action.action == "none" and action.notes]


def counts(plan: Plan) -> Counter[ActionKind]:
    return Counter(action.action for action in plan.actions)


def summary(plan: Plan) -> str:
    """One line: what would happen, what stays."""
    found = counts(plan)
    parts = [f"{found[kind]} to {kind}" for kind in _SUMMARY if found[kind]]
    stays = count(found["none"], "deployment") + " unchanged"
    if plan.state_changes:
        stays += ", " + count(len(plan.state_changes), "state change")
    if not parts:
        return f"Plan: no actions; {stays}."
    return f"Plan: {', '.join(parts)}; {stays}."


def is_empty(plan: Plan) -> bool:
    """Whether an apply would neither act nor write anything down."""
    return not plan.state_changes and all(action.action == "none" for action in plan.actions)


def _arriving(action: Action) -> bool:
    """Whether an apply waits for a deployment that it does nothing to."""
    health = action.expected.health
    return action.action == "none" and action.expected.exists and health is not None and HEALTH_KIND[health] == "in"


def heading(plan: Plan, word: str = "Plan", name: str | None = None) -> str:
    """`Plan for stack support-bots, state serial 7`; `name` is the stack's, where a renderer dresses it."""
    what = "to undeploy everything" if plan.options.destroy else "refresh only" if plan.options.refresh_only else ""
    state = f"state serial {plan.serial}" if plan.lineage else "no state yet"
    return f"{word} for stack {name or line(plan.stack)}{f' ({what})' if what else ''}, {state}"


def circumstances(plan: Plan) -> list[str]:
    """What the reader must know before reading on: sandbox, providers looked at, what was left out."""
    out = []
    if plan.sandbox:
        out.append("SANDBOX: built-in simulators; no real provider was contacted")
    out.append(f"Looked at: {listed(plan.looked_at, 20)}" if plan.looked_at else "Looked at: no provider")
    if plan.skipped:
        out.append(f"Not looked at: {listed(plan.skipped, 20)}; nothing is said about these")
    return out


# --- one action ---------------------------------------------------------------------------------------------------


def title(action: Action) -> str:
    """What identifies the deployment at its provider: `dep-1 "chat"`."""
    parts = [line(action.id, 80)] if action.id else []
    if action.name and action.name != action.id:
        parts.append(value(action.name, 80))
    return " ".join(parts)


def shown(action: Action) -> list[Shown]:
    """The changes of an action as text. A note that stands among the action's own is not told twice."""
    rows = []
    for item in action.changes:
        row = change(item, fresh=action.action == "deploy" and item.before is None)
        rows.append(replace(row, note="") if f"{item.path}: {item.note}" in action.notes else row)
    return rows


def folded(action: Action) -> int:
    """How many attributes of the file stay as they are (counted at the top level of `spec`)."""
    if action.desired is None or action.action == "deploy":
        return 0
    changed = {item.path.partition(".")[0].partition("[")[0] for item in action.changes}
    return sum(name not in changed for name in action.desired.spec)


def steps(action: Action) -> str:
    """How a replace is done, in words."""
    if action.action != "replace":
        return ""
    return "deploy the new one, then undeploy the old one" if action.create_first else "undeploy, then deploy"


# --- the rest of a plan -------------------------------------------------------------------------------------------


def state_change(item: StateChange) -> str:
    """One line: what would be written down."""
    if item.kind == "moved" and isinstance(item.before, str) and isinstance(item.after, str):
        return f"moved {line(item.before, 100)} → {line(item.after, 100)}"
    words = [line(item.address)] if item.address else []
    if item.path and item.path not in (item.address, item.kind):
        words.append(line(item.path))
    if not item.path.startswith(f"{item.kind}."):
        words.insert(0, line(item.kind))
    before, after = _sides(item.before, item.after)
    return f"{' '.join(words)}: {before} → {after}"


def _sides(before: object, after: object) -> tuple[str, str]:
    if before is None or after is None or before in _TOLD or after in _TOLD:
        return _side(before), _side(after)
    return pair(before, after)


def _side(item: object) -> str:
    return NOT_SET if item is None else str(item) if item in _TOLD else value(item)


def drift_line(item: Drift) -> str:
    """What differs at one address, without the address."""
    note = f" ({line(item.note)})" if item.note else ""
    path = line(item.path)
    if item.kind == "missing":
        was = f"was {value(item.expected)}, " if item.expected is not None else ""
        return f"{was}is gone{note}"
    if item.kind == "unreadable":
        return f"could not be read{note}"
    if item.kind == "not_compared" and item.expected is None and item.live is None:
        return f"{path}{note}"
    if item.kind == "unmanaged":
        return f"is in no state of this stack{note}"
    if item.sensitive:
        return f"{path} {SENSITIVE} differs{note}"
    expected, live = _sides(item.expected, item.live)
    return f"{path} recorded {expected}, live {live}{note}"


def of_kind(plan: Plan, *kinds: str) -> list[Drift]:
    return [item for item in plan.drift if item.kind in kinds]


def unmanaged_line(item: Unmanaged) -> str:
    name = f" {value(item.name, 80)}" if item.name and item.name != item.id else ""
    return f"{line(item.provider)} {line(item.id, 80)}{name} ({line(item.status, 40)})"


def unmanaged_heading(plan: Plan) -> str:
    return (
        f"{count(len(plan.unmanaged), 'unmanaged deployment')} live at the providers, declared nowhere (never touched)"
    )


def complaint(item: Diagnostic) -> str:
    """A diagnostic on one line: who, what, where."""
    who = " ".join(line(part, 100) for part in (item.provider, item.address) if part)
    place = f" ({line(str(item.span))})" if item.span else ""
    request = f" [request {line(item.request_id, 80)}]" if item.request_id else ""
    return f"{who}: {line(item.summary)}{place}{request}" if who else f"{line(item.summary)}{place}{request}"


# --- what to do next ----------------------------------------------------------------------------------------------


def typed(options: PlanOptions) -> list[str]:
    """The planning options as they are typed, quoted for a shell."""
    words: list[str] = []
    for flag, items in (("--target", options.target), ("--exclude", options.exclude), ("--replace", options.replace)):
        words += [word for item in items for word in (flag, item)]
    words += ["--refresh-only"] if options.refresh_only else []
    if options.allow_undeploys is not None:
        words += ["--allow-undeploys", str(options.allow_undeploys)]
    for flag, items in (("--allow-empty", options.allow_empty), ("--accept-endpoint", options.accept_endpoint)):
        words += [word for item in items for word in (flag, item)]
    return [shlex.quote(line(word)) for word in words]


def planning(options: PlanOptions, given: Sequence[str]) -> list[str]:
    """The words of the `plan` that these options and variables ask for."""
    return ["plan", *(["--destroy"] if options.destroy else []), *quoted(given), *typed(options)]


def applying(options: PlanOptions, given: Sequence[str]) -> list[str]:
    """The words of the command that applies the same. `destroy` itself takes variables and targets only."""
    words = [*quoted(given), *typed(options)]
    if not options.destroy:
        return ["apply", *words]
    plain = PlanOptions(target=options.target, destroy=True) == options
    return ["destroy", *words] if plain else ["apply", "--destroy", *words]


def quoted(given: Sequence[str]) -> list[str]:
    """The words that gave variables, quoted for a shell."""
    return [shlex.quote(line(word, 400)) for word in given]


@dataclass(frozen=True, slots=True)
class Next:
    """The last line: a sentence, and the command to paste (empty where there is none)."""

    text: str
    command: str = ""


def next_step(plan: Plan, *, command: str, saved_as: str | None, given: Sequence[str] = ()) -> Next:
    """What the reader would do now. `command` is how the tool was called (`reconciler -f x.yaml`), `given` the words
    that gave variables (`--var`, `replicas=3`): without them another plan would be made."""
    if plan.unreadable:
        return Next("Not everything could be read: nothing can be applied before that works.")
    if plan.refused:
        return Next("Refused: an apply would change nothing. Change the file, or lift what refuses it as said above.")
    waits = is_empty(plan) and not plan.options.refresh_only and any(map(_arriving, plan.actions))
    if is_empty(plan) and not waits:
        return Next("Nothing to do.")
    if saved_as is not None:
        return Next("To do exactly this:", f"{command} apply {shlex.quote(line(saved_as, 4000))}")
    words = applying(plan.options, given)
    text = "Nothing to change; to wait for what is in transition:" if waits else "To do this:"
    return Next(text, " ".join([command, *words]))
