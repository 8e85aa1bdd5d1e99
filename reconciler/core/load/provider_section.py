"""The `providers:` section: settings checked and settled, credentials as references only, prices, scopes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.interpolation import Interpolator
from reconciler.core.load.source import Document
from reconciler.core.schemas.check import compile_check
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.schemas.validate import violations
from reconciler.core.values.duration import seconds
from reconciler.core.values.paths import Part
from reconciler.core.values.sensitive import hides_secret
from reconciler.core.values.tree import has_unknown
from reconciler.core.values.words import did_you_mean, listing, show
from reconciler.diagnostics import Span
from reconciler.model import Json, ProviderConfig, Secret, Unknown
from reconciler.provider import ProviderType

DURATIONS = ("timeout", "poll_interval")
_APART = ("credentials", "prices")
_LOOPBACK = re.compile(r"http://(localhost|127\.[0-9.]+|\[::1\]|[^/:]*\.localhost)(:|/|\Z)", re.IGNORECASE)


def type_of(key: str) -> str:
    """`neevcloud` of `neevcloud` and of `neevcloud.eu`."""
    return key.partition(".")[0]


def provider_type_names(document: Document) -> frozenset[str]:
    """The provider types that a file names, whether or not they exist: what a registry has to load."""
    return frozenset(type_of(key) for key in document.entries("providers"))


def settings_schema(document: Document, schema: ProviderSchema) -> dict[str, Json]:
    """The JSON Schema of one provider's settings: the common ones and those of its type, nothing else."""
    return combine_settings(document.schema, schema.settings_schema)


def combine_settings(root: Mapping[str, Json], own: Mapping[str, Json]) -> dict[str, Json]:
    """As `settings_schema`, from the desired-state schema and a type's `x-settings`."""
    common = root.get("$defs", {}).get("provider", {})
    extra = {word: part for word, part in own.items() if word not in ("properties", "type", "additionalProperties")}
    return {
        "$defs": {**root.get("$defs", {}), **own.get("$defs", {})},
        "type": "object",
        "properties": {**common.get("properties", {}), **own.get("properties", {})},
        "additionalProperties": False,
        **{word: part for word, part in extra.items() if word != "$defs"},
    }


@dataclass(slots=True)
class ProviderSection:
    """Builds every ProviderConfig of a file. `known` are all type names, for the nearest spelling."""

    document: Document
    schemas: Mapping[str, ProviderSchema]
    types: Mapping[str, ProviderType]
    interpolator: Interpolator
    complaints: Complaints
    known: Collection[str] = ()
    broken: set[str] = field(default_factory=set)

    def build(self, skip: Iterable[str] = ()) -> dict[str, ProviderConfig]:
        """All of them that could be read, by key; what is wrong with the others is in `complaints` and `broken`."""
        self.broken.update(skip)
        found: dict[str, ProviderConfig] = {}
        for key, body in self.document.entries("providers").items():
            if key in self.broken:
                continue
            schema = self.schemas.get(type_of(key))
            if schema is None:
                names = self.known or self.schemas
                self.complaints.error(
                    f"the provider type `{type_of(key)}` is not known",
                    self.document.spans.key(("providers", key)),
                    hint=did_you_mean(type_of(key), names, what="provider types"),
                )
                self.broken.add(key)
                continue
            config = self._one(key, body or {}, schema)
            if config is None:
                self.broken.add(key)
            else:
                found[key] = config
        return found

    def _one(self, key: str, body: Mapping[str, Json], schema: ProviderSchema) -> ProviderConfig | None:
        """None where something is wrong with it, and was complained about (an Unknown was at its variable)."""

        def place(path: Iterable[Part]) -> Span:
            return self.document.spans.at(("providers", key, *path))

        before = len(self.complaints.errors)
        values = self.interpolator.tree(dict(body), place, no_deployments="a provider's settings", provider=key)
        credentials = self._credentials(key, values.get("credentials") or {}, schema)
        for name, value in values.items():
            if name != "credentials" and hides_secret(value):
                self.complaints.error(
                    f"the setting `{name}` is sensitive, and settings are written down",
                    place((name,)),
                    provider=key,
                    detail="what comes from ${env.…} or a sensitive variable is sensitive",
                    hint=f"use a plain variable for what is no secret: ${{var.NAME}}, set by RECONCILER_VAR_NAME, "
                    f"or `credentials:` for what is one ({listing(schema.credentials)})",
                )
        if len(self.complaints.errors) == before:
            self._validate(key, values, schema)
        settings = {name: value for name, value in values.items() if name not in _APART and value is not None}
        if len(self.complaints.errors) == before and not has_unknown(values):
            settings = self._settled(key, settings, schema)
        if len(self.complaints.errors) > before or has_unknown(values):
            return None
        return ProviderConfig(
            key=key,
            type=type_of(key),
            settings=settings,
            scope=self.types[type_of(key)].scope(settings) if type_of(key) in self.types else "",
            credentials=credentials,
            prices=values.get("prices") or {},
            span=self.document.spans.key(("providers", key)),
        )

    def _validate(self, key: str, values: Mapping[str, Json], schema: ProviderSchema) -> None:
        judged = {name: value for name, value in values.items() if value is not None}
        combined = settings_schema(self.document, schema)
        for finding in violations(judged, combined, compile_check(combined)):
            path = ("providers", key, *finding.path)
            span = self.document.spans.key(path) if finding.at_key else self.document.spans.at(path)
            self.complaints.finding(finding, span, provider=key)

    def _settled(self, key: str, settings: dict[str, Json], schema: ProviderSchema) -> dict[str, Json]:
        """Settings with the type's defaults filled in and durations as seconds."""
        declared = schema.settings_schema.get("properties", {})
        settled = {name: part["default"] for name, part in declared.items() if "default" in part}
        settled.update(settings)
        for name in DURATIONS:
            if name in settled:
                settled[name] = seconds(settled[name])
                if settled[name] <= 0:
                    place = self.document.spans.at(("providers", key, name))
                    self.complaints.error(f"`{name}` must be longer than nothing", place, provider=key)
        for name in ("endpoint", "auth_endpoint"):
            address = settled.get(name)
            if isinstance(address, str) and address.startswith("http://") and not _LOOPBACK.match(address):
                self.complaints.warn(
                    f"`{name}` of {key} is not encrypted: credentials would cross the network in clear",
                    self.document.spans.at(("providers", key, name)),
                    hint="use https://",
                )
        return settled

    def _credentials(self, key: str, values: Mapping[str, Json], schema: ProviderSchema) -> dict[str, Secret]:
        found: dict[str, Secret] = {}
        for name, value in values.items() if isinstance(values, dict) else ():
            span = self.document.spans.at(("providers", key, "credentials", name))
            if name not in schema.credentials:
                self.complaints.error(
                    f"`{name}` is no credential of {type_of(key)}",
                    self.document.spans.key(("providers", key, "credentials", name)),
                    provider=key,
                    hint=did_you_mean(name, schema.credentials, what="its credentials"),
                )
            elif isinstance(value, Secret) and isinstance(value.value, str):
                found[name] = value
            elif not isinstance(value, Unknown):  # an Unknown was complained about already
                self.complaints.error(
                    f"the credential `{name}` stands in the file as a literal or a plain variable",
                    span,
                    provider=key,
                    detail=f"found {show(Secret(None))}, expected a reference",
                    hint=f"write ${{env.{schema.credentials[name].env or 'NAME'}}}, or declare the variable sensitive",
                )
        return found
