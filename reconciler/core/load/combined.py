"""One JSON Schema for editors: the desired-state schema with every provider type's attributes and settings filled in.

It only helps while typing, so it is milder than the program: a reference may stand for any value, and nothing is
missing from a `spec`, since `defaults:` may hold it. The program itself never validates with it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from reconciler.core.load.provider_section import combine_settings
from reconciler.core.schemas.schema import declared_properties
from reconciler.model import Json

_REFERENCE = {"$ref": "#/$defs/reference"}
_SHAPES = ("properties", "additionalProperties", "patternProperties", "items", "anyOf", "oneOf", "allOf")
_WORDS = ("title", "description", "default", "deprecated", "examples")


def combined_schema(desired_state: Mapping[str, Json], providers: Mapping[str, Mapping[str, Json]]) -> dict[str, Json]:
    """The desired-state schema in which `spec` and settings are completed by the provider key of each deployment.

    `providers` are schema documents by type name. The deployment's `provider` key decides which `spec` applies, by
    if/then; the keys of `providers:` and `defaults:` do so by pattern.
    """
    schema: dict[str, Any] = copy.deepcopy(dict(desired_state))
    definitions = schema["$defs"]
    sections = schema["properties"]
    conditions: list[Json] = []
    for name in sorted(providers):
        document = providers[name]
        definitions[f"{name}.spec"] = _spec(name, document)
        definitions[f"{name}.settings"] = _settings(name, desired_state, document)
        for key, part in document.get("$defs", {}).items():
            definitions[f"{name}.{key}"] = _lenient(_renamed(part, name))
        conditions.append(
            {
                "if": {"properties": {"provider": {"pattern": _pattern(name)}}, "required": ["provider"]},
                "then": {"properties": {"spec": {"$ref": f"#/$defs/{name}.spec"}}},
            }
        )
    patterns = {_pattern(name): {"$ref": f"#/$defs/{name}.settings"} for name in sorted(providers)}
    sections["providers"] |= {"patternProperties": patterns, "additionalProperties": False}
    sections["defaults"]["patternProperties"] = {
        _pattern(name): {"properties": {"spec": {"$ref": f"#/$defs/{name}.spec"}}} for name in sorted(providers)
    }
    sections["defaults"]["additionalProperties"] = False
    for pattern in sections["defaults"]["patternProperties"].values():
        pattern["$ref"] = "#/$defs/defaults"
    definitions["deployment"]["allOf"] = conditions
    return schema


def _pattern(name: str) -> str:
    """What provider keys of one type look like: the type, or type.alias."""
    return f"^{name}(\\.|$)"


def _spec(name: str, document: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "description": document.get("description", f"Attributes of a {name} deployment."),
        "type": ["object", "null"],
        "additionalProperties": document.get("additionalProperties", True),
        "properties": {key: _lenient(_renamed(part, name)) for key, part in declared_properties(document).items()},
    }


def _settings(name: str, desired_state: Mapping[str, Json], document: Mapping[str, Json]) -> dict[str, Json]:
    combined = combine_settings(desired_state, document.get("x-settings", {}))
    properties = dict(combined["properties"])
    named = document.get("x-credentials", {})
    if named:
        properties["credentials"] = {
            "description": properties.get("credentials", {}).get("description", ""),
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                key: {
                    "description": f"{value.get('description', '')} Default: ${{env.{value.get('env', '')}}}.".strip(),
                    "type": "string",
                    "pattern": "\\$\\{",
                }
                for key, value in named.items()
            },
        }
    return {
        "description": f"Settings of a {name} provider.",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {key: part if key == "credentials" else _lenient(part) for key, part in properties.items()},
        **({"required": combined["required"]} if combined.get("required") else {}),
    }


def _renamed(schema: Json, name: str) -> Json:
    """A provider's subschema with its local references pointing into the combined `$defs`."""
    if isinstance(schema, Mapping):
        return {
            key: f"#/$defs/{name}." + value.removeprefix("#/$defs/")
            if key == "$ref" and isinstance(value, str) and value.startswith("#/$defs/")
            else _renamed(value, name)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_renamed(item, name) for item in schema]
    return schema


def _lenient(schema: Json) -> Json:
    """A subschema that also takes a reference, at every depth, and from which nothing is missing."""
    if not isinstance(schema, Mapping):
        return schema
    inner = {key: value for key, value in schema.items() if key not in _WORDS and key != "required"}
    inner = {key: value for key, value in inner.items() if not key.startswith("x-")}
    for word in _SHAPES:
        if word in inner:
            inner[word] = _lenient_parts(word, inner[word])
    words = {key: schema[key] for key in _WORDS if key in schema}
    free_text = inner == {"type": "string"} or not set(inner) & {"type", "enum", "const", "$ref"}
    return {**words, **inner} if free_text else {**words, "anyOf": [inner, _REFERENCE]}


def _lenient_parts(word: str, value: Json) -> Json:
    if word in ("properties", "patternProperties"):
        return {key: _lenient(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_lenient(part) for part in value]
    return _lenient(value)
