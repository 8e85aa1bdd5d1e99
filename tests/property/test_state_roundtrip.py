"""For any state and any run: what is written is what is read, and folding a journal is the same as reading it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.state.journal import (
    EntryRemoved,
    EntrySet,
    IntentClosed,
    IntentWritten,
    OutputsSet,
    Record,
    encode,
    replay,
)
from reconciler.core.state.state_codec import decode_state, encode_state
from reconciler.core.state.state_ops import move, remove
from reconciler.diagnostics import StateError
from reconciler.model import HEALTH_KIND, Intent, Lifecycle, Pending, Recorded, RecordedProvider, State, Timeouts
from tests.support.states import run, state

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "schemas" / "state.v1.schema.json").read_text())
)

texts = st.text(max_size=12)
keys = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
addresses = st.sampled_from(["chat", "bot", 'bot["eu"]', 'bot["é x"]', "embedder"])
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3)
seconds = st.floats(0.001, 1e6)


@st.composite
def entries(draw: st.DrawFn) -> Recorded:
    verbs = st.sampled_from(["deploy", "scale", "update", "undeploy"])
    return Recorded(
        address=draw(addresses),
        provider=draw(keys),
        type=draw(keys),
        id=draw(st.none() | texts),
        identity=draw(texts),
        name=draw(texts),
        spec=draw(objects),
        computed=draw(objects),
        depends_on=tuple(draw(st.lists(addresses, max_size=2))),
        lifecycle=Lifecycle(draw(st.booleans()), draw(st.booleans()), tuple(draw(st.lists(texts, max_size=2)))),
        timeouts=draw(st.builds(Timeouts, seconds, seconds, seconds, seconds) | st.just(Timeouts())),
        retain=draw(st.booleans()),
        presence=draw(st.sampled_from(["always", "on_demand"])),
        created=draw(st.dictionaries(keys, texts, max_size=2)),
        health=draw(st.sampled_from(sorted(HEALTH_KIND))),
        status=draw(texts),
        pending=draw(st.none() | st.builds(Pending, verbs, texts, texts)),
        trusted=tuple(draw(st.lists(texts, max_size=2))),
        generation=draw(st.integers(0, 5)),
        created_at=draw(texts),
        updated_at=draw(texts),
        deployed_at=draw(texts),
    )


@st.composite
def states(draw: st.DrawFn) -> State:
    recorded = draw(st.lists(entries(), max_size=4))
    providers = draw(st.dictionaries(keys, st.builds(RecordedProvider, keys, texts, objects), max_size=2))
    base = state(serial=draw(st.integers(0, 10**6)), providers=providers, outputs=draw(objects))
    return replace(base, deployments={item.address: item for item in recorded})


intents = st.builds(
    Intent,
    st.sampled_from(["i1", "i2", "i3"]),
    addresses,
    st.sampled_from(["deploy", "update"]),
    texts,
    entries(),
    objects,
)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(EntrySet, entries()),
    st.builds(EntryRemoved, addresses),
    st.builds(OutputsSet, objects),
    st.builds(IntentWritten, intents),
    st.builds(IntentClosed, st.sampled_from(["i1", "i2", "i3"]), st.sampled_from(["answered", "absent", "refused"])),
)


def journal(base: State, said: list[Record]) -> bytes:
    lines = [run(serial=base.serial), *said]
    return b"".join(encode(record, number) for number, record in enumerate(lines, start=1))


@given(states())
@settings(max_examples=80, deadline=None)
def test_state_round_trip(any_state: State) -> None:
    """What is written is valid by the published schema, and reads as the same state with the same bytes."""
    text = encode_state(any_state)
    SCHEMA.validate(json.loads(text))
    assert decode_state(text) == any_state
    assert encode_state(decode_state(text)) == text


@given(states(), st.lists(records, max_size=6))
@settings(max_examples=80, deadline=None)
def test_folding_is_reading(base: State, said: list[Record]) -> None:
    """A snapshot of the effective state, with the same journal or none, is that state: no plan goes stale by a fold."""
    data = journal(base, said)
    got = replay(base, data)
    assert got.state is not None
    folded = decode_state(encode_state(got.state))
    assert replay(folded, data).state == folded
    assert replay(folded, data).intents == got.intents
    assert got.state.serial - base.serial == (0 if replace(got.state, serial=base.serial) == base else 1)


@given(states(), st.lists(records, min_size=1, max_size=5), st.data())
@settings(max_examples=80, deadline=None)
def test_any_cut_is_a_prefix(base: State, said: list[Record], data: st.DataObject) -> None:
    """A journal cut anywhere says what some first part of its records says."""
    whole = journal(base, said)
    cut = replay(base, whole[: data.draw(st.integers(0, len(whole)))])
    prefixes = [replay(base, b"")] + [replay(base, journal(base, said[:end])) for end in range(len(said) + 1)]
    assert (cut.state, cut.intents) in [(prefix.state, prefix.intents) for prefix in prefixes]


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_answered_in_words(junk: bytes) -> None:
    """Whatever stands in a state file or journal, the answer is a StateError or a torn tail, never a traceback."""
    for read in (decode_state, lambda data: replay(state(), data)):
        try:
            read(junk)
        except StateError:
            continue


@given(
    st.recursive(st.none() | st.integers() | texts, lambda inner: st.dictionaries(keys, inner, max_size=3)), st.data()
)
@settings(max_examples=150, deadline=None)
def test_any_damage_of_a_document_is_answered_in_words(junk: Any, data: st.DataObject) -> None:
    """Any value in place of any field, at any depth: read as valid by the schema too, or refused in words."""
    document = json.loads(encode_state(state(Recorded("chat", "nugen", "nugen", "d", "i", "n", {"a": 1}))))
    target = document
    while True:
        key = data.draw(st.sampled_from(sorted(target)))
        if not isinstance(target[key], dict) or not target[key] or data.draw(st.booleans()):
            break
        target = target[key]
    target[key] = junk
    try:
        decode_state(json.dumps(document))
    except StateError:
        return
    SCHEMA.validate(document)


@given(states(), addresses, st.sampled_from(["moved", 'moved["x"]']))
@settings(max_examples=60, deadline=None)
def test_moving_there_and_back(any_state: State, source: str, target: str) -> None:
    """A move and its reverse leave every deployment as it was; a removal leaves nothing that names it."""
    try:
        there = move(any_state, source, target)
    except StateError:
        return
    assert len(there.deployments) == len(any_state.deployments)
    assert all(address == item.address for address, item in there.deployments.items())
    back = move(there, target, source)
    assert {a: replace(e, depends_on=()) for a, e in back.deployments.items()} == {
        a: replace(e, depends_on=()) for a, e in any_state.deployments.items()
    }
    gone = remove(there, [target])
    assert not any(target in item.depends_on for item in gone.deployments.values())
