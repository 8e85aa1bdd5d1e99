"""What spans several deployments: references, dependencies, circles, one identity twice, sensitivity that travels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.interpolation import Use
from reconciler.core.load.source import Document, SpecSpans
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.graph import CycleError, order
from reconciler.core.values.paths import lookup as value_at
from reconciler.core.values.references import BadReferenceError, Reference, address, references
from reconciler.core.values.sensitive import hides_secret
from reconciler.core.values.words import did_you_mean, listing, nearest
from reconciler.diagnostics import Span
from reconciler.model import Desired, Json, ProviderConfig, Unknown
from reconciler.provider import ProviderType


def base_of(where: str) -> str:
    """`chat` of `chat` and of `chat["eu"]`."""
    return where.partition("[")[0]


@dataclass(slots=True)
class Linker:
    """Joins the deployments that were built one by one. `looped` are the keys with `for_each`."""

    document: Document
    built: dict[str, Desired]
    looped: set[str]
    schemas: Mapping[str, ProviderSchema]
    complaints: Complaints
    explicit: Mapping[str, list[str]] = field(default_factory=dict)
    attempted: frozenset[str] = frozenset()  # instances that are asked for, whether or not they could be built
    _instances: dict[str, list[str]] = field(default_factory=dict)

    def link(self, uses: Iterable[Use]) -> dict[str, Desired]:
        """All deployments with `references` and `depends_on` complete, by address."""
        for where in self.built:
            self._instances.setdefault(base_of(where), []).append(where)
        named: dict[str, dict[tuple[str, str], Span]] = {}
        for use in uses:
            if self._known(use) and use.owner is not None:
                named.setdefault(use.owner, {}).setdefault((use.reference.address, use.reference.attribute), use.span)
        edges: dict[str, tuple[str, ...]] = {}
        places: dict[tuple[str, str], Span] = {}
        for where in sorted({*self.explicit, *named} & set(self.built)):
            needs = {target: span for (target, _), span in named.get(where, {}).items()}
            for target, span in self._explicit(where):
                needs.setdefault(target, span)
            edges[where] = tuple(sorted(needs))
            places |= {(where, target): span for target, span in needs.items()}
            found = tuple(sorted(named.get(where, {})))
            self.built[where] = replace(self.built[where], references=found, depends_on=edges[where])
        self._circles(edges, places)
        return self.built

    def _known(self, use: Use) -> bool:
        """Whether a reference names something that is there; complains if not."""
        reference = use.reference
        declared = self.document.entries("deployments")
        if reference.name not in declared:
            near = nearest(reference.name, declared)
            hint = f"did you mean `{near}`?" if near else f"declared: {listing(sorted(declared)) or 'none'}"
            self._wrong(use, f"{reference.text}: there is no deployment `{reference.name}`", hint)
            return False
        if not self._instance_fits(use, reference):
            return False
        target = next(iter(self._instances.get(reference.name, ())), None)
        if target is None:
            return False  # it was complained about itself, or its for_each is empty
        return self._attribute_fits(use, reference, self.schemas[self.built[target].type])

    def _instance_fits(self, use: Use, reference: Reference) -> bool:
        looped = reference.name in self.looped
        made = self._instances.get(reference.name, [])
        if looped and reference.instance is None:
            example = made[0] if made else f'{reference.name}["key"]'
            self._wrong(
                use,
                f"{reference.text}: `{reference.name}` has `for_each`, so one instance must be named",
                f"as in ${{deployments.{example}.{reference.attribute}}}",
            )
            return False
        if not looped and reference.instance is not None:
            self._wrong(
                use,
                f"{reference.text}: `{reference.name}` has no `for_each`, so it has no instances",
                f"write ${{deployments.{reference.name}.{reference.attribute}}}",
            )
            return False
        if reference.address in self.attempted and reference.address not in self.built:
            return False  # it was complained about itself
        if looped and reference.address not in self.built:
            keys = [where[len(reference.name) + 2 : -2] for where in made]
            if made:
                hint = did_you_mean(str(reference.instance), keys, what="instances")
                self._wrong(use, f"{reference.text}: there is no instance {reference.address}", hint)
            elif not self.complaints.errors:
                self._wrong(use, f"{reference.text}: the `for_each` of `{reference.name}` is empty", "")
            return False
        return True

    def _attribute_fits(self, use: Use, reference: Reference, schema: ProviderSchema) -> bool:
        head = reference.path[0]
        attribute = reference.attribute
        if head in schema.computed or (schema.has(attribute)):
            return True
        above = [str(part) for part in reference.path[:-1]]
        names = {path for path in schema.attributes if path.split(".")[:-1] == above}
        if not above:
            names |= set(schema.computed)
        last = str(reference.path[-1])
        hint = did_you_mean(last, names or set(schema.computed), what=f"a {schema.type} deployment has")
        self._wrong(use, f"{reference.text}: {schema.type} has no attribute `{attribute}`", hint)
        return False

    def _wrong(self, use: Use, summary: str, hint: str) -> None:
        self.complaints.error(summary, use.span, address=use.owner, hint=hint)

    def _explicit(self, where: str) -> Iterable[tuple[str, Span]]:
        """`depends_on` with keys expanded to all their instances."""
        spans = SpecSpans(self.document.spans, base_of(where), "")
        declared = self.document.entries("deployments")
        for number, name in enumerate(self.explicit.get(where, ())):
            if not isinstance(name, str):
                continue
            span = spans.place_in("depends_on", number)
            if name in self.built:
                yield name, span
            elif name in self._instances:
                yield from ((target, span) for target in self._instances[name])
            elif base_of(name) not in declared:
                self.complaints.error(
                    f"depends_on: there is no deployment `{name}`",
                    span,
                    address=where,
                    hint=did_you_mean(name, {*declared, *self.built} - {where}, what="declared"),
                )
            elif "[" in name and name not in self.attempted and self._instances.get(base_of(name)):
                self.complaints.error(
                    f"depends_on: there is no instance {name}",
                    span,
                    address=where,
                    hint=did_you_mean(name, self._instances[base_of(name)], what="there are"),
                )

    def _circles(self, edges: Mapping[str, tuple[str, ...]], places: Mapping[tuple[str, str], Span]) -> None:
        try:
            order(edges)
        except CycleError as error:
            for circle in error.circles:
                steps = list(zip(circle, (*circle[1:], circle[0]), strict=True))
                text = " → ".join((*circle, circle[0]))
                self.complaints.error(
                    f"deployments depend on each other in a circle: {text}"
                    if len(circle) > 1
                    else f"{circle[0]} depends on itself",
                    places[steps[0]],
                    address=circle[0],
                    hint="each must be deployed before the other; remove one of these references",
                    related=tuple((f"{one} needs {other}", places[one, other]) for one, other in steps),
                )


def check_identities(
    built: Mapping[str, Desired],
    providers: Mapping[str, ProviderConfig],
    types: Mapping[str, ProviderType],
    complaints: Complaints,
) -> None:
    """Complain about two addresses that mean the same deployment of the same scope."""
    seen: dict[tuple[str, str, str], Desired] = {}
    for desired in built.values():
        if desired.provider not in providers:
            continue
        identity = types[desired.type].identity(desired.spec)
        if identity is None:
            continue
        place = (desired.type, providers[desired.provider].scope, identity)
        first = seen.setdefault(place, desired)
        if first is desired:
            continue
        complaints.error(
            f"{desired.address} and {first.address} mean the same deployment: {identity!r} at {desired.provider}",
            desired.spans[""],
            address=desired.address,
            hint="give one of them another name in `spec`, or remove it",
            related=((f"{first.address} is declared here", first.spans[""]),),
        )


def spread_sensitivity(built: dict[str, Desired], outputs: Json) -> Json:
    """Flag every Unknown leaf that refers to something sensitive of another deployment, in specs and outputs.

    Changes the entries of `built` that need it; gives the outputs.
    """
    linked = {where: desired.depends_on for where, desired in built.items() if desired.references}
    for where in order(linked):
        desired = built[where]
        spec = _flag(dict(desired.spec), built)
        if spec != desired.spec:
            built[where] = replace(desired, spec=spec)
    return _flag(outputs, built)


def _flag(tree: Json, built: Mapping[str, Desired]) -> Json:
    if isinstance(tree, Unknown):
        return Unknown(tree.template, True) if not tree.sensitive and _refers_to_secret(tree, built) else tree
    if isinstance(tree, dict):
        return {key: _flag(member, built) for key, member in tree.items()}
    if isinstance(tree, list):
        return [_flag(item, built) for item in tree]
    return tree


def _refers_to_secret(leaf: Unknown, built: Mapping[str, Desired]) -> bool:
    try:
        found = references(leaf.template)
    except BadReferenceError:
        return False
    return any(reference.kind == "deployments" and _is_secret(reference, built) for reference in found)


def _is_secret(reference: Reference, built: Mapping[str, Desired]) -> bool:
    target = built.get(address(reference.name, reference.instance))
    if target is None:
        return False
    node: Json = target.spec
    for depth in range(len(reference.path)):
        if hides_secret(node) and not isinstance(node, dict | list):
            return True
        try:
            node = value_at(target.spec, reference.path[: depth + 1])
        except KeyError:
            return False
    return hides_secret(node)
