"""docs/faults.md, row by row: what a fault looks like to the user, the exit code, and that the next run mends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.campaign_child import CampaignCommands
from tests.support.campaign_judge import unknown
from tests.support.crash import Ended, Place
from tests.support.crash_cases import CASES, LIVE

CASE = next(case for case in CASES if case.name == "neevcloud-deploy")
CREATE, LIST = "POST .*/aimodels$", "GET .*/aimodels$"


@pytest.fixture(scope="module")
def spoilt() -> Iterator[CampaignCommands]:
    running = CampaignCommands()
    yield running
    running.close()


def said(ended: Ended) -> str:
    return " ".join(f"{ended.out} {ended.err}".split())


def mended(place: Place, ended: Ended) -> None:
    """Nothing made is unknown, one more apply is done, one deployment is there, and the plan is empty."""
    place.control("DELETE", "neevcloud", "faults")
    assert unknown(place, {}) == [], ended
    again = place.apply()
    assert again.code == 0, again
    assert len(LIVE["neevcloud"](place)) == 1
    assert place.run("plan", "--detailed-exitcode").code == 0


# One row each: name, request, fault, how often, exit code, words that are said.
ROWS = [
    ("create refused once", CREATE, "refuse", 1, 0, "deploy done"),
    ("create cut before the effect", CREATE, "cut_before", 1, 0, "deploy done"),
    ("create cut after the effect", CREATE, "cut_after", 1, 0, "deploy done"),
    ("create answered too late", CREATE, "delay:0.6", 1, 0, "deploy done"),
    ("create never answered", CREATE, "timeout", 1, 0, "deploy done"),
    ("create answered by a web page", CREATE, "html", 1, 0, "deploy done"),
    ("create answered by half of its JSON", CREATE, "truncate", 1, 0, "deploy done"),
    ("create answered by no JSON", CREATE, "garbage", 1, 0, "deploy done"),
    ("create answered by nothing", CREATE, "empty", 1, 0, "deploy done"),
    ("create 429 with Retry-After", CREATE, "throttle:0.1", 5, 0, "deploy done"),
    ("create 429 without Retry-After", CREATE, "status:429", 2, 0, "deploy done"),
    ("create 500", CREATE, "status:500", 1, 0, "deploy done"),
    ("create 502 from a proxy", CREATE, "page:502", 1, 0, "deploy done"),
    ("create 503", CREATE, "status:503", 1, 0, "deploy done"),
    ("create 401", CREATE, "status:401", 3, 3, "401"),
    ("create redirected", CREATE, "redirect", 1, 3, "redirect"),
    ("list 503 once", LIST, "status:503", 1, 0, "deploy done"),
    ("list down", LIST, "status:503", 20, 1, "error: neevcloud"),
    ("list cut once", LIST, "cut_before", 1, 0, "deploy done"),
    ("list answered by a web page", LIST, "html", 1, 1, "not JSON"),
    ("list answered by half of its JSON", LIST, "truncate", 1, 1, "not JSON"),
    ("list 401", LIST, "status:401", 3, 1, "401"),
    ("list 429", LIST, "throttle:0.1", 5, 0, "deploy done"),
]


@pytest.mark.parametrize(("name", "match", "kind", "times", "code", "words"), ROWS, ids=[row[0] for row in ROWS])
def test_row(name: str, match: str, kind: str, times: int, code: int, words: str, place: Place) -> None:
    """The exit code and the words of docs/faults.md; the next apply ends as if nothing had happened."""
    CASE.lay_out(place)
    place.control("POST", "neevcloud", "faults", [{"match": match, "kind": kind, "times": times}])
    ended = place.apply()
    assert ended.code == code, ended
    assert words in said(ended), ended
    assert "internal error" not in ended.err
    mended(place, ended)


def test_429_for_longer_than_the_client_waits(place: Place, spoilt: CampaignCommands) -> None:
    """The request goes back into the line of its provider; 429 alone fails nothing before the action's own timeout."""
    CASE.lay_out(place)
    place.control("POST", "neevcloud", "faults", [{"match": CREATE, "kind": "throttle:0.05", "times": 12}])
    spoilt.spoils = [("impatient", 0, 0)]
    ended = replace(place, commands=spoilt).apply()
    assert ended.code == 0, ended
    assert place.world("neevcloud")["faults"] == []
    mended(place, ended)


def test_a_deploy_that_fails(place: Place) -> None:
    """Exit 3, the state says failed; the next apply replaces it."""
    CASE.lay_out(place)
    place.control("PUT", "neevcloud", "knobs", {"fail_deploys": 1})
    ended = place.apply()
    assert ended.code == 3, ended
    assert [one["health"] for one in place.state()["deployments"].values()] == ["failed"]
    mended(place, ended)


def test_a_deployment_that_vanishes(place: Place) -> None:
    """The next plan says that it has gone, and the next apply deploys it again."""
    CASE.lay_out(place)
    assert place.apply().code == 0
    place.control("PUT", "neevcloud", "data", {**place.world("neevcloud")["data"], "deployments": {}})
    ended = place.run("plan", "--detailed-exitcode")
    assert ended.code == 2, ended
    assert "it has gone" in ended.out
    mended(place, ended)
