"""What the `state …` commands make of a state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.state.state_ops import (
    entry_of,
    move,
    pushed,
    remove,
    renamed,
    rows,
    show_rows,
)
from reconciler.diagnostics import StateError
from tests.support.states import entry, full_entry, state

CHAIN = state(entry("embedder"), entry("chat", depends_on=("embedder",)), entry("web", depends_on=("chat", "embedder")))
FLEET = state(entry('bot["eu"]'), entry('bot["us"]'), entry("web", depends_on=('bot["eu"]', 'bot["us"]')))


def test_list_is_sorted() -> None:
    """`state list` shows address, provider, id and health in the order of addresses."""
    got = rows(CHAIN)
    assert [row.address for row in got] == ["chat", "embedder", "web"]
    assert (got[0].provider, got[0].id, got[0].health) == ("neevcloud", "dep-chat", "ready")


def test_show_flattens_and_hides_digests() -> None:
    """`state show` gives one path a value; a sensitive value shows as such, never its digest."""
    got = dict(show_rows(full_entry()))
    assert got["spec.connector.credential"] == "(sensitive)"
    assert got['spec.connector["a.b"][0]'] == 1
    assert got["lifecycle.prevent_undeploy"] is True
    assert got["pending.cause"] == "timed out"
    assert got["depends_on"] == ["chat", 'index["eu"]']
    assert "hmac" not in repr(got)


def test_move_takes_dependents_along() -> None:
    """A rename keeps everything but the address, and whoever depends on it follows."""
    got = move(CHAIN, "chat", "assistant")
    assert got.deployments["assistant"] == replace(CHAIN.deployments["chat"], address="assistant")
    assert got.deployments["web"].depends_on == ("assistant", "embedder")
    assert "chat" not in got.deployments
    assert got.serial == CHAIN.serial, "the store counts, not the rule"


def test_move_between_a_key_and_an_instance() -> None:
    """`chat` becomes `chat["eu"]`, and back again."""
    there = move(CHAIN, "chat", 'chat["eu"]')
    assert there.deployments["web"].depends_on == ('chat["eu"]', "embedder")
    assert move(there, 'chat["eu"]', "chat") == CHAIN


def test_move_of_a_key_takes_its_instances() -> None:
    """A key that `for_each` made instances of moves with all of them."""
    got = move(FLEET, "bot", "agent")
    assert set(got.deployments) == {'agent["eu"]', 'agent["us"]', "web"}
    assert got.deployments["web"].depends_on == ('agent["eu"]', 'agent["us"]')


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("chta", "x", "holds no chta"),
        ("chat", "web", "already"),
        ("chat", "chat", "already"),
        ("chat", "Not An Address", "not an address"),
        ("chat", 'x["a"]["b"]', "not an address"),
    ],
)
def test_move_refuses(source: str, target: str, message: str) -> None:
    """A move that would lose or overwrite something is an error that says what to do."""
    with pytest.raises(StateError, match=message) as error:
        move(CHAIN, source, target)
    assert error.value.diagnostics[0].hint


def test_unknown_address_names_the_nearest() -> None:
    """A misspelt address is answered with the nearest one, a key with its instances."""
    with pytest.raises(StateError) as error:
        entry_of(CHAIN, "chta")
    assert "chat" in error.value.diagnostics[0].hint
    with pytest.raises(StateError) as error:
        entry_of(FLEET, "bot")
    assert 'bot["eu"]' in error.value.diagnostics[0].detail


def test_remove_forgets_and_nothing_depends_on_it() -> None:
    """`state rm` takes it out of the state, and out of what depended on it; a key takes its instances."""
    got = remove(CHAIN, ["embedder"])
    assert set(got.deployments) == {"chat", "web"}
    assert got.deployments["chat"].depends_on == ()
    assert got.deployments["web"].depends_on == ("chat",)
    assert set(remove(FLEET, ["bot"]).deployments) == {"web"}
    with pytest.raises(StateError, match="holds no"):
        remove(CHAIN, ["chat", "nothing"])


def test_push_takes_a_later_version() -> None:
    """A later version of the same state is taken as it is."""
    assert pushed(CHAIN, replace(CHAIN, serial=12, outputs={}), stack="bots").serial == 12
    assert pushed(None, CHAIN, stack="bots") == CHAIN
    assert pushed(CHAIN, CHAIN, stack="bots") == CHAIN


@pytest.mark.parametrize(
    ("new", "intents", "message"),
    [
        (replace(CHAIN, serial=3), 0, "older"),
        (replace(CHAIN, outputs={}), 0, "same serial"),
        (replace(CHAIN, lineage="other", serial=99), 0, "another one"),
        (replace(CHAIN, serial=9), 2, "2 request"),
    ],
)
def test_push_refuses_what_would_lose_something(new: object, intents: int, message: str) -> None:
    """An older version, another lineage, or requests without an outcome: refused, and `--force` is named."""
    with pytest.raises(StateError, match=message) as error:
        pushed(CHAIN, new, stack="bots", open_intents=intents)  # type: ignore[arg-type]
    assert "--force" in error.value.diagnostics[0].hint
    forced = pushed(CHAIN, new, stack="bots", force=True, open_intents=intents)  # type: ignore[arg-type]
    assert forced.serial > CHAIN.serial, "plans of the state that was there go stale"


def test_push_never_changes_the_stack() -> None:
    """Another stack's state is refused even by force; the rename is named."""
    with pytest.raises(StateError) as error:
        pushed(CHAIN, replace(CHAIN, stack="other"), stack="bots", force=True)
    assert "mv-stack other bots" in error.value.diagnostics[0].hint


def test_rename_of_a_stack() -> None:
    """A renamed stack keeps its lineage; a rename that was cut off can be finished by repeating it."""
    got = renamed(CHAIN, "robots")
    assert (got.stack, got.lineage, got.serial) == ("robots", CHAIN.lineage, 8)
    assert renamed(CHAIN, "robots", existing=got) == got


def test_rename_of_a_stack_refuses() -> None:
    """A name that is taken, no name, or one with an interrupted run: an error, nothing is overwritten."""
    with pytest.raises(StateError, match="there is a state of that name"):
        renamed(CHAIN, "robots", existing=state(stack="robots"))
    for name in ("Robots", "../robots", "", "bots"):
        with pytest.raises(StateError, match="can't rename"):
            renamed(CHAIN, name)
    with pytest.raises(StateError, match="without an outcome"):
        renamed(CHAIN, "robots", open_intents=1)


def test_nothing_moves_while_a_request_is_open() -> None:
    """What is found of it will stand at its address: neither it, nor its key, moves away, and nothing moves there."""
    for source, target, begun in (("chat", "bot", "chat"), ("chat", "bot", "bot"), ("bot", "robot", 'bot["us"]')):
        with pytest.raises(StateError, match="outcome is not known yet") as error:
            move(FLEET if source == "bot" else CHAIN, source, target, begun=[begun])
        assert "reconciler apply" in error.value.diagnostics[0].hint
    assert "bot" in move(CHAIN, "chat", "bot", begun=["web"]).deployments
