"""What one declared deployment needs: the table of desired, state and live, row by row. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.compare import reason as why
from reconciler.core.compare.absence import absence
from reconciler.core.compare.diff import Compared, Strength, compare, differences, pairs, to_change
from reconciler.core.compare.expect import expected_of
from reconciler.core.planning.context import Context, Decision
from reconciler.core.planning.identity import conflict, holders, missing_model, problem
from reconciler.core.planning.resolve import resolved
from reconciler.core.planning.succession import renew, succeed
from reconciler.core.planning.verify import verify
from reconciler.core.values.paths import split
from reconciler.core.values.references import BadReferenceError
from reconciler.core.values.tree import ABSENT, get, leaves, marks
from reconciler.diagnostics import Diagnostic
from reconciler.model import HEALTH_KIND, Desired, Json, Live, Recorded, Unknown
from reconciler.plan import Action, ActionKind, Change, Expected

_REFERENCE_END = "}"
_ASKED = "asked for by --replace"


def decide(ctx: Context, desired: Desired, prior: Recorded | None) -> Decision:
    """The decision for one declared address; `prior` is its record, under whatever provider key."""
    if not ctx.index.readable(desired.provider) or (prior and not ctx.index.readable(prior.provider)):
        return _unread(desired, prior)
    spec: Mapping[str, Json] = sticky(desired, prior)
    errors: tuple[Diagnostic, ...] = ()
    if desired.references:
        try:
            spec = resolved(replace(desired, spec=spec), ctx.resolver)
            errors = verify(ctx, desired, spec)
        except BadReferenceError as error:
            errors = (problem(desired, error.summary, hint=error.hint),)
    wanted = desired if spec is desired.spec else replace(desired, spec=spec)
    if prior is None:
        decision = _new(ctx, wanted)
    elif prior.provider != desired.provider:
        decision = _elsewhere(ctx, wanted, prior)
    else:
        decision = _recorded(ctx, wanted, prior)
    return replace(decision, errors=errors + decision.errors) if errors else decision


def sticky(desired: Desired, prior: Recorded | None) -> Mapping[str, Json]:
    """The declared spec; what is only derived from the address keeps its recorded value: a move changes nothing."""
    if prior is None or prior.type != desired.type:
        return desired.spec
    kept = {
        name: prior.spec[name]
        for name in desired.derived
        if prior.spec.get(name) is not None and prior.spec[name] != desired.spec.get(name)
    }
    return {**desired.spec, **kept} if kept else desired.spec


# --- rows of the table ----------------------------------------------------------------------------------------------
def _new(ctx: Context, desired: Desired) -> Decision:
    """Declared, not in the state. Where a create-first replace lost its new one, the old one stands aside still, and
    what is derived must not be its."""
    generation = ctx.asides.get(desired.address, -1) + 1
    desired = renew(ctx, desired, generation) if generation else desired
    found = holders(ctx, desired)
    error = missing_model(ctx, desired, found)
    one = found.live[0] if len(found.live) == 1 else None
    if error is None and one is not None and desired.adopt and ctx.owner(desired.provider, one) is None:
        return _adopt(ctx, desired, one)
    error = error or conflict(ctx, desired, found)
    action = _deploy(ctx, desired, None, found.dormant[0] if len(found.dormant) == 1 else None, "it is new")
    if found.leaving:
        note = f"waits until {found.leaving[0].id} is gone ({why.status_of(found.leaving[0])})"
        action = replace(action, notes=(*action.notes, note))
    return Decision(replace(action, generation=generation), errors=(error,) if error else ())


def _adopt(ctx: Context, desired: Desired, live: Live) -> Decision:
    """Declared with `adopt: true`, live under nobody's state."""
    compared = _compare(ctx, desired, live, None)
    forcing = [change.path for change in compared.changes if change.forces_replacement]
    errors: tuple[Diagnostic, ...] = ()
    if forcing or live.health == "failed":
        cause = f"{', '.join(forcing)} can't be changed in place" if forcing else f"its status is {why.status_of(live)}"
        shown = "; ".join(why.of_change(change) for change in compared.changes if change.forces_replacement)
        errors = (
            problem(
                desired, f"{live.id} can't be adopted as it is declared: {cause}", detail=shown,
                hint="write the live values into the file and adopt it, then change them: adopting never replaces",
                path=forcing[0] if forcing else "",
            ),
        )  # fmt: skip
    notes = _notes(compared)
    if compared.trusted:
        notes = (
            *notes,
            f"taken from the file on trust, the provider does not return them: {', '.join(compared.trusted)}",
        )
    reasons = ["adopt: true", *why.of_changes(compared.changes, _templates(desired, compared))]
    action = _action(ctx, desired, None, live, "adopt", why.join(reasons), compared.changes, notes)
    return Decision(replace(action, may=compared.known != compared.strength), live, compared.ignored, errors)


def _elsewhere(ctx: Context, desired: Desired, prior: Recorded) -> Decision:
    """Declared, but recorded under another provider key: undeploy there, deploy here."""
    live = ctx.index.find(prior, ctx.schemas[prior.type])
    if live is None and ctx.index.unreadable(prior) is not None:
        return _unread(desired, prior)
    error = _obstacle(ctx, desired, live if _same_scope(ctx, desired, prior) else None)
    move = f"provider {prior.provider} → {desired.provider}"
    errors: tuple[Diagnostic, ...] = (error,) if error else ()
    if (live is None or live.dormant) and (not prior.created or prior.retain):
        return Decision(_deploy(ctx, desired, prior, None, f"{move}; it has gone there"), None, errors=errors)
    change = Change("provider", prior.provider, desired.provider, forces_replacement=True)
    action = _action(ctx, desired, prior, live, "replace", move, (change,))
    if desired.lifecycle.create_before_undeploy:
        action = replace(action, create_first=True)
        if _same_scope(ctx, desired, prior):
            action, more = succeed(ctx, action, prior, live)
            errors += more
    return Decision(action, live, errors=errors)


def _same_scope(ctx: Context, desired: Desired, prior: Recorded) -> bool:
    return prior.type == desired.type and ctx.scopes.get(desired.provider) == ctx.scopes.get(prior.provider)


def _recorded(ctx: Context, desired: Desired, prior: Recorded) -> Decision:
    """Declared and in the state, under the same provider key."""
    live = ctx.index.find(prior, ctx.schemas[desired.type])
    if live is None and ctx.index.unreadable(prior) is not None:
        return _unread(desired, prior)
    if live is None or live.dormant:
        return _absent(ctx, desired, prior, live)
    if live.health == "deleting":
        text = f"it is being undeployed (status {why.status_of(live)}); waits until it is gone"
        return Decision(_deploy(ctx, desired, prior, live, text), live)
    compared = _compare(ctx, desired, live, prior)
    kind, reasons = _needed(ctx, desired, live, compared)
    warnings: tuple[Diagnostic, ...] = ()
    notes = _notes(compared)
    if kind == "none" and live.health in ("stopped", "degraded"):
        summary = f"live status is {why.status_of(live)}"
        hint = (
            "no call of the provider starts it again: start it there, or replace it" if live.health == "stopped" else ""
        )
        warnings = (replace(problem(desired, summary, hint=hint, detail=live.reason), severity="warning"),)
        notes += (summary,)
    elif live.health == "failed" and live.reason:
        notes += (live.reason,)
    elif kind == "deploy" and live.health == "degraded":
        notes += ("deploying it again may interrupt what still serves",)
    elif kind == "none" and HEALTH_KIND[live.health] == "in":
        notes += (f"in transition (status {why.status_of(live)}): apply waits for it",)
    elif kind == "none" and desired.probe is not None and prior.pending is not None and prior.pending.verb == "deploy":
        notes += (why.with_why("it was not seen to answer since its deploy: apply probes it", prior.pending.cause),)
    elif prior.pending is not None and prior.pending.verb in ("scale", "update"):
        found = "; it is as declared now" if kind == "none" else ""
        notes += (f"{why.with_why(f'its {prior.pending.verb} was not seen to end', prior.pending.cause)}{found}",)
    action = _action(ctx, desired, prior, live, kind, why.join(reasons) or "in sync", compared.changes, notes)
    action = replace(
        action, may=kind != "none" and kind == compared.strength != compared.known and not _forced(ctx, desired, live)
    )
    errors: tuple[Diagnostic, ...] = ()
    if kind == "replace":
        action, errors = _replacing(ctx, action, prior, live)
    return Decision(action, live, compared.ignored, errors, warnings)


def _forced(ctx: Context, desired: Desired, live: Live) -> bool:
    """Whether it is replaced for certain, whatever values turn out to be."""
    restartable = ctx.types[desired.type].capabilities.restartable
    return desired.address in ctx.replace or (live.health == "failed" and not restartable)


def _needed(ctx: Context, desired: Desired, live: Live, compared: Compared) -> tuple[ActionKind, list[str]]:
    """The action on something live, and why."""
    reasons = why.of_changes(compared.changes, _templates(desired, compared))
    strength: Strength = compared.strength
    asked, down = desired.address in ctx.replace, live.health in ("stopped", "failed")
    if not asked and ctx.types[desired.type].capabilities.restartable:
        idle = live.health == "degraded" and strength == "none"
        if idle or (down and strength != "replace"):
            return "deploy", [f"live status is {why.status_of(live)}", *reasons]
    if live.health == "failed":
        return "replace", [f"live status is {why.status_of(live)}", *reasons]
    if asked:
        return "replace", [_ASKED, *reasons]
    return strength, reasons


def _replacing(ctx: Context, action: Action, prior: Recorded, live: Live) -> tuple[Action, tuple[Diagnostic, ...]]:
    """A replace in place: the new identity must be free, or freed by the undeploy.

    What failed serves nothing: where two can't stand side by side it goes first, `create_before_undeploy` or not.
    """
    assert action.desired is not None
    if action.desired.lifecycle.create_before_undeploy:
        first, errors = succeed(ctx, replace(action, create_first=True), prior, live)
        if not errors or live.health != "failed":
            return first, errors
    error = _obstacle(ctx, action.desired, live)
    return action, (error,) if error else ()


def _obstacle(ctx: Context, desired: Desired, own: Live | None) -> Diagnostic | None:
    """What forbids deploying this identity: the model that must exist does not, or somebody else has the name."""
    found = holders(ctx, desired, own)
    return missing_model(ctx, desired, found) or conflict(ctx, desired, found)


def _absent(ctx: Context, desired: Desired, prior: Recorded, dormant: Live | None) -> Decision:
    """Declared and in the state, but not live: gone, switched off, or never finished."""
    schema = ctx.schemas[desired.type]
    judged = absence(prior, dormant, schema, ctx.now, desired.presence)
    compared = _compare(ctx, desired, dormant, prior) if dormant else Compared()
    changed = compared.strength != "none"
    forced = dormant is not None and desired.address in ctx.replace
    if judged.in_sync and not changed and not forced:
        action = _action(ctx, desired, prior, dormant, "none", "in sync", (), (judged.text,))
        return Decision(action, dormant, compared.ignored)
    error = _obstacle(ctx, desired, dormant)
    errors = (error,) if error else ()
    reasons = why.of_changes(compared.changes, _templates(desired, compared))
    text = "it has gone" if prior.id is not None else "it was not deployed to the end"
    text = why.with_why(text, judged.text)
    another = _is_another(ctx, desired, prior, dormant)
    if forced:
        text = f"{_ASKED}; {text}"
    if (compared.known == "replace" or another or forced) and prior.created and not prior.retain:
        told = why.join([text, *reasons] if forced else reasons)
        told = told or f"{text}; what was made beside it is not of the name that it has now"
        action = _action(ctx, desired, prior, dormant, "replace", told, compared.changes)
        return Decision(action, dormant, compared.ignored, errors)
    asleep = holders(ctx, desired).dormant if another else ()
    action = _deploy(ctx, desired, prior, (asleep[0] if asleep else None) if another else dormant, text)
    if compared.changes:
        action = replace(action, changes=compared.changes, reason=why.join([text, *reasons]))
    return Decision(action, dormant, compared.ignored, errors)


def _is_another(ctx: Context, desired: Desired, prior: Recorded, dormant: Live | None) -> bool:
    """Whether what is wanted answers to another identity than what has gone (one thing may have several spellings)."""
    identity = ctx.types[desired.type].identity(desired.spec)
    return identity not in (None, prior.identity) and (dormant is None or identity not in dormant.identities)


# --- making actions -------------------------------------------------------------------------------------------------
def _compare(ctx: Context, desired: Desired, live: Live | None, prior: Recorded | None) -> Compared:
    ignore = desired.lifecycle.ignore_changes if prior is not None else ()
    return compare(desired.spec, live, prior, ctx.schemas[desired.type], ignore=ignore, digest_key=ctx.digest_key)


def _action(
    ctx: Context, desired: Desired, prior: Recorded | None, live: Live | None, kind: ActionKind, reason: str,
    changes: tuple[Change, ...] = (), notes: tuple[str, ...] = (),
) -> Action:  # fmt: skip
    schema = ctx.schemas[prior.type if prior else desired.type]
    expected = expected_of(
        live, prior.spec if prior and prior.provider != desired.provider else desired.spec, schema,
        digest_key=ctx.digest_key, ignore=desired.lifecycle.ignore_changes if prior else (),
        quoted=ctx.quoted.get(desired.address, ()), prior=prior.spec if prior else None,
    )  # fmt: skip
    identity = ctx.types[desired.type].identity(desired.spec)
    if not expected.exists and identity is not None:
        expected = replace(expected, identities=(identity,))
    name = (live.name if live else "") or (prior.name if prior else "") or _declared_name(desired)
    return Action(
        address=desired.address, provider=desired.provider, action=kind, reason=reason,
        id=live.id if live else prior.id if prior else None, name=name, depends_on=desired.depends_on,
        changes=changes, desired=desired, expected=expected, generation=prior.generation if prior else 0, notes=notes,
    )  # fmt: skip


def _declared_name(desired: Desired) -> str:
    """What something not live yet will be called: by its spec, else by its address."""
    name = desired.spec.get("name")
    return name if isinstance(name, str) and name else desired.address


def _deploy(ctx: Context, desired: Desired, prior: Recorded | None, live: Live | None, reason: str) -> Action:
    """A deploy of the whole spec; `live` is a dormant object that it starts, or one on its way out."""
    return _action(ctx, desired, prior, live, "deploy", reason, creation(desired, ctx))


def creation(desired: Desired, ctx: Context) -> tuple[Change, ...]:
    """Every attribute of a new deployment, sensitive ones without their value."""
    schema = ctx.schemas[desired.type]
    found = (
        to_change(item, schema)
        for pair in pairs(schema, desired.spec, {}, {})
        if pair.attribute.change not in ("record", "never")
        for path, leaf in leaves(pair.path, pair.wanted)
        for item in differences(path, None, leaf)
    )
    return tuple(replace(change, forces_replacement=False, note="") for change in found)


def _notes(compared: Compared) -> tuple[str, ...]:
    """What the schema has to say about the attributes that change."""
    return tuple(dict.fromkeys(f"{change.path}: {change.note}" for change in compared.changes if change.note))


def _templates(desired: Desired, compared: Compared) -> list[str]:
    """The references behind the changes that are not known yet, `${…}` and nothing around them."""
    found: list[str] = []
    for change in compared.changes:
        value = get(desired.spec, split(change.path)) if change.unknown else ABSENT
        for mark in marks(value):
            if isinstance(mark, Unknown):
                found += [part.partition(_REFERENCE_END)[0] for part in mark.template.split("${")[1:]]
    return [f"${{{name}}}" for name in found]


def _unread(desired: Desired, prior: Recorded | None) -> Decision:
    """Nothing can be said: the planner lists why, and the plan can't be applied."""
    action = Action(
        address=desired.address, provider=desired.provider, action="none", reason="it can't be read",
        id=prior.id if prior else None, name=prior.name if prior else "", depends_on=desired.depends_on,
        desired=desired, expected=Expected(exists=prior is not None, id=prior.id if prior else None),
        generation=prior.generation if prior else 0,
    )  # fmt: skip
    return Decision(action)
