"""One history that goes on in two ways: undisturbed, and ended somewhere and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.model import State
from reconciler.plan import Event, Plan
from tests.support.rehearsal import Party, forget_times
from tests.support.scenes import Scene


@dataclass
class Undisturbed:
    """How a scene ends when nobody interferes; `writes` are the journal's appends and syncs, `told` the events."""

    scene: Scene
    end: dict[str, Any]
    state: State | None
    writes: int
    told: int


def undisturbed(scene: Scene) -> Undisturbed:
    """Play the scene, then apply in a copy of it."""
    scene.play()
    scene.plan()  # what is in conflict is left to others from here on
    party = scene.ours.fork()
    report = party.apply(party.plan(scene.now_file(), locked=True))
    assert [o for o in report.outcomes if o.result not in ("done", "unchanged")] == []
    return Undisturbed(scene, scene.end(party), party.state, party.written, len(party.events))


def taken_up(calm: Undisturbed, disturb: Callable[[Party, Plan], None], pause: float) -> None:
    """The same apply in another copy, ended by `disturb`; then, after a pause, plan and apply again."""
    scene, file = calm.scene, calm.scene.now_file()
    party = scene.ours.fork()
    disturb(party, party.plan(file, locked=True))
    party.place.clock.sleep(pause)
    report = party.run(file)
    assert [o for o in report.outcomes if o.result not in ("done", "unchanged")] == []
    assert party.intents == ()
    assert scene.settled(party) == []
    assert scene.end(party) == calm.end
    assert forget_times(party.state) == forget_times(calm.state)
    assert scene.touched(party.place) == []


def killed(at: int, *, sent: bool) -> Callable[[Party, Plan], None]:
    """Die at that append or sync of the journal; `sent`: requests that are on the wire still arrive."""

    def disturb(party: Party, plan: Plan) -> None:
        party.killed(plan, at, sent=sent)

    return disturb


def signalled(after: int, times: int) -> Callable[[Party, Plan], None]:
    """SIGTERM `times` times after so many events: once leaves soon, twice at once."""

    def disturb(party: Party, plan: Plan) -> None:
        left = after

        def emit(_event: Event) -> None:
            nonlocal left
            left -= 1
            for _ in range(times if left == 0 else 0):
                party.stop.request(15)

        party.apply(plan, emit=emit)

    return disturb
