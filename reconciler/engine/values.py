"""Values that only an apply can know: references to what has just been deployed, and what they turn out to ask for.

Reads the state under way; sends and writes nothing. Secrets stay marked here; `plain` opens them for an Operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from reconciler.core.compare.diff import RANK, Compared, compare
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.schemas.validate import violations
from reconciler.core.values.digest import holds_digest
from reconciler.core.values.paths import join
from reconciler.core.values.references import BadReferenceError, Reference, resolve, unknowns
from reconciler.core.values.tree import ABSENT, get
from reconciler.diagnostics import Diagnostic
from reconciler.model import Desired, Json, Live, Recorded, Secret, Unknown
from reconciler.plan import Action
from reconciler.provider import ProviderType

SecretLookup = Callable[[Reference], Json]


class NotResolvedError(Exception):
    """A value that the action needs can't be known, or is not allowed; carries what to tell."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic

    @classmethod
    def about(cls, address: str, summary: str) -> NotResolvedError:
        """With nothing but one sentence to tell."""
        return cls(Diagnostic(summary, address=address))


class Values:
    """Looks references up in the entries of the state under way.

    `entries` is the ledger's own, living mapping. `secrets` gives the value of an `env` or `var` reference that stands
    beside a deployment's in one text (a Secret), None where no such text occurs.
    """

    def __init__(self, entries: Mapping[str, Recorded], secrets: SecretLookup | None = None) -> None:
        self._entries, self._secrets = entries, secrets

    def lookup(self, reference: Reference) -> Json:
        """The value of one reference; Unknown where the state does not have it (yet)."""
        if reference.kind != "deployments":
            return self._secrets(reference) if self._secrets is not None else Unknown(reference.text, sensitive=True)
        entry = self._entries.get(reference.address)
        if entry is None:
            return Unknown(reference.text)
        for tree in (entry.spec, entry.computed):
            value = get(tree, reference.path)
            if value is not ABSENT and value is not None and not holds_digest(value):
                return value
        if reference.path == ("id",) and entry.id is not None:  # a provider may show another form of it as computed
            return entry.id
        return Unknown(reference.text)

    def resolve(self, desired: Desired) -> Desired:
        """The desired deployment with every reference filled in. Raises NotResolvedError."""
        spec = desired.spec if isinstance(desired.spec, dict) else dict(desired.spec)
        try:
            resolved = resolve(spec, self.lookup)
        except BadReferenceError as error:
            raise NotResolvedError(
                Diagnostic(error.summary, span=desired.spans.get(""), address=desired.address, hint=error.hint)
            ) from None
        for parts, unknown in unknowns(resolved):
            path = join(parts)
            raise NotResolvedError(
                Diagnostic(
                    summary=f"{path} of {desired.address} can't be known: {unknown.template}",
                    span=desired.spans.get(path) or desired.spans.get(""),
                    address=desired.address,
                    detail="What it refers to was applied, but the provider did not return that attribute, or it holds "
                    "a secret: of those the state has digests alone. Refer to its parts that are no secrets.",
                )
            )
        return desired if resolved is desired.spec else replace(desired, spec=resolved)

    def outputs(self, wanted: Mapping[str, Json], before: Mapping[str, Json]) -> dict[str, Json]:
        """The outputs as far as they can be known; one that can't keeps its value of before, if it had one."""
        known: dict[str, Json] = {}
        for name, tree in wanted.items():
            try:
                value = resolve(tree, self.lookup)
            except BadReferenceError:
                value = Unknown("")
            if not _marked(value):
                known[name] = value
            elif name in before:
                known[name] = before[name]
        return known


def _marked(value: Json) -> bool:
    """Whether a leaf can't stand in the state: not known, or secret."""
    if isinstance(value, Unknown | Secret):
        return True
    if isinstance(value, Mapping):
        return any(map(_marked, value.values()))
    return isinstance(value, list) and any(map(_marked, value))


def check(desired: Desired, schema: ProviderSchema, type_: ProviderType, settings: Mapping[str, Json]) -> None:
    """The schema and the provider's own limits, again, on the values that are known only now. Raises NotResolvedError
    with all of it in one diagnostic."""
    problems = [
        (join(found.path), f"{join(found.path)} {found.summary}", found.detail, found.hint)
        for found in violations(desired.spec, schema.document, schema.accepts)
    ]
    problems += [(p.path, f"{p.path} {p.message}", "", p.hint) for p in type_.check(desired.spec, settings)]
    if problems:
        path, summary, detail, hint = problems[0]
        more = "; ".join(text for _, text, _, _ in problems[1:])
        raise NotResolvedError(
            Diagnostic(
                summary=f"{desired.address} can't be applied: {summary}",
                span=desired.spans.get(path) or desired.spans.get(""),
                address=desired.address,
                detail="; ".join(part for part in (detail, more) if part),
                hint=hint,
            )
        )


def needed(
    desired: Desired, live: Live | None, prior: Recorded | None, schema: ProviderSchema, digest_key: str
) -> Compared:
    """What the deployment needs now that all its values are known."""
    return compare(desired.spec, live, prior, schema, ignore=desired.lifecycle.ignore_changes, digest_key=digest_key)


def refuse_stronger(action: Action, compared: Compared) -> None:
    """The planned action or nothing: raises NotResolvedError where the values ask for more than was planned."""
    most = RANK.get(action.action, RANK["replace"])
    if action.action == "adopt":
        most = RANK["update"]
    if RANK[compared.strength] > most:
        paths = [change.path for change in compared.changes if change.forces_replacement] or [
            change.path for change in compared.changes
        ]
        raise NotResolvedError(
            Diagnostic(
                summary=f"{action.address} would need {compared.strength}, but {action.action} was planned",
                address=action.address,
                detail=f"Known only now: {', '.join(paths)}. Nothing was sent for it.",
                hint="plan again: reconciler plan",
            )
        )


def refuse_failed(action: Action) -> None:
    """Raises NotResolvedError where the values ask for nothing, but what failed was to be replaced for them: it can be
    started again as it is, which is another action."""
    if action.expected.health == "failed":
        raise NotResolvedError(
            Diagnostic(
                summary=f"{action.address} would need deploy, but {action.action} was planned",
                address=action.address,
                detail="It has failed, and no value that is known only now differs. Nothing was sent for it.",
                hint="plan again: reconciler plan",
            )
        )


def agrees(entry: Recorded, live: Live, schema: ProviderSchema, digest_key: str) -> Sequence[str]:
    """The paths in which an object is not what an intent was about to create; () for ours.

    What can be changed in place may still be on its way (a create that starts with one replica): it does not count.
    """
    compared = compare(entry.spec, live, None, schema, digest_key=digest_key)
    return tuple(change.path for change in compared.changes if change.forces_replacement)
