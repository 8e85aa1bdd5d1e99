"""The schema for editors: each deployment's `spec` is completed by its provider key."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.core.load.combined import combined_schema
from reconciler.edge.schemas import provider_types, read_schema
from tests.support.stacks import FAKE

OTHER = {
    "title": "other",
    "type": "object",
    "additionalProperties": False,
    "properties": {"size": {"$ref": "#/$defs/size"}},
    "$defs": {"size": {"description": "How big.", "type": "integer"}},
}
SCHEMA = combined_schema(read_schema("desired-state.v1"), {"fake": FAKE, "other": OTHER})
HEAD: dict[str, Any] = {"version": 1, "stack": "s", "providers": {"fake": {}, "fake.eu": None, "other": {}}}


def complaints(**sections: Any) -> list[str]:
    """Paths that an editor would underline."""
    found = Draft202012Validator(SCHEMA).iter_errors({**HEAD, **sections})
    return [".".join(map(str, error.absolute_path)) for error in found]


def test_it_is_a_schema() -> None:
    """The combined schema is valid JSON Schema, for the small types here and for all that are shipped."""
    Draft202012Validator.check_schema(SCHEMA)
    shipped = {name: read_schema(f"providers/{name}") for name in provider_types()}
    Draft202012Validator.check_schema(combined_schema(read_schema("desired-state.v1"), shipped))


def test_nothing_given_is_changed() -> None:
    """The schemas that go in come out of it unchanged."""
    base = read_schema("desired-state.v1")
    combined_schema(base, {"fake": FAKE})
    assert base == read_schema("desired-state.v1")


@pytest.mark.parametrize("key", ["fake", "fake.eu"])
def test_spec_follows_the_provider_key(key: str) -> None:
    """A deployment's attributes are those of its provider's type, an alias included; another type's are not."""
    good = {"provider": key, "spec": {"model": "m", "replicas": 2}}
    assert complaints(deployments={"d": good}) == []
    assert complaints(deployments={"d": {"provider": key, "spec": {"modle": "m"}}}) == ["deployments.d.spec"]
    assert complaints(deployments={"d": {"provider": key, "spec": {"replicas": 0}}}) == ["deployments.d.spec.replicas"]
    assert complaints(deployments={"d": {"provider": "other", "spec": {"size": 1}}}) == []
    assert complaints(deployments={"d": {"provider": "other", "spec": {"size": "x"}}}) == ["deployments.d.spec.size"]


def test_references_may_stand_for_any_value() -> None:
    """An editor does not underline `${var.replicas}` where a number is expected, at any depth."""
    spec = {"model": "m", "replicas": "${var.n}", "size": "${var.s}", "config": {"depth": "${var.d}"}}
    assert complaints(deployments={"d": {"provider": "fake", "spec": spec, "adopt": "${var.a}"}}) == []


def test_what_defaults_may_hold_is_not_missing() -> None:
    """A required attribute can come from `defaults:`, so no editor calls it missing; defaults are completed, too."""
    assert complaints(deployments={"d": {"provider": "fake", "spec": {}}}) == []
    assert complaints(defaults={"fake": {"spec": {"size": "small"}}}) == []
    assert complaints(defaults={"fake.eu": {"spec": {"size": "tiny"}}}) == ["defaults.fake.eu.spec.size"]


def test_settings_follow_the_key() -> None:
    """Provider settings are the common ones and those of the type; credentials are references."""
    assert complaints(providers={"fake": {"region": "r1", "timeout": "1m", "prices": {}}}) == []
    assert complaints(providers={"fake": {"regoin": "r1"}}) == ["providers.fake"]
    assert complaints(providers={"fake": {"credentials": {"api_key": "${env.K}"}}}) == []
    assert complaints(providers={"fake": {"credentials": {"api_key": "literal"}}}) == [
        "providers.fake.credentials.api_key"
    ]
    assert complaints(providers={"nobody": {}}) == ["providers"]


def test_descriptions_reach_the_editor() -> None:
    """What an attribute is for can be read while typing it."""
    assert SCHEMA["$defs"]["fake.spec"]["properties"]["replicas"]["description"] == "How many."
    assert "FAKE_API_KEY" in str(SCHEMA["$defs"]["fake.settings"]["properties"]["credentials"])
