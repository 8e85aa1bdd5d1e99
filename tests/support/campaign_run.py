"""One run of the fault campaign: a story told in peace, told again with trouble, mended without, and compared.

`Lane` is a server and a forking process; lanes run side by side. All that a run does follows from its seed, but for
what a random moment or the machine's load makes of it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.support import campaign_judge as judge
from tests.support import campaign_stories, campaign_strangers, campaign_trouble
from tests.support.campaign_child import SPOILT, TYPES, CampaignCommands, Spoil
from tests.support.campaign_stories import Story
from tests.support.campaign_trouble import Trouble
from tests.support.crash import CREDENTIALS, SPEED, Ended, Place, Running, Server, environment
from tests.support.crash_cases import KNOBS, LIVE, SETTINGS, by_hand, stack

CALM = {"lag": 0.0, "shuffle": False, "fail_deploys": 0, "token_seconds": 3600.0, "latency": 0.0}
LEGAL = {0, 1, 3, 130, 143, -signal.SIGKILL, -signal.SIGTERM}  # the last: before the command line had begun
PATIENCE = 4.0  # seconds after which a disturbed command is asked to end, as a deploy may never get ready
STALE = 4
PLAN = "plan.json"
GIVE_UP = 60.0
MENDS = 3
PEACE: Sequence[Spoil] = [("patient", 0, 0)]
MEMORY = "/dev/shm"
LOGIN = {"NEEVCLOUD_EMAIL": "sandbox@example.invalid", "NEEVCLOUD_PASSWORD": "sandbox-password"}

SUMS = ("runs", "faults", "kills", "signals", "doubled", "lost", "untruthful", "unfinished")


@dataclass
class Tally:
    """What happened in one run, or in all."""

    runs: int = 0
    faults: int = 0
    kills: int = 0
    signals: int = 0
    doubled: int = 0
    lost: int = 0
    untruthful: int = 0
    unfinished: int = 0
    mends: Counter[int] = field(default_factory=Counter)  # runs by how many applies mended them
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)  # killed at (journal point, provider type)
    kinds: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    again: list[str] = field(default_factory=list)  # why more than one apply was needed to mend
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("cells", "kinds", "codes", "mends"):
            getattr(self, name).update(getattr(other, name))
        self.again += other.again
        self.problems += other.problems

    def dump(self) -> dict[str, Any]:
        """As JSON, for another process; what is told in words stays here."""
        counts = ("cells", "kinds", "codes", "mends")
        return {
            **{name: getattr(self, name) for name in SUMS},
            **{name: [[*item] for item in getattr(self, name).items()] for name in counts},
            "again": self.again,
        }

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> Tally:
        counts = {
            name: Counter({tuple(key) if isinstance(key, list) else key: number for key, number in raw[name]})
            for name in ("cells", "kinds", "codes", "mends")
        }
        return cls(**{name: raw[name] for name in SUMS}, **counts, again=list(raw["again"]))

    @property
    def bad(self) -> int:
        return self.doubled + self.lost + self.untruthful + self.unfinished

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, {self.faults} faults, {self.kills} kills, {self.signals} other signals: "
            f"doubled {self.doubled}, lost {self.lost}, untruthful states {self.untruthful}, "
            f"unfinished {self.unfinished}"
        )


class Lane:
    """A pair of processes that one run after the other uses."""

    def __init__(self) -> None:
        self.server, self.commands = Server(), CampaignCommands()
        quick = MEMORY if os.access(MEMORY, os.W_OK) else None  # a kill loses nothing that a sync would have kept
        self.folder = Path(tempfile.mkdtemp(prefix="campaign-", dir=quick))
        self.places = 0

    def close(self) -> None:
        self.server.close()
        self.commands.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Run:
    """One seed. `sabotage` takes a promise out of the product in the disturbed commands (negative controls); `aim` is
    a journal point at which the first of them is killed, whatever the seed says."""

    def __init__(self, seed: int, lane: Lane, sabotage: str = "", aim: str = "") -> None:
        self.seed, self.lane, self.sabotage, self.aim = seed, lane, sabotage, aim
        self.random = Random(seed)
        self.focus = list(TYPES.values())[seed % 4]
        self.tally = Tally(runs=1)
        self.history: list[str] = []
        self.vanished: set[str] = set()
        self.usual = PATIENCE  # seconds that the command takes in peace
        self.strangers: dict[str, campaign_strangers.Rows] = {}
        self.story: Story = campaign_stories.draw(self.random, self.focus)
        lane.places += 1  # a seed may be played more than once, aimed at different points
        folder = lane.folder / f"{seed}-{lane.places}" / "stack"
        folder.mkdir(parents=True)
        self.place = Place(folder, lane.server, lane.commands, f"r{seed}-{lane.places}")
        login = self.story.login and "neevcloud" in self.story.types
        self.variables = environment(**LOGIN) if login else environment()
        if login:
            del self.variables["NEEVCLOUD_ACCESS_TOKEN"]

    def play(self) -> Tally:
        """All of it."""
        self.lane.commands.spoils, self.lane.commands.variables = PEACE, self.variables
        self.history.append(f"seed {self.seed}: {self.story.told()}")
        self._lay_out()
        restore = self.place.snapshot()
        before = judge.ids(self.place)
        began = time.monotonic()
        points = self._calm("undisturbed", self._apply_line(), points=True).points
        usual = self.usual = time.monotonic() - began
        wanted, said = judge.things(self.place), judge.told(self.place)
        restore()
        if self.story.saved:
            self._calm("planned", ["plan", "--out", PLAN, "--allow-undeploys", "99"])
        for number in range(self.random.choice([1, 1, 2, 3])):
            trouble = campaign_trouble.draw(self.random, self.story, self.focus, points, usual)
            saved = self.story.saved == "disturbed" and (number == 0 or self.random.random() < 0.3)
            line = self._saved_line() if saved else self._apply_line()
            self._disturb(self._directed() if self.sabotage or self.aim else trouble, line)
            self.aim = ""
            for problem in [*judge.unknown(self.place, before), *judge.lies(self.place, self.vanished)]:
                self._problem("untruthful", f"right after it: {problem}")
        judge.hurry(self.place)
        renamed = self._rename()
        self._mend()
        if renamed:
            said = judge.renamed(said, *renamed)
        self._judge(wanted, said, before)
        shutil.rmtree(self.place.folder.parent, ignore_errors=True)
        return self.tally

    # --- in peace -----------------------------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        place, story = self.place, self.story
        for type_ in story.types:
            place.control("PUT", type_, "knobs", {**KNOBS[type_], **CALM})
            place.control("POST", type_, "presuppose", {"specs": story.specs(type_), "settings": SETTINGS[type_]})
        if story.strangers:
            campaign_strangers.settle(place, story.types)
        self.strangers = campaign_strangers.rows(place) if story.strangers else {}
        if story.before:
            place.write(stack(place, story.before))
            self._calm("laid out", ["apply", "--auto-approve"])
        for address in story.unknown:
            self._calm("forgotten", ["state", "rm", address])
        place.write(stack(place, story.after))

    def _apply_line(self) -> list[str]:
        if self.story.destroy:
            return ["destroy", "--auto-approve"]
        return ["apply", "--auto-approve", "--allow-undeploys", "99", "--parallelism", str(self.story.parallelism)]

    def _saved_line(self) -> list[str]:
        return ["apply", PLAN, "--parallelism", str(self.story.parallelism)]

    def _calm(self, what: str, line: Sequence[str], *, points: bool = False) -> Ended:
        ended = self.place.run(*line, points=points)
        assert ended.code == 0, f"seed {self.seed}: {what}: {self.story.told()}: {ended}"
        return ended

    def _directed(self) -> Trouble:
        """The harm that is asked for: at a point, or what the promise heals that was taken out."""
        if self.aim:
            return Trouble(aim=(self.aim, 0))
        creates = campaign_trouble.CREATES[self.focus]
        match self.sabotage:
            case "no-intents":
                return Trouble(in_flight=(self.focus, creates))
            case "blind-retries":
                return Trouble(faults={self.focus: [{"match": creates, "kind": "cut_after", "times": 1}]})
            case _:
                return Trouble(aim=(f"after IntentClosed@{self.focus}", 0))

    # --- with trouble -------------------------------------------------------------------------------------------------
    def _disturb(self, trouble: Trouble, line: Sequence[str]) -> None:
        self.history.append(f"trouble: {' '.join(line)}: {trouble.told()}")
        place = self.place
        rules = {type_: list(rules) for type_, rules in trouble.faults.items()}
        if trouble.in_flight:
            type_, match = trouble.in_flight
            rules[type_] = [{"match": match, "kind": "delay:3"}]
        lag = max((knobs.get("lag", 0.0) for knobs in trouble.knobs.values()), default=0.0)
        time.sleep(lag / SPEED)  # a list may be late; it does not take back what it has shown
        for type_ in place.worlds:
            if "token_seconds" in trouble.knobs.get(type_, {}):  # what ended before is none of this command's
                place.control("PUT", type_, "data", {**place.world(type_)["data"], "tokens": {}})
            place.control("PUT", type_, "knobs", trouble.knobs.get(type_, {}))
            place.control("DELETE", type_, "effects")
            place.control("POST", type_, "faults", rules.get(type_, []))
        spoils: list[Spoil] = [*trouble.spoils, *([(self.sabotage, 0, 0)] if self.sabotage else [])]
        self.lane.commands.spoils = spoils
        running = self.lane.commands.start(place.folder, *line, points=True, target=trouble.aim, harm=trouble.harm)
        with self._meanwhile(trouble, running):
            ended = running.wait()
        self.lane.commands.spoils = PEACE
        self._count(trouble, ended)
        self.history.append(str(ended))
        if ended.code not in LEGAL and not (ended.code == STALE and PLAN in line):
            self._problem("unfinished", f"exit code {ended.code}")
        if "Traceback" in ended.err or "internal error" in ended.err:
            self._problem("unfinished", "an internal error")
        self._keeps_secrets(ended)
        for type_ in place.worlds:
            place.control("DELETE", type_, "faults")
            place.control("PUT", type_, "knobs", {**KNOBS[type_], **CALM})

    @contextlib.contextmanager
    def _meanwhile(self, trouble: Trouble, running: Running) -> Iterator[None]:
        """Signals, kills and vanishing while a command runs, each by a thread of its own."""
        over = threading.Event()

        def send(after: float, name: str) -> None:
            if not over.wait(after):
                with contextlib.suppress(ProcessLookupError):
                    running.kill(signal.Signals[name])
                    self.tally.signals += name != "SIGKILL"

        def in_flight(type_: str) -> None:
            while not over.wait(0.005):
                if not self.place.control("GET", type_, "faults"):  # used up: the simulator has acted
                    send(0.0, "SIGKILL")
                    return

        hopeless = any("deploy_seconds" in knobs for knobs in trouble.knobs.values())
        patience = min(PATIENCE, 0.5 + 2.0 * self.usual) if hopeless else PATIENCE
        timers = [*trouble.signals, (patience, "SIGTERM"), (GIVE_UP, "SIGABRT")]
        threads = [threading.Thread(target=send, args=timer) for timer in timers]
        if trouble.in_flight:
            threads.append(threading.Thread(target=in_flight, args=trouble.in_flight[:1]))
        if trouble.vanish:
            type_, after = trouble.vanish
            threads.append(threading.Thread(target=lambda: over.wait(after) or self._vanish(type_)))
        for thread in threads:
            thread.start()
        yield
        over.set()
        for thread in threads:
            thread.join()

    def _vanish(self, type_: str) -> None:
        """Somebody undeploys one by hand."""
        try:
            live = sorted(id_ for id_ in LIVE[type_](self.place) if not id_.startswith(campaign_strangers.MARK))
        except (OSError, ValueError, http.client.HTTPException):  # Nugen knows no model, or the simulator refuses
            return
        if not live:
            return
        id_ = self.random.choice(live)
        method, path = {
            "neevcloud": ("DELETE", f"aimodels/api/v1beta1/orgs/org-abc123/projects/prj-abc123/aimodels/{id_}"),
            "modelstudio": ("DELETE", f"deployments/{id_}"),
            "nugen": ("DELETE", f"models/undeploy-model/{id_}"),
            "opensearch": ("POST", f"_plugins/_ml/models/{id_}/_undeploy"),
        }[type_]
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            by_hand(self.place, type_, method, path)
            self.vanished.add(id_)
            self.tally.kinds["vanished"] += 1

    def _count(self, trouble: Trouble, ended: Ended) -> None:
        """Only what took effect, as simulators and command report it; a knob once for each command and provider."""
        tally = self.tally
        for type_ in self.place.worlds:
            effects: dict[str, int] = self.place.control("GET", type_, "effects")
            knobs = trouble.knobs.get(type_, {})
            tally.kinds.update({kind: 1 if kind in knobs else number for kind, number in effects.items()
                                if kind in knobs or kind not in CALM})  # fmt: skip
            if "fail_deploys" in knobs:
                tally.kinds["fail_deploys"] += self.place.control("PUT", type_, "knobs", {})["fail_deploys"] == 0
            if "deploy_seconds" in knobs:
                tally.kinds["never ready"] += judge.never(self.place, type_)
        tally.kinds.update(point.removeprefix(SPOILT) for point in ended.points if point.startswith(SPOILT))
        tally.kinds += Counter()  # without those that did not occur
        tally.kills += ended.killed
        tally.codes[ended.code] += 1
        if trouble.aim and ended.code != 0:
            point, _, type_ = trouble.aim[0].partition("@")
            points = [one for one in ended.points if not one.startswith(SPOILT)]
            if ended.killed and points and point.partition(" ")[2] in points[-1]:
                tally.cells[point, type_ or self.focus] += 1
        tally.faults = sum(tally.kinds.values())

    def _keeps_secrets(self, ended: Ended) -> None:
        texts = [ended.out, ended.err]
        texts += [path.read_text(errors="replace") for path in self.place.state_folder.rglob("*") if path.is_file()]
        for secret in (*CREDENTIALS.values(), LOGIN["NEEVCLOUD_PASSWORD"]):
            if any(secret in text for text in texts):
                self._problem("untruthful", f"{secret} is written somewhere")

    # --- afterwards ---------------------------------------------------------------------------------------------------
    def _rename(self) -> tuple[str, str] | None:
        """Give one another address; from and to. None where the state has nothing to move, or refuses to."""
        if self.story.renamed is None:
            return None
        how, old, new = self.story.renamed
        more: dict[str, Any] = {"moved": [{"from": old, "to": new}]}
        if how == "state mv":
            ended = self.place.run("state", "mv", old, new)
            self.history.append(f"state mv {old} {new}: {ended}")
            if ended.code not in (0, 1) or "internal error" in ended.err:
                self._problem("unfinished", f"state mv: exit code {ended.code}")
            if ended.code:
                return None
            more = {}
        self.place.write(stack(self.place, self.story.then, **more))
        return old, new

    def _mend(self) -> None:
        """One more apply; of a saved plan first, if the story says so, which may be stale by now."""
        if self.story.saved == "mending":
            ended = self.place.run(*self._saved_line())
            self.history.append(f"mending by the saved plan: {ended}")
            if ended.code not in (0, STALE):
                self._problem("unfinished", f"the saved plan without faults: exit code {ended.code}")
        for number in range(1, MENDS + 1):
            ended = self.place.run(*self._apply_line())
            self.history.append(f"mending: {ended}")
            if "Traceback" in ended.err or "internal error" in ended.err:
                self._problem("unfinished", "an internal error")
            if ended.code == 0:
                self.tally.mends[number] += 1
                return
            self._more(ended)
        self._problem("unfinished", f"not done after {MENDS} runs without faults")

    def _judge(self, wanted: Counter[judge.Thing], said: Mapping[str, Any], before: Mapping[str, set[str]]) -> None:
        place = self.place
        doubled, lost, words = judge.compare(judge.things(place), wanted)
        for problem in words:
            self._problem("", problem)
        touched = campaign_strangers.touched(self.strangers, campaign_strangers.rows(place))
        for problem in touched:
            self._problem("lost", problem)
        forgotten = judge.unknown(place, before)
        for problem in forgotten:
            self._problem("lost", problem)
        self.tally.doubled += doubled
        self.tally.lost += lost
        if words and not (doubled or lost):
            self._problem("unfinished", "the world is not as an undisturbed run leaves it")
        for address, entry in self._state().items():
            if said.get(address) != entry:
                self._problem("untruthful", f"the state says of {address} {entry}, undisturbed {said.get(address)}")
        if missing := said.keys() - self._state().keys():
            self._problem("untruthful", f"the state lacks {sorted(missing)}")
        if not self.story.destroy and self.place.run("plan", "--detailed-exitcode").code != 0:
            again = place.run("plan", "--detailed-exitcode")
            if again.code != 0:
                self._problem("untruthful", f"the plan is not empty: {again}")

    def _more(self, ended: Ended) -> None:
        """Why one apply was not enough. By design only where a deploy failed at the provider: the next replaces it."""
        why = " ".join(line for line in ended.err.splitlines() if "error" in line or "FAILED" in line)
        self.tally.again.append(f"seed {self.seed}: exit {ended.code}: {why[:300] or ended.err[-300:]}")
        if not any(entry["health"] == "failed" for entry in self._state().values()):
            self._problem("unfinished", f"one more apply was not enough, and no deploy had failed: {why[:300]}")

    def _state(self) -> dict[str, Any]:
        try:
            return judge.told(self.place)
        except ValueError:
            self._problem("untruthful", "there is no state")
            return {}

    def _problem(self, kind: str, text: str) -> None:
        if kind:
            setattr(self.tally, kind, getattr(self.tally, kind) + 1)
        history = "" if self.tally.problems else "\n".join(self.history) + "\n"
        self.tally.problems.append(f"{history}PROBLEM of seed {self.seed}: {text}")
