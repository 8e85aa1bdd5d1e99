"""Puts values into the texts of a desired-state file, and complains, each with its place, about what can't be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.variables import Variables
from reconciler.core.values.paths import Part
from reconciler.core.values.paths import lookup as value_at
from reconciler.core.values.references import EACH_KEY, BadReferenceError, Reference, address, interpolate
from reconciler.core.values.words import did_you_mean
from reconciler.diagnostics import Span
from reconciler.model import Json, Unknown

Place: TypeAlias = Callable[[Sequence[Part]], Span]


@dataclass(frozen=True, slots=True)
class Each:
    """The instance that is being made: `${each.key}` and `${each.value}`."""

    key: str
    value: Json


@dataclass(frozen=True, slots=True)
class Use:
    """One `${deployments.…}` in the file: who wrote it (None: an output), what it names, and where it stands."""

    owner: str | None
    reference: Reference
    span: Span


@dataclass(frozen=True, slots=True)
class _Scope:
    place: Place
    each: Each | None
    owner: str | None
    no_deployments: str
    provider: str | None


@dataclass(slots=True)
class Interpolator:
    """Replaces references in value trees. `uses` grows by every reference to a deployment, to be checked later."""

    variables: Variables
    complaints: Complaints
    uses: list[Use] = field(default_factory=list)

    def tree(
        self,
        value: Json,
        place: Place,
        *,
        path: tuple[Part, ...] = (),
        each: Each | None = None,
        owner: str | None = None,
        no_deployments: str = "",
        provider: str | None = None,
    ) -> Json:
        """The value tree with all references replaced; the same object where there is none.

        `place` gives the span of a path. `no_deployments` says, if it is not empty, where references to deployments
        are refused. A reference that is wrong is complained about and leaves an Unknown, so that it counts once.
        """
        return self._tree(value, path, _Scope(place, each, owner, no_deployments, provider))

    def _tree(self, value: Json, path: tuple[Part, ...], scope: _Scope) -> Json:
        if isinstance(value, str):
            return self._text(value, path, scope) if "${" in value else value
        if isinstance(value, dict):
            members = {key: self._tree(member, (*path, key), scope) for key, member in value.items()}
            return members if any(members[key] is not value[key] for key in value) else value
        if isinstance(value, list):
            items = [self._tree(item, (*path, number), scope) for number, item in enumerate(value)]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        return value

    def _text(self, text: str, path: tuple[Part, ...], scope: _Scope) -> Json:
        def find(reference: Reference) -> Json:
            if reference.kind == "each":
                return _each(reference, scope.each)
            if reference.kind != "deployments":
                return self.variables.lookup(reference)
            if scope.no_deployments:
                raise BadReferenceError(
                    f"{reference.text} is not known before the plan, so it can't stand in {scope.no_deployments}",
                    "use a variable: ${var.NAME}",
                )
            settled = _settle(reference, scope.each)
            self.uses.append(Use(scope.owner, settled, scope.place(path)))
            return Unknown(settled.text)

        try:
            return interpolate(text, find)
        except BadReferenceError as error:
            self.complaints.error(
                error.summary, scope.place(path), address=scope.owner, provider=scope.provider, hint=error.hint
            )
            return Unknown(text)


def _settle(reference: Reference, each: Each | None) -> Reference:
    """`deployments.X[each.key]` with the key filled in."""
    if reference.instance != EACH_KEY:
        return reference
    if each is None:
        raise BadReferenceError(f"{reference.text}: there is no `each` outside of a deployment with `for_each`")
    where = address(reference.name, each.key)
    text = f"${{deployments.{where}.{reference.attribute}}}"
    return Reference("deployments", reference.name, each.key, reference.path, text)


def _each(reference: Reference, each: Each | None) -> Json:
    if each is None:
        raise BadReferenceError(f"{reference.text}: there is no `each` outside of a deployment with `for_each`")
    if reference.name == "key":
        return each.key
    try:
        return value_at(each.value, reference.path)
    except KeyError as missing:
        parts = missing.args[0]
        above = value_at(each.value, parts[:-1])
        hint = did_you_mean(str(parts[-1]), above, what="it has") if isinstance(above, Mapping) else ""
        raise BadReferenceError(f"{reference.text}: the value for {each.key!r} has no such part", hint) from None
