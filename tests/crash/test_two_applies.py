"""Two commands want one state: one works, the other is told who holds it and how to go on; the dead hold nothing."""

from __future__ import annotations

import json
import re
from collections import Counter

from tests.support.crash import Place, Running, soon
from tests.support.crash_cases import CASES, LIVE, Case

DEPLOY = next(case for case in CASES if case.name == "neevcloud-deploy")
UNLOCK = re.compile(r"reconciler unlock (\S+)")


def hold(place: Place, case: Case = DEPLOY) -> Running:
    """An apply that waits for a deployment for as long as we like, under way."""
    case.lay_out(place)
    place.control("PUT", case.type, "knobs", {"never_ready": True})
    run = place.start("apply", "--auto-approve")
    with soon("the deployment is there") as again:
        while not LIVE[case.type](place):
            again()
    return run


def let_come(place: Place) -> None:
    """What never became ready is ready now."""
    place.control("PUT", "neevcloud", "knobs", {"never_ready": False})
    data = place.world("neevcloud")["data"]
    for held in data["deployments"].values():
        held["phases"] = [[0.0, "ready", 1]]
    place.control("PUT", "neevcloud", "data", data)


def finish(place: Place, run: Running) -> None:
    """Kill the holder, and see that one more apply ends well."""
    run.kill()
    assert run.wait().killed
    let_come(place)
    ended = place.apply()
    assert ended.code == 0, ended
    assert len(LIVE["neevcloud"](place)) == 1


def status(place: Place) -> dict[str, object]:
    found: dict[str, object] = json.loads(place.run("lock", "status", "--format", "json").out)
    return found


def test_the_second_apply_is_told_who_holds_the_lock(place: Place) -> None:
    """Exit 5 with user, host, pid, command, since when, lock id and the complete unlock line; nothing was changed."""
    run = hold(place)
    second = place.apply()
    assert second.code == 5, second
    holder = status(place)["holder"]
    assert isinstance(holder, dict)
    for fact in (holder["host"], f"pid {run.pid}", "apply", holder["since"], holder["id"]):
        assert str(fact) in second.err, second
    assert UNLOCK.findall(second.err) == [holder["id"]]
    assert second.out == ""
    finish(place, run)


def test_the_unlock_line_is_complete(place: Place) -> None:
    """It carries -C and -f, so that it can be pasted where it is read."""
    run = hold(place)
    second = place.commands.run(place.folder.parent, "-C", "stack", "-f", "reconciler.yaml", "apply", "--auto-approve")
    assert second.code == 5, second
    assert "reconciler -C stack -f reconciler.yaml unlock " in second.err, second
    finish(place, run)


def test_a_dead_holder_is_taken_over_and_it_is_said(place: Place) -> None:
    """After kill -9 nobody has to unlock anything: the next apply says whose lock it took, and goes on."""
    run = hold(place)
    assert status(place)["state"] == "held"
    run.kill()
    assert run.wait().killed
    assert status(place)["state"] == "abandoned"
    let_come(place)
    ended = place.apply()
    assert "took over the lock of" in ended.err, ended
    assert f"pid {run.pid}" in ended.err, ended
    assert status(place)["state"] == "free"


def test_a_plan_needs_no_lock(place: Place) -> None:
    """Reading goes on while somebody applies, and writes nothing."""
    run = hold(place)
    before = sorted((path.name, path.read_bytes()) for path in place.state_folder.iterdir() if path.is_file())
    assert place.run("plan").code == 0
    assert place.run("drift").code in (0, 2)
    after = sorted((path.name, path.read_bytes()) for path in place.state_folder.iterdir() if path.is_file())
    assert before == after
    finish(place, run)


def test_a_living_holder_is_not_unlocked(place: Place) -> None:
    """`unlock` refuses while the holder lives, and for a wrong id; it says why."""
    run = hold(place)
    holder = status(place)["holder"]
    assert isinstance(holder, dict)
    alive = place.run("unlock", str(holder["id"]))
    assert alive.code == 1, alive
    assert "alive" in alive.err
    run.kill()
    run.wait()
    wrong = place.run("unlock", "another")
    assert wrong.code == 1, wrong
    assert str(holder["id"]) in wrong.err
    right = place.run("unlock", str(holder["id"]))
    assert right.code == 0, right
    assert status(place)["state"] == "free"
    again = place.run("unlock", str(holder["id"]))
    assert again.code == 1, again


def test_unlock_needs_nothing_but_the_folder(place: Place) -> None:
    """Neither a readable state, nor a provider, nor the file's variables: it works when everything else is broken."""
    run = hold(place)
    run.kill()
    run.wait()
    (state,) = place.state_folder.glob("*.state.json")
    state.write_text("{ broken")
    (place.folder / "reconciler.yaml").write_text(
        "version: 1\nstack: crash\nvariables: {a: {type: string}}\nx: ${var.a}\n"
    )
    holder = status(place)["holder"]
    assert isinstance(holder, dict)
    ended = place.run("unlock", str(holder["id"]))
    assert ended.code == 0, ended


def test_waiting_for_the_lock_ends_with_the_holder(place: Place) -> None:
    """`--lock-timeout` waits, says for whom, and goes on as soon as the holder is gone."""
    run = hold(place)
    waiting = place.start("apply", "--auto-approve", "--lock-timeout", "30s")
    with soon("it says for whom it waits") as again:
        while "waiting for the lock" not in waiting.err.read_text():
            again()
    assert f"pid {run.pid}" in waiting.err.read_text()
    run.kill()
    run.wait()
    let_come(place)
    ended = waiting.wait()
    assert ended.code == 0, ended
    assert len(LIVE["neevcloud"](place)) == 1


def test_many_applies_at_once_deploy_one(place: Place) -> None:
    """Of applies that start together each works alone: all end well or are told to wait, and one object is there."""
    DEPLOY.lay_out(place)
    runs = [place.start("apply", "--auto-approve", "--lock-timeout", wait) for wait in ("0s", "20s", "0s", "20s")]
    codes = Counter(run.wait().code for run in runs)
    assert set(codes) <= {0, 5}, codes
    assert codes[0] >= 2, codes
    assert len(LIVE["neevcloud"](place)) == 1
    assert place.run("plan", "--detailed-exitcode").code == 0
