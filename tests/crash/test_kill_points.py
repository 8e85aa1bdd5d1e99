"""kill -9 at every journal point of every verb of every provider, and one more apply: nothing doubled, nothing lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.crash import Place
from tests.support.crash_bench import Bench, numbered
from tests.support.crash_cases import CASES, Case

TRIES = 4  # a run may come by other points than the one before it: a second began, a look came late


def kinds_of(point: str) -> list[str]:
    """`after intent:create+entry:deploy` → `intent after`, `entry after`: the rows of the table."""
    when, _, names = point.partition(" ")
    return [f"{kind} {when}" for kind in dict.fromkeys(name.partition(":")[0] for name in names.split("+"))]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_one_more_apply_mends_every_kill(
    case: Case, place: Place, count_points: Callable[[str, Counter[str]], None]
) -> None:
    """Wherever an apply is killed, the next one finishes it: exit 0, an empty plan, a world and a state that agree."""
    bench = Bench(case, place)
    died: Counter[str] = Counter()
    to_do = dict.fromkeys(numbered(bench.begin(None).points))  # a run adds what none before it came by
    done: set[tuple[str, int]] = set()
    while left := [target for target in to_do if target not in done]:
        done.add(left[0])
        if case.faults and left[0][0].startswith("torn"):
            continue
        for _ in range(TRIES):
            ended = bench.begin(left[0])
            to_do |= dict.fromkeys(numbered(ended.points))
            if ended.killed:
                died.update(kinds_of(ended.points[-1]))
                bench.mend(ended)
                break
    missing = [kind for kind in case.must if not (died[f"{kind} before"] and died[f"{kind} after"])]
    assert not missing, f"never killed around {missing}: {dict(died)}"
    count_points(case.type, died)
