"""`apply PLANFILE` after a killed run: it heeds what became of the uncertain step, and tells of it, as `apply` does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.crash import Ended, Place, soon
from tests.support.crash_cases import CASES, LIVE, Case

NAMED = {case.name: case for case in CASES}
CHAT = NAMED["neevcloud-scale"].before or {}
SECOND = Case("neevcloud", "second", CHAT, {**CHAT, "bot": {**CHAT["chat"], "gpu_count": 2}}, {}, ())
CREATE_FIRST = NAMED["modelstudio-replace-create-first"]
CREATE = {"neevcloud": "POST .*/aimodels$", "modelstudio": "POST /deployments$"}


def saved(case: Case, place: Place) -> None:
    """The case is laid out, and its plan saved."""
    case.lay_out(place)
    ended = place.run("plan", "--out", "plan.json")
    assert ended.code == 0, ended


def killed_in_flight(place: Place, type_: str) -> None:
    """The apply of the plan died while the provider did what was asked."""
    place.control("POST", type_, "faults", [{"match": CREATE[type_], "kind": "delay:3"}])
    run = place.start("apply", "plan.json")
    with soon("the request came") as again:
        while place.world(type_)["faults"]:
            again()
    run.kill()
    assert run.wait().killed


def flat(ended: Ended) -> str:
    return " ".join(f"{ended.out} {ended.err}".split())


def differ(place: Place) -> None:
    """What is there is not what was sent."""
    data = place.world("neevcloud")["data"]
    for held in data["deployments"].values():
        spec = held.get("spec", held)
        if "bot" in (held.get("name"), spec.get("name")):
            spec["gpu_count"] = 4
    place.control("PUT", "neevcloud", "data", data)


def unreachable(place: Place) -> None:
    """No look is answered."""
    place.control("POST", "neevcloud", "faults", [{"match": "GET .*/aimodels", "kind": "status:503", "times": None}])


@pytest.mark.parametrize("trouble", [differ, unreachable])
def test_what_cannot_be_told_is_not_sent_again(trouble: Callable[[Place], None], place: Place) -> None:
    """Unclear: exit 1 with the words of a plain apply, and no second create."""
    saved(SECOND, place)
    killed_in_flight(place, "neevcloud")
    before = set(LIVE["neevcloud"](place))
    trouble(place)
    ended = place.run("apply", "plan.json")
    place.control("DELETE", "neevcloud", "faults")
    assert ended.code == 1, ended
    assert "an earlier run left bot uncertain" in flat(ended)
    assert "ended at step create of deploy bot" in flat(ended)
    assert set(LIVE["neevcloud"](place)) == before


@pytest.mark.parametrize(
    ("case", "address"), [(SECOND, "bot"), (CREATE_FIRST, "chat")], ids=["deploy", "replace-create-first"]
)
def test_what_took_effect_makes_the_plan_stale(case: Case, address: str, place: Place) -> None:
    """Found: exit 4 that names it, nothing is created again; a plan that knows of it is carried out."""
    saved(case, place)
    killed_in_flight(place, case.type)
    before = set(LIVE[case.type](place))
    ended = place.run("apply", "plan.json")
    assert ended.code == 4, ended
    assert f"{address} was deployed by a run that was cut off (id " in flat(ended)
    assert set(LIVE[case.type](place)) == before
    assert place.run("plan", "--out", "plan.json").code == 0
    ended = place.run("apply", "plan.json")
    assert ended.code == 0, ended
    assert "note: The last run (`apply`," in flat(ended)
    assert "It took effect" in flat(ended)
    assert len(LIVE[case.type](place)) == len(case.after)


def test_what_is_not_there_is_told_and_sent(place: Place) -> None:
    """Absent: which run and which step, then the plan is carried out."""
    saved(SECOND, place)
    assert place.run("apply", "plan.json", points=True, target=("after started+intent:create", 0)).killed
    ended = place.run("apply", "plan.json")
    assert ended.code == 0, ended
    assert "note: The last run (`apply`," in flat(ended)
    assert "ended at step create of deploy bot. It is not there, so it will be done again." in flat(ended)
    assert len(LIVE["neevcloud"](place)) == 2


@pytest.mark.parametrize("more", [("plan.json",), ("--same-as", "plan.json"), ("--auto-approve", "--format", "json")])
def test_a_run_that_did_not_end_is_told_where_no_plan_is_printed(more: tuple[str, ...], place: Place) -> None:
    """One note on stderr, with the last that it wrote down."""
    NAMED["neevcloud-deploy"].lay_out(place)
    assert place.run("apply", "--auto-approve", points=True, target=("before ended:done", 0)).killed
    assert place.run("plan", "--out", "plan.json").code == 0
    ended = place.run("apply", *more)
    assert ended.code == 0, ended
    assert flat(ended).count("note: The last run (`apply`,") == 1, ended
    assert "did not end; the last that it wrote down: chat is ready" in flat(ended)
