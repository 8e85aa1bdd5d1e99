"""docs/faults.md, row by row: what a fault looks like to the user, the exit code, and that the next run mends it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import replace

import pytest

from tests.support import campaign_strangers
from tests.support.campaign_child import CampaignCommands
from tests.support.campaign_judge import unknown
from tests.support.campaign_run import LOGIN
from tests.support.crash import Ended, Place, environment, soon
from tests.support.crash_bench import Bench
from tests.support.crash_cases import CASES, LIVE, by_hand, seen

CASE = next(case for case in CASES if case.name == "neevcloud-deploy")
CREATE, LIST = "POST .*/aimodels$", "GET .*/aimodels$"


@pytest.fixture(scope="module")
def spoilt() -> Iterator[CampaignCommands]:
    running = CampaignCommands()
    yield running
    running.close()


def said(ended: Ended) -> str:
    return " ".join(f"{ended.out} {ended.err}".split())


NOTHING, DEPLOYS, REPLACES = "nothing to do", "deploys what is missing", "replaces it"  # as the table says
SAYS = {NOTHING: "Nothing to do", DEPLOYS: "1 to deploy", REPLACES: "1 to replace"}


def sent(place: Place) -> int:
    """How many requests that may change something came so far."""
    counts = place.server.call("GET", "/_sandbox/requests")["counts"]
    return sum(counts.get(f"{place.worlds['neevcloud']} {method}", 0) for method in ("POST", "PUT", "DELETE"))


def mended(place: Place, ended: Ended, then: str, before_us: Collection[str] = ()) -> None:
    """Nothing made is unknown; the next plan is what the table says; one more apply is done, one deployment is there,
    and the plan is empty. Nothing to do: nothing is sent."""
    place.control("DELETE", "neevcloud", "faults")
    assert unknown(place, {"neevcloud": set(before_us)}) == [], ended
    plan, before = place.run("plan", "--detailed-exitcode"), sent(place)
    assert plan.code == (0 if then == NOTHING else 2), plan
    assert SAYS[then] in plan.out, plan
    again = place.apply()
    assert again.code == 0, again
    if then == NOTHING:
        assert sent(place) == before
    assert len(ours(place)) == 1
    assert place.run("plan", "--detailed-exitcode").code == 0


def ours(place: Place) -> list[str]:
    return [id_ for id_ in LIVE["neevcloud"](place) if not id_.startswith(campaign_strangers.MARK)]


# One row each: name, request, fault, how often, exit code, words that are said. After exit 0 there is nothing to do,
# else it deploys what is missing.
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
    mended(place, ended, DEPLOYS if code else NOTHING)


def test_429_for_longer_than_the_client_waits(place: Place, spoilt: CampaignCommands) -> None:
    """The request goes back into the line of its provider; 429 alone fails nothing before the action's own timeout."""
    CASE.lay_out(place)
    place.control("POST", "neevcloud", "faults", [{"match": CREATE, "kind": "throttle:0.05", "times": 12}])
    spoilt.spoils = [("impatient", 0, 0)]
    ended = replace(place, commands=spoilt).apply()
    assert ended.code == 0, ended
    assert place.world("neevcloud")["faults"] == []
    mended(place, ended, NOTHING)


def test_a_list_throttled_for_longer_than_the_client_waits(place: Place, spoilt: CampaignCommands) -> None:
    """A list is not lined up again: exit 1, and nothing was tried."""
    CASE.lay_out(place)
    place.control("POST", "neevcloud", "faults", [{"match": LIST, "kind": "throttle:0.05", "times": None}])
    spoilt.spoils = [("impatient", 0, 0)]
    ended = replace(place, commands=spoilt).apply()
    assert ended.code == 1, ended
    assert "429" in said(ended), ended
    assert ours(place) == []
    mended(place, ended, DEPLOYS)


def test_a_deploy_that_fails(place: Place) -> None:
    """Exit 3, the state says failed; the next apply replaces it."""
    CASE.lay_out(place)
    place.control("PUT", "neevcloud", "knobs", {"fail_deploys": 1})
    ended = place.apply()
    assert ended.code == 3, ended
    assert [one["health"] for one in place.state()["deployments"].values()] == ["failed"]
    mended(place, ended, REPLACES)


def test_a_deployment_that_vanishes(place: Place) -> None:
    """The next plan says that it has gone, and the next apply deploys it again."""
    CASE.lay_out(place)
    assert place.apply().code == 0
    place.control("PUT", "neevcloud", "data", {**place.world("neevcloud")["data"], "deployments": {}})
    ended = place.run("plan", "--detailed-exitcode")
    assert ended.code == 2, ended
    assert "it has gone" in ended.out
    mended(place, ended, DEPLOYS)


def test_a_deployment_that_vanishes_during_the_run(place: Place) -> None:
    """Taken away while the apply waits for it: the action fails and says so; the next apply deploys it again."""
    CASE.lay_out(place)
    place.control("PUT", "neevcloud", "knobs", {"deploy_seconds": 1e6, "undeploy_seconds": 0.0})
    run = place.start("apply", "--auto-approve")
    with soon("it is there") as again:
        while not ours(place):
            again()
    (id_,) = ours(place)
    by_hand(place, "neevcloud", "DELETE", f"aimodels/api/v1beta1/orgs/org-abc123/projects/prj-abc123/aimodels/{id_}")
    ended = run.wait()
    assert ended.code == 3, ended
    assert "it has gone while we waited for it" in said(ended), ended
    place.control("PUT", "neevcloud", "knobs", {"deploy_seconds": 1.0})
    mended(place, ended, DEPLOYS)


def test_lists_that_lag(place: Place) -> None:
    """What was just made is not in the list yet, and its answer was lost: looked for again, made once."""
    CASE.lay_out(place)
    place.control("PUT", "neevcloud", "knobs", {"lag": 8.0})
    place.control("POST", "neevcloud", "faults", [{"match": CREATE, "kind": "cut_after"}])
    ended = place.apply()
    assert ended.code == 0, ended
    assert place.control("GET", "neevcloud", "effects")["lag"] > 0
    place.control("PUT", "neevcloud", "knobs", {"lag": 0.0})
    mended(place, ended, NOTHING)


def test_pages_that_shift(place: Place) -> None:
    """120 deployments of others, in another order with each page: read until all were seen; none is touched."""
    CASE.lay_out(place)
    campaign_strangers.settle(place, ["neevcloud"])
    strangers, before = campaign_strangers.rows(place), LIVE["neevcloud"](place)
    assert len(before) == campaign_strangers.MANY["neevcloud"]
    place.control("PUT", "neevcloud", "knobs", {"shuffle": True})
    ended = place.apply()
    assert ended.code == 0, ended
    assert place.control("GET", "neevcloud", "effects")["shuffle"] > 1
    place.control("PUT", "neevcloud", "knobs", {"shuffle": False})
    mended(place, ended, NOTHING, before)
    assert campaign_strangers.touched(strangers, campaign_strangers.rows(place)) == []


def test_a_token_that_ends_during_the_run(place: Place, spoilt: CampaignCommands) -> None:
    """It logs in again and goes on."""
    CASE.lay_out(place)
    place.control("PUT", "neevcloud", "knobs", {"token_seconds": 4.0, "deploy_seconds": 20.0})
    spoilt.spoils, spoilt.variables = (), {**environment(**LOGIN), "NEEVCLOUD_ACCESS_TOKEN": ""}
    ended = replace(place, commands=spoilt).apply()
    spoilt.variables = environment()
    assert ended.code == 0, ended
    assert place.control("GET", "neevcloud", "effects")["token_seconds"] > 0
    mended(place, ended, NOTHING)


# Lost answers of what changes or takes away: case, request.
CHANGES = [
    ("neevcloud-scale", "PUT .*/scale$"),
    ("neevcloud-undeploy", "DELETE "),
    ("modelstudio-update", "PUT .*/update$"),
    ("modelstudio-undeploy", "DELETE "),
    ("nugen-undeploy", "DELETE "),
    ("opensearch-update", "PUT .*/models/"),
    ("opensearch-undeploy", "DELETE .*/models/"),
]


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "timeout", "status:503"])
@pytest.mark.parametrize(("name", "match"), CHANGES, ids=[name for name, _ in CHANGES])
def test_a_change_without_answer(name: str, match: str, kind: str, place: Place) -> None:
    """Changes and undeploys may be sent again: exit 0, the plan is empty, and the next apply sends nothing."""
    case = next(case for case in CASES if case.name == name)
    bench = Bench(case, place)
    place.control("POST", case.type, "faults", [{"match": match, "kind": kind}])
    ended = place.run("apply", "--auto-approve", *case.flags)
    assert ended.code == 0, ended
    assert place.control("GET", case.type, "faults") == [], ended
    bench.is_settled(kind, ended)
    changed = seen(place, case)
    bench.mend(ended)
    assert seen(place, case) == changed


@pytest.mark.parametrize("record", ["damaged", "of another boot"])
def test_a_lock_record(record: str, place: Place) -> None:
    """Nobody can tell whether its holder lives: exit 5 with the whole unlock line; pasted, the next apply goes on."""
    CASE.lay_out(place)
    place.state_folder.mkdir(exist_ok=True)
    other = {"id": "a-lock", "boot_id": "another", "host": "runner-7", "user": "deploy", "pid": 7, "pid_start": "1",
             "command": "reconciler apply", "job_url": "", "since": "2025-11-21T10:25:55Z"}  # fmt: skip
    (place.state_folder / "crash.lock").write_text("{ half" if record == "damaged" else json.dumps(other))
    ended = place.apply()
    assert ended.code == 5, ended
    assert ours(place) == []
    (line,) = re.findall(r"reconciler (unlock \S+)", ended.err)
    assert place.run(*line.split()).code == 0
    mended(place, ended, DEPLOYS)
