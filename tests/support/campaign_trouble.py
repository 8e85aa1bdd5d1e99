"""What may go wrong while an apply runs, drawn at random for the fault campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.campaign_child import TWICE, Spoil
from tests.support.campaign_stories import Story

Rule = dict[str, Any]
KINDS = (
    "refuse", "cut_before", "cut_after", "cut_after", "timeout", "delay:0.6", "throttle:0", "throttle:0.1",
    "status:429", "status:500", "status:502", "status:503", "status:401", "page:502", "html", "truncate", "garbage",
    "empty", "redirect",
)  # fmt: skip
CREATES = {
    "neevcloud": "POST .*/aimodels$",
    "modelstudio": "POST /deployments$",
    "nugen": "POST .*/deploy-model/",
    "opensearch": "POST .*(_register|_create|_deploy)$",
}
PAGED = ("neevcloud", "modelstudio")  # the others' lists are whole, or sorted by what never changes
NEVER = 1e6  # seconds of the simulators' clock: not within any run


@dataclass
class Trouble:
    """One disturbed command. `faults` and `knobs` are by provider type; times are real seconds from its beginning.

    `aim`: a journal point at which `harm` comes. `signals`: (when, its name). `in_flight`: killed once the simulator
    has done what a request asked and before it answered; (type, request). `vanish`: when a live one is taken away.
    """

    faults: dict[str, list[Rule]] = field(default_factory=dict)
    knobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    spoils: list[Spoil] = field(default_factory=list)
    aim: tuple[str, int] | None = None
    harm: str = "SIGKILL"
    signals: list[tuple[float, str]] = field(default_factory=list)
    in_flight: tuple[str, str] | None = None
    vanish: tuple[str, float] | None = None

    def told(self) -> str:
        parts = [f"{type_} {[(one['match'], one['kind']) for one in rules]}" for type_, rules in self.faults.items()]
        parts += [f"{type_} {knobs}" for type_, knobs in self.knobs.items() if knobs]
        parts += [str(self.spoils)] if self.spoils else []
        parts += [f"{self.harm} at {self.aim}"] if self.aim else []
        parts += [f"{name} at {at:.2f} s" for at, name in self.signals]
        parts += [f"killed in flight {self.in_flight}"] if self.in_flight else []
        parts += [f"vanishes {self.vanish}"] if self.vanish else []
        return "; ".join(parts) or "nothing"


def draw(random: Random, story: Story, focus: str, points: Sequence[str], usual: float) -> Trouble:
    """Trouble for one command that takes about `usual` seconds and passes these journal points when undisturbed."""
    types = story.types
    trouble, end = Trouble(), random.random()
    quiet = end < 0.55 and random.random() < 0.5  # so that it comes as far as it is aimed at
    for type_ in types:
        trouble.faults[type_] = [_rule(random, type_) for _ in range(0 if quiet else random.choice([0, 0, 1, 1, 2, 3]))]
        trouble.knobs[type_] = _knobs(random, type_, story)
    if not quiet and random.random() < 0.15:
        trouble.spoils.append(("refuse", random.randint(0, 6), random.randint(1, 6)))
    if end < 0.55:
        trouble.aim = (random.choice(_candidates(points, focus)), random.choice([0, 0, 0, 1, 2]))
        trouble.harm = random.choice(["SIGKILL"] * 7 + ["SIGTERM", "SIGINT", TWICE])
    elif end < 0.70:
        trouble.in_flight = (focus, CREATES[focus] if random.random() < 0.7 else "PUT |DELETE ")
    elif end < 0.86:
        first = random.uniform(0.0, 1.3 * usual)
        names = random.choice([["SIGKILL"], ["SIGKILL"], ["SIGTERM"], ["SIGINT"], ["SIGINT", "SIGINT"]])
        trouble.signals = [(first + 0.1 * number, name) for number, name in enumerate(names)]
    elif end < 0.95:
        trouble.spoils.append((random.choice(["full", "read-only"]), random.randint(0, 14), 0))
    if random.random() < 0.12:
        trouble.vanish = (random.choice(types), random.uniform(0.0, usual))
    return trouble


def _candidates(points: Sequence[str], focus: str) -> list[str]:
    """The kinds of points that were passed: those about the type `focus`, twice as likely as those about none."""
    found = set()
    for point in points:
        when, _, kinds = point.partition(" ")
        found.update(f"{when} {kind}" for kind in kinds.split("+"))
    about, none = (sorted(one for one in found if one.endswith(end)) for end in (f"@{focus}", "@"))
    rest = sorted(one for one in found if "@" not in one)
    return [*about, *about, *none, *rest] or sorted(found) or ["before RunStarted@"]


def _rule(random: Random, type_: str) -> Rule:
    match = random.choice(["", "GET ", "POST ", "PUT |DELETE ", CREATES[type_], CREATES[type_]])
    return {
        "match": match, "kind": random.choice(KINDS), "times": random.choice([1, 1, 1, 2, 3]),
        "skip": random.choice([0, 0, 1, 2] if match else [0, 2, 4, 8]),
    }  # fmt: skip


def _knobs(random: Random, type_: str, story: Story) -> dict[str, Any]:
    """Lists lag by less than a request's timeout: longer ago than that, a request that is not seen was not done.

    OpenSearch's search by less than the looks that its adapter waits for it, as these follow each other fast here."""
    knobs: dict[str, Any] = {}
    if random.random() < 0.25:
        knobs["lag"] = random.choice([1.0, 2.0, 4.0] if type_ == "opensearch" else [2.0, 6.0, 10.0])
    if type_ in PAGED and random.random() < (0.75 if story.strangers else 0.05):
        knobs["shuffle"] = True
    if random.random() < 0.15:
        knobs["fail_deploys"] = 1
    if random.random() < 0.08:
        knobs["deploy_seconds"] = NEVER
    if type_ == "neevcloud" and story.login and random.random() < 0.8:
        knobs["token_seconds"] = random.choice([2.0, 8.0])
    return knobs
