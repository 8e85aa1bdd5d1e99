"""Renames while a killed run's request has no known outcome: nothing that is live loses its place in the state."""

from __future__ import annotations

from tests.support.crash import Place
from tests.support.crash_cases import CASES, LIVE, SETTINGS, Case, beside, kill_in_flight, stack

UPDATE = next(case for case in CASES if case.name == "opensearch-update")
DEPLOY = next(case for case in CASES if case.name == "neevcloud-deploy")


def killed_in_flight(case: Case, place: Place, match: str) -> set[str]:
    """The apply died while the provider did what was asked; ids of what stood there before us."""
    there = case.lay_out(place)
    kill_in_flight(case, place, match)
    return there


def write(case: Case, place: Place, source: str, target: str, *, moved: bool) -> None:
    """The file with the deployment under its new key, and the name that it had."""
    (spec,) = case.after.values()
    block = {"provider": case.type, "spec": {"name": source, **spec}}
    more = {"moved": [{"from": source, "to": target}]} if moved else {}
    place.control("POST", case.type, "presuppose", {"specs": [block["spec"]], "settings": SETTINGS[case.type]})
    place.write(stack(place, {target: block}, **more))


def settled(place: Place, type_: str, address: str, live: set[str]) -> None:
    """One more apply: what was live is live, recorded at `address` alone, and nothing is left to do."""
    ended = place.apply()
    assert ended.code == 0, ended
    assert set(LIVE[type_](place)) == live
    assert {name: entry["id"] for name, entry in place.state()["deployments"].items()} == dict.fromkeys(
        [address], *live
    )
    assert place.run("plan", "--detailed-exitcode").code == 0


def test_state_mv_waits_for_what_was_begun(place: Place) -> None:
    """An update was killed at its connector: `state mv` is refused until an apply has looked; nothing is undeployed."""
    killed_in_flight(UPDATE, place, "POST .*/connectors/_create$")
    live = set(LIVE["opensearch"](place))
    for source, target in (("search", "finder"), ("other", "search")):
        ended = place.run("state", "mv", source, target)
        assert ended.code == 1, ended
        assert "an interrupted run left a request at search" in ended.err
        assert "reconciler apply" in ended.err
    assert place.apply().code == 0
    assert place.run("state", "mv", "search", "finder").code == 0
    write(UPDATE, place, "search", "finder", moved=False)
    settled(place, "opensearch", "finder", live)


def test_moved_takes_what_was_begun_along(place: Place) -> None:
    """The same update, and the file renames: what is found of it follows to the new address; nothing is left over."""
    there = killed_in_flight(UPDATE, place, "POST .*/connectors/_create$")
    live = set(LIVE["opensearch"](place))
    write(UPDATE, place, "search", "finder", moved=True)
    assert "undeploy" not in place.run("plan").out
    settled(place, "opensearch", "finder", live)
    made = place.state()["deployments"]["finder"]["created"]
    assert beside(place) - there == {*live, *(id_ for id_ in made.values() if id_)}


def test_moved_takes_a_first_deploy_along(place: Place) -> None:
    """The state holds nothing yet, the deployment is there: found, and recorded at the new address."""
    killed_in_flight(DEPLOY, place, "POST .*/aimodels$")
    live = set(LIVE["neevcloud"](place))
    write(DEPLOY, place, "chat", "assistant", moved=True)
    settled(place, "neevcloud", "assistant", live)


def test_moved_does_not_hide_what_cannot_be_told(place: Place) -> None:
    """No look is answered: a targeted apply of the new address is refused as well, and sends nothing."""
    killed_in_flight(DEPLOY, place, "POST .*/aimodels$")
    live = set(LIVE["neevcloud"](place))
    write(DEPLOY, place, "chat", "assistant", moved=True)
    data = place.world("neevcloud")["data"]
    for held in data["deployments"].values():
        held.get("spec", held)["gpu_count"] = 4
    place.control("PUT", "neevcloud", "data", data)
    ended = place.run("apply", "--auto-approve", "--target", "assistant")
    assert ended.code == 1, ended
    assert "an earlier run left assistant uncertain" in " ".join(ended.err.split())
    assert set(LIVE["neevcloud"](place)) == live
