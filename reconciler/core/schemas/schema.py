"""A provider type's JSON Schema, compiled: what its annotations say about each attribute, and a quick check of specs.

The one place that reads `x-…` annotations. Knows no provider by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from reconciler.core.schemas.check import Check, Unsure, compile_check, resolve_ref
from reconciler.core.values.paths import split
from reconciler.core.values.sensitive import is_sensitive_name
from reconciler.model import Json

Change: TypeAlias = Literal["scale", "update", "replace", "record", "never"]

_INDEX = re.compile(r"\[\d+\]")
_COMBINERS = ("allOf", "anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Attribute:
    """What the annotations say about one attribute path (without list indexes).

    `change` is what a difference asks for; `default_from` is "address" or "derived" where a missing value is made from
    the address; `price` is what it means for the cost. `sensitive` is None where the schema says nothing about it.
    """

    path: str
    change: Change = "replace"
    write_only: bool = False
    sensitive: bool | None = None
    identity: bool = False
    is_set: bool = False
    default: Json = None
    default_from: Literal["address", "derived"] | None = None
    note: str = ""
    price: Literal["key", "quantity", "dimensions"] | None = None
    ready_only: bool = False


@dataclass(frozen=True, slots=True)
class Computed:
    """An attribute that the provider makes; `changed_by` lists the actions after which it may differ."""

    name: str
    type: str = ""
    description: str = ""
    changed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential: the environment variable that it comes from unless the file says otherwise."""

    name: str
    env: str
    description: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ProviderSchema:
    """A compiled provider schema. `document` is the JSON Schema of `spec`; `accepts` may raise Unsure.

    `properties` maps attribute paths to their subschemas; `defaults` are those of top-level attributes. `silent` maps
    attribute paths to the value with which no inference is answered.
    """

    type: str
    title: str
    document: Mapping[str, Json]
    attributes: Mapping[str, Attribute]
    properties: Mapping[str, Mapping[str, Json]]
    computed: Mapping[str, Computed]
    existing: tuple[str, ...]
    on_demand: str | None
    silent: Mapping[str, Json]
    settings_schema: Mapping[str, Json]
    credentials: Mapping[str, Credential]
    refuse_create_first: str
    accepts: Check
    defaults: Mapping[str, Json]
    identity: tuple[str, ...]
    scope_settings: tuple[str, ...]
    annotated_sensitive: frozenset[str]  # top-level attributes with an x-sensitive on them or below

    def attribute(self, path: str) -> Attribute:
        """The annotations that hold at `path`: its own, else those of the nearest declared attribute above it."""
        found = self.attributes.get(path)
        if found is not None:
            return found
        plain = _INDEX.sub("", path)
        while plain:
            if plain in self.attributes:
                return self.attributes[plain]
            try:
                parts = split(plain)[:-1]
            except ValueError:
                break
            plain = ".".join(str(part) for part in parts)
        return Attribute(path)

    def sensitive(self, path: str, name: str = "") -> bool:
        """Whether a text at `path` is sensitive: the schema says so, or the flag or key beside it (`name`) does.

        A schema's explicit `x-sensitive: false` on the attribute, or its being an identity, overrules the name.
        """
        attribute = self.attribute(path)
        if attribute.sensitive is not None:
            return attribute.sensitive
        return not attribute.identity and bool(name) and is_sensitive_name(name)

    def has(self, path: str) -> bool:
        """Whether `path` can exist in a spec: declared, or below something that takes any key or is a list."""
        try:
            parts = split(path)
        except ValueError:
            return False
        node: Json = self.document
        for part in parts:
            node = self._below(node, part)
            if node is None:
                return False
        return bool(parts)

    def _below(self, node: Json, part: str | int) -> Json:
        """The subschema of one part under a schema; True where anything may stand, None where nothing can."""
        if node is True:
            return True
        if isinstance(part, int):
            if not _takes(node, "array", self.document):
                return None
            items = [one["items"] for one in _alternatives(node, self.document) if "items" in one]
            return items[0] if items else True
        found = dict(_members(node, self.document)).get(part)
        if found is not None:
            return found
        if not _takes(node, "object", self.document) or _closed(node, self.document):
            return None
        return True


def compile_schema(document: Mapping[str, Json], type_name: str = "") -> ProviderSchema:
    """Compile a provider's schema. Raises ValueError where an annotation is malformed (a mistake of its author).

    The type's name, unless given, is the file name in `$id`, else the title.
    """
    named = str(document.get("$id", "")).rsplit("/", 1)[-1].split(".", 1)[0]
    name = type_name or named or str(document.get("title", ""))
    properties = {path: part for path, part, _ in _walk(document, document, "", Attribute(""))}
    attributes = {path: attribute for path, _, attribute in _walk(document, document, "", Attribute(""))}
    settings = document.get("x-settings", {})
    return ProviderSchema(
        type=name,
        title=str(document.get("title", name)),
        document=document,
        attributes=attributes,
        properties=properties,
        computed={key: _computed(key, value) for key, value in document.get("x-computed", {}).items()},
        existing=tuple(document.get("x-existing", ())),
        on_demand=document.get("x-on-demand"),
        silent=document.get("x-silent", {}),
        settings_schema=settings,
        credentials={
            key: Credential(
                key, str(value.get("env", "")), str(value.get("description", "")), bool(value.get("optional"))
            )
            for key, value in document.get("x-credentials", {}).items()
        },
        refuse_create_first=str(document.get("x-refuse-create-first", "")),
        accepts=compile_check(document),
        defaults={
            key: attributes[key].default for key in properties if "." not in key and "default" in properties[key]
        },
        identity=tuple(path for path, attribute in attributes.items() if attribute.identity),
        scope_settings=tuple(k for k, part in settings.get("properties", {}).items() if part.get("x-scope")),
        annotated_sensitive=frozenset(
            path.split(".", 1)[0] for path, found in attributes.items() if found.sensitive is not None
        ),
    )


def _computed(name: str, value: Mapping[str, Json]) -> Computed:
    kind = value.get("type", "")
    words = kind if isinstance(kind, str) else " or ".join(kind)
    return Computed(name, words, str(value.get("description", "")), tuple(value.get("changed-by", ())))


def _walk(
    node: Json, root: Mapping[str, Json], prefix: str, parent: Attribute, depth: int = 0
) -> Iterator[tuple[str, Mapping[str, Json], Attribute]]:
    """(path, subschema, annotations) of every declared property, list items included without an index."""
    if depth > 12:  # recursive schemas: deeper paths take the nearest ancestor's annotations
        return
    for name, part in _members(node, root):
        if not isinstance(part, Mapping):
            continue
        path = f"{prefix}.{name}" if prefix else name
        attribute = _attribute(path, part, parent)
        yield path, part, attribute
        yield from _walk(part, root, path, attribute, depth + 1)
        items = part.get("items")
        if isinstance(items, Mapping):
            yield from _walk(items, root, path, attribute, depth + 1)


def _attribute(path: str, part: Mapping[str, Json], parent: Attribute) -> Attribute:
    change = part.get("x-change", parent.change)
    if change not in ("scale", "update", "replace", "record", "never"):
        raise ValueError(f"x-change of {path}: {change!r}")
    return Attribute(
        path=path,
        change=cast(Change, change),
        write_only=bool(part.get("x-write-only", parent.write_only)),
        sensitive=part.get("x-sensitive", parent.sensitive),
        identity=bool(part.get("x-identity", False)),
        is_set=bool(part.get("x-set", False)),
        default=part.get("default"),
        default_from=part.get("x-default"),
        note=str(part.get("x-note", parent.note)),
        price=part.get("x-price"),
        ready_only=bool(part.get("x-ready-only", parent.ready_only)),
    )


def _alternatives(node: Json, root: Mapping[str, Json], depth: int = 0) -> Iterator[Mapping[str, Json]]:
    """A schema and all that it is combined from, `$ref` followed, outermost first."""
    if not isinstance(node, Mapping) or depth > 12:
        return
    yield node
    if "$ref" in node:
        try:
            yield from _alternatives(resolve_ref(root, node["$ref"]), root, depth + 1)
        except Unsure:
            return
    for word in _COMBINERS:
        for part in node.get(word, ()):
            yield from _alternatives(part, root, depth + 1)
    for word in ("then", "else"):
        yield from _alternatives(node.get(word), root, depth + 1)


def _members(node: Json, root: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Declared properties of a schema, each once; the outermost declaration that says something wins."""
    found: dict[str, Json] = {}
    for part in _alternatives(node, root):
        for name, value in part.get("properties", {}).items():
            if name not in found or not isinstance(found[name], Mapping) or not found[name]:
                found[name] = value
    yield from found.items()


def declared_properties(document: Mapping[str, Json]) -> dict[str, Json]:
    """The top-level attributes of a schema document, those of its alternatives included."""
    return dict(_members(document, document))


def _takes(node: Json, kind: str, root: Mapping[str, Json]) -> bool:
    """Whether a schema lets a value of that JSON type through, as far as its `type` says."""
    for part in _alternatives(node, root):
        names = part.get("type")
        if names is not None:
            return kind in ([names] if isinstance(names, str) else names)
    return True


def _closed(node: Json, root: Mapping[str, Json]) -> bool:
    return any(part.get("additionalProperties") is False for part in _alternatives(node, root))
