"""SIGINT and SIGTERM: what is under way is written down, nothing new starts, and the exit code tells which it was."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.crash import Place, environment, soon
from tests.support.crash_bench import Bench, numbered
from tests.support.crash_cases import CASES, LIVE, Case, seen

NAMED = {case.name: case for case in CASES}
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
WAITS = ["neevcloud-deploy", "neevcloud-scale", "modelstudio-deploy", "nugen-deploy", "opensearch-deploy",
         "neevcloud-undeploy", "opensearch-deploy-local"]  # fmt: skip
SLOW = dict.fromkeys(("deploy_seconds", "scale_seconds", "undeploy_seconds", "register_seconds"), 400.0)
QUICK = dict.fromkeys(SLOW, 1.0)
EVERYWHERE = ["neevcloud-deploy", "modelstudio-replace-create-first", "nugen-replace", "opensearch-update"]
HARMS = {"SIGTERM": 143, "SIGINT": 130, "SIGINT+SIGINT": 130}  # and the exit code where nothing was being changed


def under_way(place: Place, case: Case) -> Callable[[], bool]:
    """Whether the first changing request has reached the provider."""
    before = place.server.call("GET", "/_sandbox/requests")["counts"]
    world = place.worlds[case.type]
    method = "DELETE" if case.verb == "undeploy" else "PUT" if case.verb == "scale" else "POST"
    name = f"{world} {method}"

    def begun() -> bool:
        now = place.server.call("GET", "/_sandbox/requests")["counts"]
        return bool(now.get(name, 0) - before.get(name, 0) >= (4 if case.type == "opensearch" else 1))

    return begun


@BOTH
@pytest.mark.parametrize("name", WAITS)
def test_a_signal_while_it_waits(name: str, number: int, place: Place) -> None:
    """One signal during an apply: exit 3 within 5 seconds, the state tells the truth, and the next apply goes on."""
    case = NAMED[name]
    bench = Bench(case, place)
    place.control("PUT", case.type, "knobs", SLOW)
    begun = under_way(place, case)
    run = place.start("apply", "--auto-approve", *case.flags)
    with soon("it is under way") as again:
        while not begun():
            again()
    since = time.monotonic()
    run.kill(number)
    ended = run.wait()
    assert ended.code == 3, ended
    assert time.monotonic() - since < 5.0
    assert " interrupted after " in ended.err
    assert "FAILED" not in ended.err
    (entry,) = place.state()["deployments"].values()
    assert entry["pending"], entry
    place.control("PUT", case.type, "knobs", QUICK)
    hurry(place, case)
    bench.mend(ended)


def hurry(place: Place, case: Case) -> None:
    """Let come now what is to come late in the simulator's data."""
    data = place.world(case.type)["data"]
    clock = place.world(case.type)["clock"]
    now = clock["own"] + (time.time() - clock["wall"]) * clock["speed"]

    def sooner(tree: object) -> object:
        if isinstance(tree, float) and tree > now:
            return now
        if isinstance(tree, dict):
            return {key: sooner(item) for key, item in tree.items()}
        return [sooner(item) for item in tree] if isinstance(tree, list) else tree

    place.control(
        "PUT", case.type, "data", {**data, **{key: sooner(item) for key, item in data.items() if key != "tokens"}}
    )


@BOTH
def test_a_second_signal_ends_it_at_once(number: int, place: Place) -> None:
    """With a request that does not come back, the second signal does not wait for it; the next apply looks it up."""
    case = NAMED["neevcloud-deploy"]
    bench = Bench(case, place)
    place.control("POST", case.type, "faults", [{"match": "POST .*/aimodels$", "kind": "delay:4"}])
    text = (place.folder / "reconciler.yaml").read_text()
    place.write(text.replace('"timeout": 0.4', '"timeout": 20'))
    run = place.start("apply", "--auto-approve")
    with soon("the request came") as again:
        while place.world(case.type)["faults"]:
            again()
    since = time.monotonic()
    run.kill(number)
    time.sleep(0.1)
    run.kill(number)
    ended = run.wait()
    assert time.monotonic() - since < 2.0
    assert ended.code == 3, ended
    place.write(text)
    bench.mend(ended)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_signal_at_every_journal_point(name: str, harm: str, place: Place) -> None:
    """Wherever it comes: exit 3, or 0 when all was done, or 130, 143 when nothing was begun; the next apply goes on.

    SIGTERM at every point; SIGINT before and after every other record, SIGINT twice around those between."""
    case = NAMED[name]
    bench = Bench(case, place)
    before = seen(place, case)
    targets = [target for target in numbered(bench.begin(None).points) if not target[0].startswith("torn")]
    share = {"SIGINT": 0, "SIGINT+SIGINT": 1}.get(harm)
    codes = Counter[int]()
    for target in (one for number, one in enumerate(targets) if share in (None, number // 2 % 2)):
        ended = bench.begin(target, harm)
        codes[ended.code] += 1
        assert ended.code in (0, 3, HARMS[harm]), ended
        if ended.code == HARMS[harm]:
            assert seen(place, case) == before, ended
        assert "internal error" not in ended.err, ended
        assert "Traceback" not in ended.err, ended
        assert "not locked" in place.run("lock", "status").out, ended
        bench.mend(ended)
    assert codes[3], codes


@BOTH
def test_a_signal_during_a_plan(number: int, place: Place) -> None:
    """A plan changes nothing: 130 and 143."""
    case = NAMED["neevcloud-deploy"]
    case.lay_out(place)
    place.control("POST", case.type, "faults", [{"match": "GET .*/aimodels$", "kind": "delay:5", "times": 5}])
    place.write((place.folder / "reconciler.yaml").read_text().replace('"timeout": 0.4', '"timeout": 20'))
    run = place.start("plan")
    with soon("it asks") as again:
        while place.world(case.type)["faults"][0]["times"] == 5:
            again()
    run.kill(number)
    ended = run.wait()
    assert ended.code == 128 + number, ended
    assert ended.out == ""


@BOTH
def test_a_signal_while_it_waits_for_the_lock(number: int, place: Place) -> None:
    """Nothing was begun: 130 and 143, and the holder is not disturbed."""
    case = NAMED["neevcloud-deploy"]
    case.lay_out(place)
    place.control("PUT", case.type, "knobs", {"deploy_seconds": 100.0})
    holder = place.start("apply", "--auto-approve")
    with soon("the holder is under way") as again:
        while not LIVE[case.type](place):
            again()
    waiting = place.start("apply", "--auto-approve", "--lock-timeout", "60s")
    with soon("it waits") as again:
        while "waiting for the lock" not in waiting.err.read_text():
            again()
    waiting.kill(number)
    ended = waiting.wait()
    assert ended.code == 128 + number, ended
    assert "nothing was being changed" in ended.err
    assert holder.wait().code == 0
    assert len(LIVE[case.type](place)) == 1


@BOTH
def test_a_signal_at_the_prompt(number: int, place: Place) -> None:
    """Nothing was begun: 130 and 143, nothing is at the provider, no lock stays behind."""
    case = NAMED["neevcloud-deploy"]
    case.lay_out(place)
    ours, theirs = pty.openpty()
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a job behind `&` ignores it
    code = f"{heeded}; from reconciler.cli.entry import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "apply"], stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL,
        cwd=place.folder, env=environment(),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"Do you want to" not in shown:
        shown += os.read(ours, 4096)
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    os.close(ours)
    assert LIVE[case.type](place) == {}
    assert "not locked" in place.run("lock", "status").out
    assert not list(place.state_folder.glob("*.state.json"))
