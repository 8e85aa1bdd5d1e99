"""One entry of `deployments:` to the Desired of each instance; what spans several of them: core/load/linking.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.expand import PLAIN_VARIABLE, deep_merge, instances, needs_settling, settle
from reconciler.core.load.interpolation import Each, Interpolator, Place
from reconciler.core.load.provider_section import type_of
from reconciler.core.load.source import Document, SpecSpans
from reconciler.core.schemas.check import Unsure
from reconciler.core.schemas.probe import read_probe
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.schemas.validate import violations
from reconciler.core.values.duration import seconds
from reconciler.core.values.paths import Part, join, split
from reconciler.core.values.references import address, unknowns
from reconciler.core.values.sensitive import hides_secret, is_sensitive_name, mark_sensitive, may_hide
from reconciler.core.values.words import did_you_mean, show
from reconciler.diagnostics import Span
from reconciler.model import (
    DEFAULT_LIFECYCLE,
    DEFAULT_TIMEOUTS,
    Desired,
    Json,
    Lifecycle,
    Presence,
    ProviderConfig,
    Secret,
    Timeouts,
    Unknown,
)
from reconciler.provider import ProviderType

_NOTHING: Mapping[str, Json] = {}
_WRONG = Unknown("")  # a `spec` that is no mapping


@dataclass(slots=True)
class _Kind:
    """What building needs to know of one provider type, worked out once."""

    schema: ProviderSchema
    type: ProviderType
    from_address: tuple[str, ...]
    derives: bool
    by_name: frozenset[str]  # top-level attributes whose own name makes a text sensitive
    settles: Mapping[str, Json]  # top-level attributes with a schema below them


@dataclass(slots=True)
class DeploymentBuilder:
    """Builds the deployments of one document. `explicit` gathers each address's `depends_on` as written."""

    document: Document
    providers: Mapping[str, ProviderConfig]
    broken_providers: frozenset[str]
    schemas: Mapping[str, ProviderSchema]
    types: Mapping[str, ProviderType]
    interpolator: Interpolator
    complaints: Complaints
    stack: str
    defaults: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    explicit: dict[str, list[str]] = field(default_factory=dict)
    looped: set[str] = field(default_factory=set)
    attempted: set[str] = field(default_factory=set)  # instances, those that are wrong included
    _kinds: dict[str, _Kind] = field(default_factory=dict)
    _names: dict[str, bool] = field(default_factory=dict)

    def build(self, key: str, body: Mapping[str, Json]) -> Iterator[Desired]:
        """The instances of one entry; one that is wrong is complained about and left out."""
        templated = self.document.has_references("deployments", key)
        if "for_each" not in body:
            made = self._instance(key, key, body, None, templated)
            if made is not None:
                yield made
            return
        self.looped.add(key)
        spans = SpecSpans(self.document.spans, key, "")
        span = spans.place_in("for_each")
        value = self.interpolator.tree(
            body["for_each"],
            lambda path: spans.place_in("for_each", *path),
            owner=key,
            no_deployments="`for_each`",
        )
        rest = {name: part for name, part in body.items() if name != "for_each"}
        for each in instances(value, key, span, self.complaints):
            self.attempted.add(address(key, each.key))
            made = self._instance(address(key, each.key), key, rest, each, templated)
            if made is not None:
                yield made

    def _instance(
        self, where: str, key: str, body: Mapping[str, Json], each: Each | None, templated: bool
    ) -> Desired | None:
        provider = self._provider(where, key, body["provider"], each)
        if provider is None:
            return None
        kind = self._kind(type_of(provider))
        defaults = self.defaults.get(provider, _NOTHING)
        spans = SpecSpans(self.document.spans, key, provider)
        before = len(self.complaints.errors)
        if templated:
            body = self._replaced(body, ("deployments", key), each, where)
        if defaults and self.document.has_references("defaults", provider):
            defaults = self._replaced(defaults, ("defaults", provider), each, where)
        if body.get("spec") is _WRONG or defaults.get("spec") is _WRONG:
            return None
        own, below = body.get("spec") or {}, defaults.get("spec")
        spec: dict[str, Json] = deep_merge(below, own) if below else own
        spec, derived = self._complete(spec, kind, where, key, each)
        spec = self._hide(spec, kind)
        self._check(spec, kind, where, spans, provider, derived)
        lifecycle = self._lifecycle(body, defaults, kind, spans, where)
        timeouts = self._timeouts(body, defaults, spans, where)
        probe = None
        if "probe" in body or "probe" in defaults:
            probe = read_probe(
                body,
                defaults,
                spec,
                kind.schema,
                probes=kind.type.capabilities.probes,
                complain=lambda text, *path, hint="": self.complaints.error(
                    text, spans.place_in("probe", *path), address=where, hint=hint
                ),
            )
        depends_on = body.get("depends_on")
        if depends_on:
            self.explicit[where] = depends_on
        if len(self.complaints.errors) > before:
            return None
        return Desired(
            address=where,
            provider=provider,
            type=type_of(provider),
            spec=spec,
            derived=derived,
            lifecycle=lifecycle,
            timeouts=timeouts,
            adopt=body.get("adopt", False),
            presence=_presence(body, defaults, spec, kind.schema),
            probe=probe,
            spans=spans,
        )

    def _kind(self, name: str) -> _Kind:
        kind = self._kinds.get(name)
        if kind is None:
            schema = self.schemas[name]
            top = {path: part for path, part in schema.properties.items() if "." not in path}
            sources = {path: schema.attributes[path].default_from for path in top}
            kind = self._kinds[name] = _Kind(
                schema,
                self.types[name],
                tuple(path for path, source in sources.items() if source == "address"),
                "derived" in sources.values(),
                frozenset(path for path in top if is_sensitive_name(path) and schema.sensitive(path, path)),
                {path: part for path, part in top.items() if needs_settling(part)},
            )
        return kind

    def _provider(self, where: str, key: str, value: Json, each: Each | None) -> str | None:
        """The provider key of an instance, None after a complaint (here, or about the provider itself)."""
        if value in self.providers:
            return str(value)
        spans = SpecSpans(self.document.spans, key, "")
        found = self.interpolator.tree(
            value, lambda _: spans.place_in("provider"), each=each, owner=where, no_deployments="`provider:`"
        )
        span = spans.place_in("provider")
        if isinstance(found, Secret):
            self.complaints.error("`provider` is sensitive", span, address=where, hint=PLAIN_VARIABLE)
            return None
        if isinstance(found, Unknown):
            return None
        if (
            isinstance(found, str) and found in self.broken_providers
        ):  # its own errors are told; those of the spec are told as well
            return found if type_of(found) in self.schemas else None
        if isinstance(found, str) and found in self.providers:
            return found
        declared = {*self.providers, *self.broken_providers}
        hint = did_you_mean(str(found), declared, what="declared") or "declare it under `providers:`"
        if isinstance(found, str) and type_of(found) in self.schemas:
            hint = f"declare it under `providers:` (`{found}: {{}}`)"
        detail = "" if isinstance(found, str) else f"found {show(found)}"
        name = found if isinstance(found, str) else "…"
        self.complaints.error(f"the provider `{name}` is not declared", span, address=where, detail=detail, hint=hint)
        return None

    def _replaced(
        self, entry: Mapping[str, Json], home: tuple[Part, ...], each: Each | None, where: str
    ) -> dict[str, Json]:
        """An entry of the file with its references replaced; what does not fit its schema then is left out."""

        def place(path: Sequence[Part]) -> Span:
            return self.document.spans.at((*home, *path))

        words = {name: part for name, part in entry.items() if name not in ("provider", "spec")}
        done: dict[str, Json] = self.interpolator.tree(
            words, place, each=each, owner=where, no_deployments="this place"
        )
        done = {name: value for name, value in done.items() if self._plain(name, value, place, where)}
        parts = self.document.schema["$defs"]["deployment"]["properties"]
        for name in [name for name, value in done.items() if value is not words[name]]:
            schema = {"$defs": self.document.schema["$defs"], "properties": {name: parts[name]}}
            found = violations({name: done[name]}, schema)
            for finding in found:
                self.complaints.finding(finding, place(finding.path), address=where)
            if found:
                del done[name]
        spec = entry.get("spec")
        refused = "`spec` as a whole" if isinstance(spec, str) else ""
        spec = self.interpolator.tree(
            spec, lambda path: place(("spec", *path)), each=each, owner=where, no_deployments=refused
        )
        if isinstance(spec, dict):
            done["spec"] = spec
        elif spec is not None:
            done["spec"] = _WRONG
            if not isinstance(spec, Unknown):  # which was complained about
                detail = f"found {show(spec)}, expected a mapping"
                self.complaints.error("`spec` has a wrong value", place(("spec",)), address=where, detail=detail)
        return done

    def _plain(self, name: str, value: Json, place: Place, where: str) -> bool:
        """Whether a word beside `spec` is known and no secret: these words are written down as they are."""
        if hides_secret(value):
            summary = f"`{name}` is sensitive, and it is written down"
            self.complaints.error(summary, place((name,)), address=where, hint=PLAIN_VARIABLE)
            return False
        return not any(True for _ in unknowns(value))  # those were complained about

    def _complete(
        self, spec: dict[str, Json], kind: _Kind, where: str, key: str, each: Each | None
    ) -> tuple[dict[str, Json], frozenset[str]]:
        """The spec with nulls left out and every default filled in, and the names of what came from the address."""
        schema = kind.schema
        full = {**schema.defaults, **spec} if schema.defaults else dict(spec)
        if None in full.values():
            for name in [name for name, value in full.items() if value is None and name in schema.properties]:
                del full[name]
            full = {**schema.defaults, **full}
        for name, value in full.items():
            if value.__class__ in _DEEP and (name in kind.settles or value.__class__ is float):
                full[name] = settle(value, schema.properties.get(name))
        derived: list[str] = []
        for name in kind.from_address:
            if name not in full:
                full[name] = key if each is None else f"{key}-{each.key}"
                derived.append(name)
        if kind.derives:
            made = {
                name: value for name, value in kind.type.derive(full, self.stack, where, 0).items() if name not in full
            }
            full.update(made)
            derived += made
        return full, frozenset(derived) if derived else _NONE_DERIVED

    def _hide(self, spec: dict[str, Json], kind: _Kind) -> dict[str, Json]:
        """The spec with sensitive texts as Secret."""
        schema = kind.schema
        for name, value in spec.items():
            if (
                name in schema.annotated_sensitive
                or name in kind.by_name
                or (value.__class__ in _SCANNED and may_hide(value, self._names))
            ):
                spec[name] = mark_sensitive(value, (name,), schema.sensitive, name if name in kind.by_name else "")
        return spec

    def _check(
        self,
        spec: dict[str, Json],
        kind: _Kind,
        where: str,
        spans: SpecSpans,
        provider: str,
        derived: frozenset[str],
    ) -> None:
        """Schema, identities that are known and no secrets, and the limits that only the provider type knows."""
        schema = kind.schema
        for name in schema.identity:
            value = spec.get(name)
            if value.__class__ is Secret or value.__class__ is Unknown:
                self._bad_identity(name, value, spans, where)
        try:
            fits = schema.accepts(spec)
        except Unsure:
            fits = False
        if not fits:
            findings = violations(spec, schema.document)
            for finding in findings:
                hint, span = finding.hint, spans.place(finding.path, key=finding.at_key)
                subject = join(finding.path)
                if subject in derived:
                    hint = f"the default comes from the address; write `{subject}:` in spec"
                    span = spans.place(())
                self.complaints.finding(replace(finding, hint=hint), span, address=where)
            if findings:
                return
        if provider not in self.providers:
            return
        for problem in kind.type.check(spec, self.providers[provider].settings):
            span = spans.place(_parts(problem.path))
            hint = problem.hint
            if problem.path in derived:
                hint = hint or f"the default comes from the address; write `{problem.path}:` in spec"
            self.complaints.error(problem.message, span, address=where, hint=hint)

    def _bad_identity(self, name: str, value: Secret | Unknown, spans: SpecSpans, where: str) -> None:
        if isinstance(value, Secret):
            self.complaints.error(
                f"`{name}` identifies the deployment, so it can't be sensitive",
                spans.place((name,)),
                address=where,
                hint=PLAIN_VARIABLE,
            )
        elif any(use.owner == where and use.reference.text in value.template for use in self.interpolator.uses):
            self.complaints.error(
                f"`{name}` identifies the deployment, so it must be known before the plan",
                spans.place((name,)),
                address=where,
                detail=f"found {value.template}",
                hint="write the value, or use a variable",
            )

    def _lifecycle(
        self, body: Mapping[str, Json], defaults: Mapping[str, Json], kind: _Kind, spans: SpecSpans, where: str
    ) -> Lifecycle:
        if not (body.get("lifecycle") or (defaults and defaults.get("lifecycle"))):
            return DEFAULT_LIFECYCLE
        words = {**(defaults.get("lifecycle") or {}), **(body.get("lifecycle") or {})}
        ignored = words.get("ignore_changes") or []
        for number, path in enumerate(ignored):
            if isinstance(path, str) and not kind.schema.has(path):
                names = [name for name in kind.schema.attributes if name.count(".") <= path.count(".")]
                self.complaints.error(
                    f"`ignore_changes` names `{path}`, which is no attribute of {kind.schema.type}",
                    spans.place_in("lifecycle", "ignore_changes", number),
                    address=where,
                    hint=did_you_mean(path, names, what="attributes"),
                )
        return Lifecycle(
            prevent_undeploy=words.get("prevent_undeploy") is True,
            create_before_undeploy=words.get("create_before_undeploy") is True,
            ignore_changes=tuple(dict.fromkeys(ignored)),
        )

    def _timeouts(
        self, body: Mapping[str, Json], defaults: Mapping[str, Json], spans: SpecSpans, where: str
    ) -> Timeouts:
        if not (body.get("timeouts") or (defaults and defaults.get("timeouts"))):
            return DEFAULT_TIMEOUTS
        words = {**(defaults.get("timeouts") or {}), **(body.get("timeouts") or {})}
        values: dict[str, float] = {}
        for verb, text in words.items():
            try:
                values[verb] = seconds(text)
            except (ValueError, TypeError):
                continue  # a reference that was complained about
            if values[verb] <= 0:
                self.complaints.error(
                    f"the timeout `{verb}` must be longer than nothing", spans.place_in("timeouts", verb), address=where
                )
        return Timeouts(**values)


_DEEP = frozenset((dict, list, float, Secret))
_SCANNED = frozenset((dict, list, str))
_NONE_DERIVED: frozenset[str] = frozenset()


def _parts(path: str) -> Sequence[Part]:
    try:
        return split(path)
    except ValueError:
        return (path,)


def _presence(
    body: Mapping[str, Json], defaults: Mapping[str, Json], spec: Mapping[str, Json], schema: ProviderSchema
) -> Presence:
    """What the file says, else on_demand where the attribute that makes it so is set."""
    said: Literal["always", "on_demand"] | None = body.get("presence") or defaults.get("presence")
    if said is not None:
        return said
    if schema.on_demand is None:
        return "always"
    node: Json = spec
    for part in split(schema.on_demand):
        node = node.get(part) if isinstance(node, dict) else None
    return "always" if node is None else "on_demand"
