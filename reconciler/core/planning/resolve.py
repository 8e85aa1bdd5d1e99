"""What a `${deployments.…}` reference is worth at plan time: a value where the plan knows it, else unknown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.core.schemas.schema import Computed, ProviderSchema
from reconciler.core.values.paths import split
from reconciler.core.values.references import BadReferenceError, Lookup, Reference, references, resolve
from reconciler.core.values.tree import ABSENT, get, marks
from reconciler.model import HEALTH_KIND, Desired, Json, Live, Recorded, Unknown
from reconciler.plan import Action, ActionKind

_NEW: frozenset[ActionKind] = frozenset(("deploy", "replace"))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the plan knows of one deployment: its resolved spec, what is live, what it will do to it. `keeps_id`: though
    it is deployed, it stays the same object."""

    action: ActionKind
    spec: Mapping[str, Json]
    live: Live | None
    prior: Recorded | None
    schema: ProviderSchema
    keeps_id: bool = False


def outlook_of(
    action: Action, live: Live | None, prior: Recorded | None, schema: ProviderSchema, *, restartable: bool
) -> Outlook:
    """`restartable` is the provider type's promise that what is there is started again under its id."""
    spec = action.desired.spec if action.desired else {}
    keeps_id = (
        restartable
        and action.action == "deploy"
        and live is not None
        and live.id == action.id
        and live.health != "deleting"  # another one comes after it
        and not any(change.forces_replacement for change in action.changes)
    )
    return Outlook(action.action, spec, live, prior, schema, keeps_id)


def attribute(outlook: Outlook, path: str) -> Json:
    """The value of one attribute as it will be after the plan; ABSENT where that can't be known yet.

    What the file declares is known (it may be Unknown itself). Computed attributes are not before a deploy or replace,
    but for the id of what is only started again; under any other action they keep their live value unless the schema
    lists them as changed by it. Of something that
    is still on its way in, which the apply waits for, what may yet differ is not the last word. Raises
    BadReferenceError for an attribute of the spec that the file does not set: no apply would ever know it.
    """
    parts = split(path)
    declared = get(outlook.spec, parts)
    if declared is not ABSENT and declared is not None:
        return declared
    computed = outlook.schema.computed.get(str(parts[0]))
    if computed is None:
        raise BadReferenceError(f"{path} is quoted, but not set", f"set {path} there, or quote a computed attribute")
    if outlook.keeps_id and path == "id" and outlook.live is not None:
        return outlook.live.id
    if outlook.action in _NEW or outlook.action in computed.changed_by:
        return ABSENT
    live = outlook.live
    if live is None:
        return _recorded(outlook.prior, path)
    found = get(live.computed, parts)
    if found is ABSENT and path == "id":
        return live.id
    if found is ABSENT or (HEALTH_KIND[live.health] == "in" and _is_passing(outlook, path, found, computed)):
        return ABSENT
    return found


def _is_passing(outlook: Outlook, path: str, found: Json, computed: Computed) -> bool:
    """Whether a computed value of something in transition may be another one when the apply has waited for it."""
    if found is None or path == "status" or computed.changed_by:
        return True
    if outlook.live is None or outlook.live.health != "pending":
        return False
    prior = outlook.prior  # a deploy under way: only what stood like this when it was ready is settled
    return prior is None or prior.pending is not None or get(prior.computed, split(path)) != found


def _recorded(prior: Recorded | None, path: str) -> Json:
    """What the state says: for what is in sync though nothing is live."""
    if prior is None:
        return ABSENT
    found = get(prior.computed, split(path))
    if found is ABSENT and path == "id":
        return prior.id if prior.id is not None else ABSENT
    return found


class Resolver:
    """Resolves value trees against what has been decided so far; decide dependencies first."""

    def __init__(self, outlook: Callable[[str], Outlook | None], secrets: Lookup | None = None) -> None:
        self._outlook = outlook
        self._secrets = secrets

    def __call__(self, tree: Json) -> Json:
        """The tree with every leaf resolved that can be. The same object where nothing changed.

        Raises BadReferenceError where a list, a mapping or null would have to stand inside a longer text, and where an
        attribute is quoted that the file does not set.
        """
        return resolve(tree, self._look_up)

    def _look_up(self, reference: Reference) -> Json:
        if reference.kind != "deployments":
            return self._secrets(reference) if self._secrets else Unknown(reference.text, True)
        outlook = self._outlook(reference.address)
        try:
            found = attribute(outlook, reference.attribute) if outlook else ABSENT
        except BadReferenceError as error:
            raise BadReferenceError(f"{reference.text}: {error.summary}", error.hint) from None
        if found is ABSENT or any(isinstance(mark, Unknown) for mark in marks(found)):
            return Unknown(reference.text)
        return found


def resolved(desired: Desired, resolver: Resolver) -> Mapping[str, Json]:
    """The spec of a declared deployment, resolved as far as the plan can."""
    spec: Mapping[str, Json] = resolver(desired.spec if isinstance(desired.spec, dict) else dict(desired.spec))
    return spec


def quoted(tree: Json) -> set[tuple[str, str]]:
    """(address, attribute path) of every `${deployments.…}` that is still unknown in a tree."""
    return {
        (reference.address, reference.attribute)
        for mark in marks(tree)
        if isinstance(mark, Unknown)
        for reference in references(mark.template)
        if reference.kind == "deployments"
    }
