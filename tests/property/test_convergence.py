"""One apply, then nothing is left to do: for every provider type, from whatever stood there before, row by row of the
plan's table. What nobody of ours manages is byte for byte as it was.
"""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.plan import Report
from tests.support.casts import CASTS, Cast
from tests.support.rehearsal import REGISTRY
from tests.support.scenes import ROWS, Scene, impossible, roles, scenes, staged

TYPES = sorted(REGISTRY.types)
SIZE = 6  # roles of one scene of the roll call
LAG = 1.5  # seconds that lists trail behind in every other scene of it


def quietly(examples: int) -> settings:
    """The same examples each time, however slow the machine."""
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def converge(scene: Scene, parallelism: int, counts: Counter[str] | None = None) -> None:
    """Play a scene, apply once, and hold the end to what is promised."""
    scene.play()
    plan = scene.plan()
    scene.check(plan, counts)
    assert bad(scene.ours.apply(plan, parallelism=parallelism)) == []
    assert scene.settled(scene.ours) == []
    assert scene.touched(scene.place) == []
    before, written = scene.ours.state, scene.ours.place.writes()
    scene.ours.run(scene.now_file())
    assert scene.ours.state == before
    assert scene.ours.place.writes() == written


def bad(report: Report) -> list[str]:
    return [
        f"{outcome.address} {outcome.action} {outcome.result}: {outcome.error}"
        for outcome in report.outcomes
        if outcome.result not in ("done", "unchanged")
    ]


@pytest.mark.parametrize("name", CASTS)
def test_after_an_apply_the_plan_is_empty(name: str) -> None:
    """Any mixture of what can stand at a provider: one apply brings it to the file, and a second one has nothing to
    send and nothing to write. Deployments of others are not touched."""

    @quietly(25)
    @given(scene=scenes(CASTS[name]), parallelism=st.sampled_from([1, 2, 10]))
    def holds(scene: Scene, parallelism: int) -> None:
        converge(scene, parallelism)

    holds()


def test_every_row_of_the_table_occurs_at_every_provider() -> None:
    """All roles that a type can play are played, in drawn company: no row of the table stays empty but those that can't
    occur there, by the type's capabilities and schema."""
    table = {type_: Counter[str]() for type_ in TYPES}

    def call(cast: Cast) -> None:
        @quietly(1)
        @given(data=st.data())
        def played(data: st.DataObject) -> None:
            every = data.draw(st.permutations(roles(cast)))
            for at in range(0, len(every), SIZE):
                scene = staged(cast, list(every[at : at + SIZE]), data.draw)
                scene.lag = LAG if at % (2 * SIZE) == 0 else 0.0  # one drawn example would always be a prompt list
                converge(scene, 10, table[cast.type])

        played()

    for cast in CASTS.values():
        call(cast)
    cannot = {type_: impossible(type_, [cast for cast in CASTS.values() if cast.type == type_]) for type_ in TYPES}
    sys.stdout.write(shown(table, cannot))
    empty = [f"{row} at {type_}" for type_ in TYPES for row in ROWS if not table[type_][row]]
    assert empty == [f"{row} at {type_}" for type_ in TYPES for row in ROWS if row in cannot[type_]]


def shown(table: dict[str, Counter[str]], cannot: dict[str, dict[str, str]]) -> str:
    """Row by provider type, with counts; below it why a cell is empty."""
    lines = [f"{'':22}" + "".join(f"{type_:>13}" for type_ in TYPES)]
    for row in ROWS:
        cells = ("-" if row in cannot[type_] else str(table[type_][row]) for type_ in TYPES)
        lines.append(f"{row:22}" + "".join(f"{cell:>13}" for cell in cells))
    lines += [f"{type_}, {row}: {why}" for type_ in TYPES for row, why in cannot[type_].items()]
    return "\n".join(["", *lines, ""])
