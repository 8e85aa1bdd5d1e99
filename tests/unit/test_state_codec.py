"""What a state file says, and how a damaged, foreign or newer one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.core.state.state_codec import (
    decode_state,
    encode_state,
    recorded_from_json,
    recorded_to_json,
    state_from_json,
    state_to_json,
)
from reconciler.diagnostics import StateError
from reconciler.model import Secret
from tests.support.states import KEY, entry, full_entry, state

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "state.v1.schema.json").read_text())
SAMPLE = state(entry("chat"), full_entry(), entry('bot["eu west"]', id=None))


def document(**changes: Any) -> dict[str, Any]:
    return json.loads(encode_state(SAMPLE)) | changes


def with_entry(**changes: Any) -> dict[str, Any]:
    return document(deployments={"chat": json.loads(json.dumps(recorded_to_json(entry()))) | changes})


def test_round_trip() -> None:
    """Reading what was written gives the same state, every field of every deployment included."""
    assert decode_state(encode_state(SAMPLE)) == SAMPLE
    assert state_from_json(json.loads(json.dumps(state_to_json(SAMPLE)))) == SAMPLE


def test_same_state_same_bytes() -> None:
    """The order in which deployments were recorded does not show: equal states are equal files."""
    turned = state(*reversed(SAMPLE.deployments.values()))
    assert encode_state(turned) == encode_state(SAMPLE)


def test_published_schema_holds_for_what_is_written() -> None:
    """A state file is valid by the schema that we publish."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(document())


def test_top_level_names() -> None:
    """The names that pipelines read are those of the contract."""
    names = {"version", "stack", "lineage", "serial", "digest_key", "providers", "outputs", "deployments"}
    assert set(document()) == names
    assert document()["version"] == 1
    promised = {"provider", "id", "identity", "spec", "computed", "depends_on", "lifecycle", "timeouts", "retain",
                "presence", "created", "health", "created_at", "updated_at", "deployed_at"}  # fmt: skip
    assert promised <= set(document()["deployments"]["chat"])


def test_one_line_a_deployment() -> None:
    """Two states can be compared with `diff`: each deployment stands on a line of its own."""
    lines = encode_state(SAMPLE).splitlines()
    assert sum(line.startswith('    "chat": {') for line in lines) == 1


def test_fields_that_may_be_left_out() -> None:
    """A deployment written by hand needs only its provider key, id, identity and spec."""
    got = recorded_from_json("chat", {"provider": "neevcloud.eu", "id": "d-1", "identity": "chat", "spec": {}})
    assert (got.type, got.health, got.timeouts.deploy, got.presence) == ("neevcloud", "unknown", 1800.0, "always")


@pytest.mark.parametrize("text", ["", " \n", "{", "[]", "null", "\x00" * 40, "{}", '{"version": 1}', "[" * 100_000])
def test_damaged_text_is_a_state_error(text: str) -> None:
    """Whatever stands in the file, the answer is an error that names it and says what to do, never a traceback."""
    with pytest.raises(StateError) as error:
        decode_state(text, file="state/bots.state.json", hint="put the backup back")
    assert "state/bots.state.json" in error.value.diagnostics[0].summary
    assert error.value.diagnostics[0].hint == "put the backup back"


def test_bytes_that_are_no_text() -> None:
    """Bytes that are not UTF-8 are reported like any other damage."""
    with pytest.raises(StateError):
        decode_state(b'{"version": 1, "stack": "\xff\xfe\xfa"}')


def test_every_cut_is_noticed() -> None:
    """A state file cut off anywhere is refused, never read as a smaller state."""
    text = encode_state(state(entry())).rstrip("\n")
    for end in range(len(text)):
        with pytest.raises(StateError):
            decode_state(text[:end])


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"serial": -1}, "serial"),
        ({"serial": True}, "serial"),
        ({"serial": "7"}, "serial"),
        ({"stack": "Bots"}, "stack"),
        ({"stack": "../x"}, "stack"),
        ({"lineage": ""}, "lineage"),
        ({"digest_key": "short"}, "digest_key"),
        ({"version": "1"}, "version"),
        ({"version": 0}, "version"),
        ({"surprise": 1}, "surprise"),
        ({"outputs": []}, "outputs"),
        ({"deployments": []}, "deployments"),
        ({"providers": {"nugen": {"type": "nugen"}}}, "providers.nugen.scope"),
        ({"providers": {"nugen": {"type": "nugen", "scope": "s", "token": "x"}}}, "providers.nugen.token"),
        ({"deployments": {"Not An Address": {}}}, "deployments.Not An Address"),
        ({"deployments": {"chat": 3}}, "deployments.chat"),
    ],
)
def test_wrong_document_is_named_by_path(changes: dict[str, Any], path: str) -> None:
    """A field that is missing, unknown or of the wrong type is named by its path."""
    with pytest.raises(StateError, match=path.replace(".", r"\.")):
        state_from_json(document(**changes))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"id": 3}, "id"),
        ({"spec": None}, "spec"),
        ({"spec": []}, "spec"),
        ({"depends_on": "embedder"}, "depends_on"),
        ({"depends_on": [1]}, "depends_on"),
        ({"retain": 0}, "retain"),
        ({"presence": "sometimes"}, "presence"),
        ({"health": "fine"}, "health"),
        ({"generation": -1}, "generation"),
        ({"created": {"group": 5}}, "created"),
        ({"lifecycle": {"prevent_undeploy": "yes"}}, "lifecycle.prevent_undeploy"),
        ({"lifecycle": {"prevent": True}}, "lifecycle.prevent"),
        ({"timeouts": {"deploy": 0}}, "timeouts.deploy"),
        ({"timeouts": {"deploy": True}}, "timeouts.deploy"),
        ({"pending": {"verb": "explode", "since": ""}}, "pending.verb"),
        ({"pending": {"verb": "deploy"}}, "pending.since"),
        ({"trusted": "url"}, "trusted"),
        ({"color": "red"}, "color"),
    ],
)
def test_wrong_deployment_is_named_by_path(changes: dict[str, Any], path: str) -> None:
    """The complaint names the deployment and the field, and the published schema refuses the same document."""
    with pytest.raises(StateError, match=rf"deployments\.chat\.{path}"):
        state_from_json(with_entry(**changes))
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(with_entry(**changes))


@pytest.mark.parametrize("name", ["provider", "id", "identity", "spec"])
def test_missing_field_is_named(name: str) -> None:
    """What an undeploy can't do without is never guessed."""
    bad = with_entry()
    del bad["deployments"]["chat"][name]
    with pytest.raises(StateError, match=rf"deployments\.chat\.{name}: is missing"):
        state_from_json(bad)


def test_newer_version_says_what_to_install() -> None:
    """A state of a newer release is not touched, and the error says which version is needed and how to get it."""
    with pytest.raises(StateError) as error:
        state_from_json({"version": 2, "anything": "else"}, file="state/bots.state.json")
    problem = error.value.diagnostics[0]
    assert "newer" in problem.summary
    assert "version 2" in problem.hint
    assert "pip install" in problem.hint


def test_not_a_number_is_refused() -> None:
    """`NaN` and `Infinity`, which are not JSON, are neither read nor written."""
    text = encode_state(state(entry())).replace('"replicas": 2', '"replicas": NaN')
    with pytest.raises(StateError, match="NaN"):
        decode_state(text)
    with pytest.raises(StateError, match="too large"):
        decode_state(text.replace("NaN", "1e999"))
    with pytest.raises(ValueError):
        encode_state(state(entry(spec={"x": float("inf")})))


def test_a_secret_can_not_be_written() -> None:
    """A value that is still secret stops the write; its text is nowhere in the error."""
    with pytest.raises(TypeError) as error:
        encode_state(state(entry(spec={"token": Secret("hunter2", "${env.T}")})))
    assert "hunter2" not in str(error.value)


def test_errors_quote_no_values() -> None:
    """A damaged file may hold anything, so the complaint says what kind of thing stands there, not what."""
    with pytest.raises(StateError) as error:
        state_from_json(document(digest_key=KEY[:-1]))
    assert KEY[:-1] not in str(error.value)


def test_text_of_a_provider_survives() -> None:
    """Half of a surrogate pair, line separators and control characters in a provider's words do no harm."""
    odd = state(entry(status="a\ud800b\u2028c\x00\n", name="模型"))
    text = encode_state(odd)
    assert text.isascii()
    assert decode_state(text.encode()) == odd
