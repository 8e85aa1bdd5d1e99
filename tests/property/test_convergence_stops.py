"""A run that ends anywhere, and the next one: the world and the state are those of a run that nobody disturbed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.casts import CASTS
from tests.support.scenes import Role, Scene, scenes
from tests.support.undisturbed import killed, signalled, taken_up, undisturbed

PAUSES = (0.0, 5.0, 90.0)
quietly = settings(max_examples=12, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("name", CASTS)
def test_a_kill_at_any_write_ends_as_if_it_had_not_been(name: str) -> None:
    """Killed at any record or sync of the journal, with or without what was on the wire: plan and apply again end in
    the same world and the same state, with nothing deployed twice, nothing left over and nothing of others touched."""

    @quietly
    @given(scene=scenes(CASTS[name], 5), data=st.data(), pause=st.sampled_from(PAUSES))
    def holds(scene: Scene, data: st.DataObject, pause: float) -> None:
        calm = undisturbed(scene)
        for at in sorted(data.draw(st.sets(st.integers(1, max(1, calm.writes)), min_size=1, max_size=3))):
            taken_up(calm, killed(at, sent=data.draw(st.booleans())), pause)

    holds()


@pytest.mark.parametrize("name", CASTS)
def test_a_signal_at_any_event_ends_as_if_it_had_not_been(name: str) -> None:
    """Interrupted after any event, politely or at once: the next run takes it up to the same end."""

    @quietly
    @given(scene=scenes(CASTS[name], 5), data=st.data(), pause=st.sampled_from(PAUSES))
    def holds(scene: Scene, data: st.DataObject, pause: float) -> None:
        calm = undisturbed(scene)
        for after in sorted(data.draw(st.sets(st.integers(1, max(1, calm.told)), min_size=1, max_size=2))):
            taken_up(calm, signalled(after, data.draw(st.integers(1, 2))), pause)

    holds()


@pytest.mark.parametrize(
    ("name", "role", "lag"),
    [
        ("nugen", Role("failed", "no", "immutable"), 0.0),  # FAILED under nobody's record is no conflict
        ("nugen newer", Role("nobody", "no", "same"), 1.5),  # the list lags: what is DEPLOYING is our own
        ("opensearch registered", Role("ours", "removed", "immutable", on_demand=True), 0.0),  # nothing has expired
        ("opensearch", Role("nobody", "no", "same"), 0.0),  # one connector, whatever was left of the first try
        ("modelstudio", Role("ours", "no", "create first"), 0.0),  # the old one stands aside until it is undeployed
        ("neevcloud", Role("slow", "no", "scaled"), 0.0),
    ],
    ids=str,
)
def test_wherever_one_deployment_is_stopped(name: str, role: Role, lag: float) -> None:
    """Every write and every event of one deployment's apply is survived, each in both ways."""
    calm = undisturbed(Scene(CASTS[name], {"dep-0": role}, lag=lag))
    for at in range(1, calm.writes + 1):
        for sent in (False, True):
            taken_up(calm, killed(at, sent=sent), 0.0)
    for after in range(1, calm.told + 1):
        for times in (1, 2):
            taken_up(calm, signalled(after, times), 0.0)
