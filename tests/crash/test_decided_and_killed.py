"""`import` and `state rm` settle what a killed run left uncertain; killed themselves anywhere, they lose nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.crash import Place
from tests.support.crash_bench import numbered
from tests.support.crash_cases import CASES, LIVE, Case, kill_in_flight

DEPLOY = next(case for case in CASES if case.name == "neevcloud-deploy")
UPDATE = next(case for case in CASES if case.name == "opensearch-update")


def uncertain(case: Case, place: Place, match: str) -> Callable[[], None]:
    """The apply died while the provider did what was asked; gives what brings that moment back."""
    case.lay_out(place)
    kill_in_flight(case, place, match)
    return place.snapshot()


def recorded(place: Place) -> dict[str, str]:
    """Addresses and ids, what the journal says included."""
    found = json.loads(place.run("state", "pull").out)["deployments"]
    return {address: entry["id"] for address, entry in found.items()}


def is_open(place: Place) -> bool:
    """Whether the next run will look the step up."""
    return "ended at step " in " ".join(place.run("plan").out.split())


@pytest.mark.parametrize("words", [("import", "chat", "ID"), ("state", "rm", "search")], ids=["import", "rm"])
def test_a_kill_loses_neither_the_decision_nor_the_step(words: tuple[str, ...], place: Place) -> None:
    """Either the step is still open, or what was decided about it is recorded; said again, it is done."""
    imports = words[0] == "import"
    case, match = (DEPLOY, "POST .*/aimodels$") if imports else (UPDATE, "POST .*/connectors/_create$")
    restore = uncertain(case, place, match)
    (id_,) = LIVE[case.type](place)
    command = tuple(id_ if word == "ID" else word for word in words)
    wanted = {"chat": id_} if imports else {}
    whole = place.run(*command, points=True)
    assert whole.code == 0, whole
    assert recorded(place) == wanted
    assert whole.points
    for target in numbered(whole.points):
        restore()
        assert place.run(*command, points=True, target=target).killed, target
        if recorded(place) != wanted:
            assert is_open(place), f"killed at {target}: the step was closed, and {recorded(place)} is recorded"
        again = place.run(*command)
        assert again.code == 0 or not imports, f"killed at {target}: {again}"
        assert recorded(place) == wanted
        assert not is_open(place)
