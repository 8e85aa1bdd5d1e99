"""Random small stacks and random changes of them, for the fault campaign. The same seed gives the same story."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.campaign_child import TYPES
from tests.support.crash_cases import CASES

Spec = dict[str, Any]
CASE = {case.name: case for case in CASES}


def _spec(name: str, address: str) -> Spec:
    """The desired spec of one of the crash cases."""
    spec: Spec = CASE[name].after[address]
    return spec


NEEV = _spec("neevcloud-scale", "chat")
MU = _spec("modelstudio-deploy", "chat")
PTU = _spec("modelstudio-deploy-ptu", "chat")
REMOTE = _spec("opensearch-deploy", "search")
OTHER = _spec("opensearch-update", "search")
LOCAL = _spec("opensearch-deploy-local", "embed")
LOCAL_2 = _spec("opensearch-replace-local", "embed")
CREATE_FIRST = {"lifecycle": {"create_before_undeploy": True}}
UNKNOWN = {"adopt": True}  # the state forgets it first

Change = tuple[str, Spec | None, Spec | None, Spec]  # verb, before, after, options of the deployment
CHANGES: dict[str, list[Change]] = {
    "neevcloud": [
        ("deploy", None, {**NEEV, "replicas": 3}, {}),
        ("deploy", None, {**NEEV, "replicas": 1}, {}),
        ("scale", {**NEEV, "replicas": 1}, {**NEEV, "replicas": 3}, {}),
        ("scale", {**NEEV, "replicas": 3}, {**NEEV, "replicas": 2}, {}),
        ("replace", {**NEEV, "replicas": 1}, {**NEEV, "replicas": 2, "gpu_count": 2}, {}),
        ("undeploy", {**NEEV, "replicas": 1}, None, {}),
        ("adopt", {**NEEV, "replicas": 1}, {**NEEV, "replicas": 2}, UNKNOWN),
        ("keep", {**NEEV, "replicas": 2}, {**NEEV, "replicas": 2}, {}),
    ],
    "modelstudio": [
        ("deploy", None, MU, {}),
        ("deploy", None, {**PTU, "overflow_strategy": "enable"}, {}),
        ("scale", MU, {**MU, "capacity": 4}, {}),
        ("update", MU, {**MU, "capacity": 4, "rpm_limit": 90}, {}),
        ("replace", MU, {**MU, "enable_thinking": True}, {}),
        ("replace", MU, {**MU, "enable_thinking": True}, CREATE_FIRST),
        ("undeploy", MU, None, {}),
        ("adopt", MU, {**MU, "rpm_limit": 90}, UNKNOWN),
        ("keep", MU, MU, {}),
    ],
    "nugen": [
        ("deploy", None, {"alignment_id": "ADDRESS"}, {}),
        ("replace", {"alignment_id": "ADDRESS"}, {"alignment_id": "other-ADDRESS"}, {}),
        ("replace", {"alignment_id": "ADDRESS"}, {"alignment_id": "ADDRESS", "inference_provider": "nugen"}, {}),
        ("undeploy", {"alignment_id": "ADDRESS"}, None, {}),
        ("adopt", {"alignment_id": "ADDRESS"}, {"alignment_id": "ADDRESS"}, UNKNOWN),
        ("keep", {"alignment_id": "ADDRESS"}, {"alignment_id": "ADDRESS"}, {}),
    ],
    "opensearch": [
        ("deploy", None, REMOTE, {}),
        ("deploy", None, LOCAL, {}),
        ("deploy", None, {"model_id": "model-ADDRESS"}, {}),
        ("scale", REMOTE, {**REMOTE, "node_ids": ["sandboxNode1"]}, {}),
        ("update", REMOTE, OTHER, {}),
        ("replace", REMOTE, {**REMOTE, "name": "other-ADDRESS"}, {}),
        ("replace", LOCAL, LOCAL_2, {}),
        ("undeploy", REMOTE, None, {}),
        ("undeploy", LOCAL, None, {}),
        ("adopt", {"model_id": "model-ADDRESS"}, {"model_id": "model-ADDRESS", "description": "ours now"}, UNKNOWN),
        ("keep", REMOTE, REMOTE, {}),
    ],
}


@dataclass
class Story:
    """`before` is applied in peace; the state forgets `unknown`; the disturbed command is to reach `after`.

    Deployments are as in the file, by address. `destroy`: the command is `destroy`; `after` is still what is declared.
    """

    before: dict[str, Spec] = field(default_factory=dict)
    after: dict[str, Spec] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    verbs: dict[str, str] = field(default_factory=dict)
    destroy: bool = False
    login: bool = False  # NeevCloud is entered by e-mail and password, for tokens that end
    parallelism: int = 10
    saved: str = ""  # "disturbed": the first disturbed command is `apply plan.json`; "mending": the first mending one
    renamed: tuple[str, str, str] | None = None  # (how: "state mv" or "moved", from, to): after the trouble
    strangers: bool = False  # so many others in the same accounts that lists have several pages

    @property
    def types(self) -> list[str]:
        declared = (*self.before.values(), *self.after.values())
        return sorted({TYPES[address[0]] for address in self.verbs} | {str(one["provider"]) for one in declared})

    def specs(self, type_: str) -> list[Spec]:
        """All specs that the story uses at a type of provider."""
        both = (*self.before.values(), *self.after.values())
        return [one["spec"] for one in both if one["provider"] == type_]

    @property
    def then(self) -> dict[str, Spec]:
        """What is declared after the renaming."""
        if self.renamed is None:
            return self.after
        _, old, new = self.renamed
        return {
            new if address == old else address: {
                key: [new if one == old else one for one in value] if key == "depends_on" else value
                for key, value in declared.items()
            }
            for address, declared in self.after.items()
        }

    def told(self) -> str:
        words = {
            "destroy": self.destroy,
            "with strangers": self.strangers,
            "by login": self.login,
            f"{self.saved} by a saved plan": self.saved,
            f"then {self.renamed}": self.renamed,
        }
        return "".join(f"{word} " for word, so in words.items() if so) + " ".join(
            f"{verb}:{at}" for at, verb in self.verbs.items()
        )


def _filled(spec: Spec | None, address: str) -> Spec | None:
    if spec is None:
        return None
    return {key: value.replace("ADDRESS", address) if isinstance(value, str) else value for key, value in spec.items()}


def draw(random: Random, focus: str) -> Story:
    """A story in which the type `focus` has a part."""
    types = [focus, *random.sample([one for one in TYPES.values() if one != focus], random.choice([0, 0, 1, 1, 2, 3]))]
    story = Story(
        login=random.random() < 0.3, parallelism=random.choice([1, 2, 10, 10]), strangers=random.random() < 0.25
    )
    letters = {type_: letter for letter, type_ in TYPES.items()}
    count = random.randint(len(types), 5)
    numbered: dict[str, int] = {}
    for type_ in types + random.choices(types, k=count - len(types)):
        numbered[type_] = number = numbered.get(type_, 0) + 1
        address = f"{letters[type_]}-{number:02}"
        verb, before, after, options = random.choice(CHANGES[type_])
        story.verbs[address] = verb
        for specs, spec, more in ((story.before, before, {}), (story.after, after, options)):
            filled = _filled(spec, address)
            if filled is not None:
                specs[address] = {"provider": type_, "spec": filled, **more}
        if verb == "adopt":
            story.unknown.append(address)
    _move(random, story)
    _depend(random, story)
    story.destroy = bool(story.before) and not story.unknown and random.random() < 0.08
    if story.destroy:
        story.after = story.before
        return story
    story.saved = random.choice(["", "", "", "", "disturbed", "mending"])
    _rename(random, story)
    return story


def _move(random: Random, story: Story) -> None:
    """Sometimes one goes to another type of provider, often so that the new one comes before the old one goes."""
    kept = [address for address, verb in story.verbs.items() if verb in ("keep", "scale", "update")]
    if random.random() < 0.7 or not kept:
        return
    address = random.choice(kept)
    type_ = random.choice([one for one in TYPES.values() if one != TYPES[address[0]]])
    new = random.choice([spec for verb, _, spec, _ in CHANGES[type_] if verb == "deploy"])
    options = random.choice([CREATE_FIRST, CREATE_FIRST, {}])
    story.after[address] = {"provider": type_, "spec": _filled(new, address), **options}
    story.verbs[address] = f"move to {type_}{', create first' if options else ''}"


def _rename(random: Random, story: Story) -> None:
    """Sometimes one gets another address afterwards. Its name is written out then: renaming changes nothing else.

    None that is yet to be adopted by a suffix that is made of its address: under another it would not be found."""
    found_by_address = {one for one in story.unknown if story.after[one]["provider"] == "modelstudio"}
    addresses = sorted(story.after.keys() - found_by_address)
    if random.random() < 0.8 or not addresses:
        return
    old = random.choice(addresses)
    story.renamed = (random.choice(["state mv", "moved"]), old, f"{old[0]}-9{old[-1]}")
    for specs in (story.before, story.after):
        if old in specs and specs[old]["provider"] != "nugen" and "model_id" not in specs[old]["spec"]:
            specs[old]["spec"].setdefault("name", old)


def _depend(random: Random, story: Story) -> None:
    """Let some wait for others: before and after alike, so that it changes nothing by itself."""
    if random.random() < 0.6:
        return
    addresses = list(story.verbs)
    for position, address in enumerate(addresses[1:], 1):
        needed = random.choice(addresses[:position])
        if random.random() < 0.6:
            for specs in (story.before, story.after):
                if address in specs and needed in specs:
                    specs[address]["depends_on"] = [needed]
