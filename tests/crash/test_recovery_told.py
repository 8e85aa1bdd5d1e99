"""After a killed run the next command tells of it: which run, at which step, and what became of what was uncertain."""

from __future__ import annotations

import json

import pytest

from tests.support.crash import Ended, Place, soon
from tests.support.crash_cases import CASES, LIVE, Case, kill_in_flight, stack

CASE = next(case for case in CASES if case.name == "neevcloud-deploy")
MU = next(case for case in CASES if case.name == "modelstudio-deploy").after["chat"]
READS = (("plan",), ("drift",))
WRITES = (("apply", "--auto-approve"), ("destroy", "--auto-approve"))
ALL = pytest.mark.parametrize("command", [*READS, *WRITES], ids=lambda words: str(words[0]))
WHO = "The last run (`reconciler apply"


def killed_before_sending(place: Place) -> None:
    """The intent is on disk, the request never left."""
    CASE.lay_out(place)
    ended = place.run("apply", "--auto-approve", points=True, target=("after intent:create", 0))
    assert ended.killed, ended


def killed_in_flight(place: Place) -> None:
    """The provider did it, and nobody heard."""
    CASE.lay_out(place)
    kill_in_flight(CASE, place, "POST .*/aimodels$")


def flat(ended: Ended) -> str:
    """All that was said, without line breaks."""
    return " ".join(f"{ended.out} {ended.err}".split())


def tells_who(text: str) -> None:
    assert "The last run (`" in text, text
    assert "apply" in text.partition("The last run (`")[2][:60], text


@ALL
def test_what_took_effect_is_told(command: tuple[str, ...], place: Place) -> None:
    """Found: it says at which step the run ended, that the step took effect, and its id; nothing is deployed twice."""
    killed_in_flight(place)
    (id_,) = LIVE["neevcloud"](place)
    ended = place.run(*command)
    text = flat(ended)
    tells_who(text)
    assert "ended at step create of deploy chat" in text
    assert f"It took effect (id {id_})" in text
    assert ended.code in (0, 2), ended
    assert len(LIVE["neevcloud"](place)) == (0 if command[0] == "destroy" else 1)


@ALL
def test_what_is_not_there_is_told(command: tuple[str, ...], place: Place) -> None:
    """Absent: it says so, and that it will be done again where the command does so."""
    killed_before_sending(place)
    ended = place.run(*command)
    text = flat(ended)
    tells_who(text)
    again = ", so it will be done again." if command[0] in ("plan", "apply") else "."
    assert f"ended at step create of deploy chat. It is not there{again} " in text
    assert "done again" in again or "done again" not in text
    assert ended.code in (0, 2), ended
    assert len(LIVE["neevcloud"](place)) == (1 if command[0] == "apply" else 0)


def test_what_is_not_wanted_any_more_is_not_done_again(place: Place) -> None:
    """The file declares it no longer: it is not there, and nothing is said of doing it again."""
    killed_before_sending(place)
    place.write(stack(place, {}))
    ended = place.run("apply", "--auto-approve")
    assert ended.code == 0, ended
    assert "ended at step create of deploy chat. It is not there. " in flat(ended)
    assert "done again" not in flat(ended)
    assert LIVE["neevcloud"](place) == {}


@ALL
def test_what_cannot_be_told_is_told_with_the_choices(command: tuple[str, ...], place: Place) -> None:
    """Something is there that may be somebody else's: nothing is changed, and the commands to choose from are named."""
    killed_in_flight(place)
    data = place.world("neevcloud")["data"]
    (held,) = data["deployments"].values()
    held["spec" if "spec" in held else "gpu_count"] = 4 if "spec" not in held else {**held["spec"], "gpu_count": 4}
    place.control("PUT", "neevcloud", "data", data)
    (id_,) = LIVE["neevcloud"](place)
    ended = place.run(*command)
    text = flat(ended)
    tells_who(text)
    assert ended.code == 1, ended
    assert f"`reconciler import chat {id_}` takes it over" in text
    assert "`reconciler state rm chat` gives up the step" in text
    assert list(LIVE["neevcloud"](place)) == [id_]


@ALL
def test_a_killed_run_that_left_nothing_uncertain_is_told(command: tuple[str, ...], place: Place) -> None:
    """One note: which run did not end, and the last that it wrote down."""
    CASE.lay_out(place)
    assert place.run("apply", "--auto-approve", points=True, target=("before ended:done", 0)).killed
    ended = place.run(*command)
    text = flat(ended)
    tells_who(text)
    assert text.count("did not end; the last that it wrote down: chat is ready") == 1, ended
    assert ended.code == 0, ended


@pytest.mark.parametrize("effect", [True, False], ids=["it took effect", "it did not"])
def test_a_change_that_was_under_way_is_told(effect: bool, place: Place) -> None:
    """A killed scale: which run it was, that the scale was not seen to end, and what is found of it."""
    case = next(case for case in CASES if case.name == "neevcloud-scale")
    case.lay_out(place)
    if effect:
        kill_in_flight(case, place, "PUT .*/scale$")
    else:
        ended = place.run("apply", "--auto-approve", points=True, target=("after started+entry:scale", 0))
        assert ended.killed, ended
    text = flat(place.run("plan"))
    assert "did not end; the last that it wrote down: chat: scale not finished" in text
    assert "its scale was not seen to end (interrupted)" in text
    assert ("it is as declared now" in text or "apply waits for it" in text) is effect
    assert place.apply().code == 0


def test_a_provider_that_targets_leave_out_is_not_asked_after(place: Place) -> None:
    """Another provider's deployment is targeted: nothing is said of the step, it stays open, and the next run tells."""
    killed_before_sending(place)
    other = Case("modelstudio", "beside", None, {"help": MU}, {}, ())
    other.lay_out(place)
    both = {
        "chat": {"provider": "neevcloud", "spec": CASE.after["chat"]},
        "help": {"provider": "modelstudio", "spec": MU},
    }
    place.write(stack(place, both))
    ended = place.run("apply", "--auto-approve", "--target", "help")
    assert ended.code == 0, ended
    assert "not connected" not in flat(ended)
    assert "step create of deploy chat" not in flat(ended)
    text = flat(place.run("plan"))
    assert "An earlier run (`apply`" in text
    assert "ended at step create of deploy chat. It is not there" in text


def test_it_is_told_once(place: Place) -> None:
    """The apply that took it up has ended, so the next plan says nothing of the killed one any more."""
    CASE.lay_out(place)
    assert place.run("apply", "--auto-approve", points=True, target=("before ended:done", 0)).killed
    assert place.apply().code == 0
    assert "did not end" not in flat(place.run("plan"))


MUTE = pytest.mark.parametrize(
    "command",
    [("state", "mv", "chat", "bot"), ("state", "rm", "chat"), ("import", "chat", "ID"), ("state", "push", "copy.json")],
    ids=lambda words: "-".join(words[:2]),
)


@MUTE
def test_a_command_that_does_not_tell_leaves_it_to_be_told(command: tuple[str, ...], place: Place) -> None:
    """A killed apply, then a command that shows no plan: the next plan still tells, the apply after it does so last."""
    CASE.lay_out(place)
    assert place.run("apply", "--auto-approve", points=True, target=("before ended:done", 0)).killed
    (id_,) = LIVE["neevcloud"](place)
    copy = json.loads(place.run("state", "pull").out)
    (place.folder / "copy.json").write_text(json.dumps({**copy, "serial": copy["serial"] + 1, "outputs": {"a": 1}}))
    ended = place.run(*(id_ if word == "ID" else word for word in command))
    assert ended.code == 0, ended
    if command[:2] == ("state", "mv"):
        place.write(stack(place, {"bot": {"provider": "neevcloud", "spec": {"name": "chat", **CASE.after["chat"]}}}))
    if command[:2] == ("state", "rm"):
        place.write(CASE.file(place, CASE.after, {"adopt": True}))
    for words in (("plan",), ("apply", "--auto-approve")):
        ended = place.run(*words)
        assert ended.code == 0, ended
        assert "did not end; the last that it wrote down: chat is ready" in flat(ended), ended
    assert "did not end" not in flat(place.run("plan"))


def test_a_run_under_way_is_not_called_killed(place: Place) -> None:
    """A plan beside a running apply says that it runs."""
    CASE.lay_out(place)
    place.control("PUT", "neevcloud", "knobs", {"deploy_seconds": 1e6})
    run = place.start("apply", "--auto-approve")
    with soon("it waits") as again:
        while not (LIVE["neevcloud"](place) and "did not end" not in flat(place.run("plan")) and
                   "A run is under way" in flat(place.run("plan"))):  # fmt: skip
            again()
    run.kill()
    run.wait()
    assert "did not end" in flat(place.run("plan"))
