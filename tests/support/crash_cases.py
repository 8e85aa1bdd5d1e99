"""What the crash tests do at each provider: a stack before and after, and how its world must look when all is done.

The worlds are read from the simulators' side (plain requests, or their data), never through the adapters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.crash import CREDENTIALS, Place, soon

Spec = dict[str, Any]
Deployments = dict[str, Spec]

SETTINGS: dict[str, Spec] = {
    "neevcloud": {"org_id": "org-abc123", "project_id": "prj-abc123"},
    "modelstudio": {"region": "cn"},
    "nugen": {},
    "opensearch": {},
}
KNOBS: dict[str, Spec] = {
    "neevcloud": {"deploy_seconds": 1.0, "scale_seconds": 1.0, "undeploy_seconds": 1.0},
    "modelstudio": {"deploy_seconds": 1.0, "scale_seconds": 1.0, "update_seconds": 1.0, "undeploy_seconds": 1.0},
    "nugen": {"deploy_seconds": 1.0, "undeploy_seconds": 1.0},
    "opensearch": {"deploy_seconds": 1.0, "register_seconds": 1.0, "put_lag": 1.0, "custom_plan": True},
}
KEYS = {"neevcloud": "NEEVCLOUD_ACCESS_TOKEN", "modelstudio": "DASHSCOPE_API_KEY", "nugen": "NUGEN_API_KEY"}
TIMEOUT = 0.4  # of one request: also what the second look at an uncertain create waits for


# --- files ----------------------------------------------------------------------------------------------------------
def provider(place: Place, type_: str, **settings: Any) -> Spec:
    """A provider's settings that lead to this place's world at the server."""
    base = place.base(type_)
    where: Spec = {"endpoint": base}
    if type_ == "neevcloud":
        where = {"endpoint": f"{base}/aimodels", "auth_endpoint": f"{base}/tenant"}
    return {**SETTINGS[type_], **where, "timeout": TIMEOUT, "poll_interval": 0.02, **settings}


def stack(place: Place, deployments: Mapping[str, Mapping[str, Any]], **more: Any) -> str:
    """A desired-state file (JSON is YAML). Each deployment names its provider; the rest of it is as in the file."""
    used = dict.fromkeys(str(one["provider"]) for one in deployments.values())
    providers = {type_: provider(place, type_) for type_ in {**used, **dict.fromkeys(place.worlds)}}
    document = {"version": 1, "stack": "crash", "providers": providers, "deployments": deployments, **more}
    return json.dumps(document, indent=1)


# --- worlds ---------------------------------------------------------------------------------------------------------
def by_hand(place: Place, type_: str, method: str, path: str) -> Any:
    """A request of a bystander, who meets no fault and uses none up; its JSON."""
    variable = KEYS.get(type_)
    headers = {"authorization": f"Bearer {CREDENTIALS[variable]}"} if variable else {}
    return place.server.call(method, f"/{place.worlds[type_]}/{path}", headers={**headers, "x-sandbox-untroubled": "1"})


def _pages(read: Callable[[int], list[Spec]]) -> list[Spec]:
    """All pages of 100."""
    found: list[Spec] = []
    while len(page := read(len(found) // 100 + 1)) == 100:
        found += page
    return [*found, *page]


def _neevcloud(place: Place) -> dict[str, Spec]:
    path = "aimodels/api/v1beta1/orgs/org-abc123/projects/prj-abc123/aimodels?limit=100&page="
    found = _pages(lambda number: by_hand(place, "neevcloud", "GET", f"{path}{number}")["items"])
    return {one["id"]: one for one in found if one["status"] != "terminating"}


def _modelstudio(place: Place) -> dict[str, Spec]:
    path = "deployments?page_size=100&page_no="
    found = _pages(lambda number: by_hand(place, "modelstudio", "GET", f"{path}{number}")["output"]["deployments"])
    return {one["deployed_model"]: one for one in found if one["status"] != "DELETING"}


def _nugen(place: Place) -> dict[str, Spec]:
    found = by_hand(place, "nugen", "GET", "models/aligned")
    on = [one for one in found["domain_aligned_models"] if one["status"] in ("DEPLOYED", "DEPLOYING")]
    return {one["id"].removesuffix("-deployed"): one for one in on}


def standing(place: Place, kind: str) -> dict[str, Spec]:
    """Documents of a simulated cluster (`model`, `model-group`, `connector`) that are not deleted, late events too."""
    found = {}
    for id_, document in place.world("opensearch")["data"].get(f".plugins-ml-{kind}", {}).items():
        if document["deleted"] is None:
            source: Spec = {}
            for event in document["events"]:
                source |= {**event["set"], **({"held": event["profile"]} if "profile" in event else {})}
            if "chunk_number" not in source:
                found[id_] = source
    return found


def _opensearch(place: Place) -> dict[str, Spec]:
    models = standing(place, "model")
    return {id_: source for id_, source in models.items() if source["model_state"] in ("DEPLOYED", "DEPLOYING")}


LIVE: dict[str, Callable[[Place], dict[str, Spec]]] = {
    "neevcloud": _neevcloud,
    "modelstudio": _modelstudio,
    "nugen": _nugen,
    "opensearch": _opensearch,
}
KINDS = ("model", "model-group", "connector")


def beside(place: Place) -> set[str]:
    """Ids of all that stands in a simulated cluster, deployed or not."""
    return {id_ for kind in KINDS for id_ in standing(place, kind)} if "opensearch" in place.worlds else set()


def seen(place: Place, case: Case) -> tuple[object, set[str]]:
    """What is at the provider, to be compared with a later look."""
    return {id_: (one.get("status"), one.get("replicas")) for id_, one in LIVE[case.type](place).items()}, beside(place)


# --- cases ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """`before` is applied and settled (None: nothing was ever applied), then `after` is applied and killed.

    `wanted` says what must be live in the end: some of the fields of each live object, by address. `must` are the kinds
    of journal points that have to occur. `unknown`: the state is thrown away after `before`, so that it is adopted.
    """

    type: str
    verb: str
    before: Deployments | None
    after: Deployments
    wanted: Mapping[str, Spec]
    must: Sequence[str]
    unknown: bool = False
    faults: Sequence[Spec] = ()  # such a case repeats another but for an answer, so no half-written lines again
    options: Mapping[str, Any] = field(default_factory=dict)
    flags: Sequence[str] = ()

    @property
    def name(self) -> str:
        return f"{self.type}-{self.verb}"

    def file(self, place: Place, deployments: Deployments, options: Mapping[str, Any]) -> str:
        whole = {address: {"provider": self.type, "spec": spec, **options} for address, spec in deployments.items()}
        return stack(place, whole)

    def lay_out(self, place: Place) -> set[str]:
        """Bring place and world to where the case begins; ids of what stands there before us."""
        place.control("PUT", self.type, "knobs", KNOBS[self.type])
        specs = [*(self.before or {}).values(), *self.after.values()]
        place.control("POST", self.type, "presuppose", {"specs": specs, "settings": SETTINGS[self.type]})
        there = beside(place)
        if self.before is not None:
            place.write(self.file(place, self.before, {}))
            ended = place.apply()
            assert ended.code == 0, ended
        if self.unknown:
            for path in place.state_folder.glob("crash.*"):
                path.unlink()
            there = beside(place)
        place.write(self.file(place, self.after, self.options))
        return there


BEGUN = ("started", "ended")
EMPTY = ("--allow-undeploys", "1")  # the file declares nothing any more
CREATED = (*BEGUN, "intent", "closed", "entry")

_NEEV: Spec = {
    "catalog_id": "meta-llama-Llama-3.1-8B-Instruct",
    "region": "in-south-1",
    "gpu_config_id": "gpu-h100-80",
    "plan_id": "plan-h100-ondemand",
}
_MU: Spec = {"model_name": "qwen-plus", "plan": "mu", "capacity": 2, "rpm_limit": 60}
_PTU: Spec = {"model_name": "qwen-max", "plan": "ptu", "ptu_capacity": {"input_tpm": 10_000, "output_tpm": 1000}}
_CONNECTOR: Spec = {
    "protocol": "http",
    "parameters": {"model": "x"},
    "credential": {"key": "${env.SERVICE_KEY}"},
    "actions": [
        {
            "action_type": "predict",
            "method": "POST",
            "url": "https://service.invalid/v1/chat",
            "headers": {"Authorization": "Bearer $${credential.key}"},
            "request_body": '{"model": "$${parameters.model}"}',
        }
    ],
}
_FIRST: Deployments = {"help": {"alignment_id": "alignment-1"}}
_SEARCH: Deployments = {"search": {"connector": _CONNECTOR}}
_OTHER = {**_CONNECTOR, "parameters": {"model": "y"}}
_HASH = "decaf000" * 8
_LOCAL: Spec = {
    "function_name": "text_embedding",
    "model_format": "TORCH_SCRIPT",
    "url": "https://models.invalid/a.zip",
    "model_content_hash_value": "c0ffee00" * 8,
    "model_config": {"model_type": "bert", "embedding_dimension": 384, "framework_type": "sentence_transformers"},
}


def _neev(replicas: int = 1, **more: Any) -> Deployments:
    return {"chat": {**_NEEV, "replicas": replicas, **more}}


CASES = [
    Case("neevcloud", "deploy", None, _neev(3), {"chat": {"replicas": 3}}, (*CREATED, "snapshot", "reset")),
    Case(
        "neevcloud", "deploy-unanswered", None, _neev(2), {"chat": {"replicas": 2}}, CREATED,
        faults=[{"match": "POST .*/aimodels$", "kind": "cut_after"}],
    ),
    Case("neevcloud", "scale", _neev(1), _neev(3), {"chat": {"replicas": 3}}, (*BEGUN, "entry")),
    Case("neevcloud", "replace", _neev(2), _neev(2, gpu_count=2), {"chat": {"gpu_count": 2, "replicas": 2}}, CREATED),
    Case("neevcloud", "undeploy", _neev(2), {}, {}, (*BEGUN, "entry", "removed"), flags=EMPTY),
    Case(
        "neevcloud", "adopt", _neev(1), _neev(2), {"chat": {"replicas": 2}}, (*BEGUN, "entry"), unknown=True,
        options={"adopt": True},
    ),
    Case("modelstudio", "deploy", None, {"chat": _MU}, {"chat": {"capacity": 2, "rpm_limit": "60"}}, CREATED),
    Case(
        "modelstudio", "deploy-ptu", None, {"chat": {**_PTU, "overflow_strategy": "enable"}},
        {"chat": {"overflow_strategy": "enable"}}, CREATED,
    ),
    Case(
        "modelstudio", "deploy-unanswered", None, {"chat": _MU}, {"chat": {"capacity": 2}}, CREATED,
        faults=[{"match": "POST /deployments$", "kind": "cut_after"}],
    ),
    Case(
        "modelstudio", "scale", {"chat": _MU}, {"chat": {**_MU, "capacity": 4}}, {"chat": {"capacity": 4}},
        (*BEGUN, "entry"),
    ),
    Case(
        "modelstudio", "update", {"chat": _MU}, {"chat": {**_MU, "capacity": 4, "rpm_limit": 90}},
        {"chat": {"capacity": 4, "rpm_limit": "90"}}, (*BEGUN, "entry"),
    ),
    Case(
        "modelstudio", "replace", {"chat": _MU}, {"chat": {**_MU, "enable_thinking": True}},
        {"chat": {"enable_thinking": True}}, CREATED,
    ),
    Case(
        "modelstudio", "replace-create-first", {"chat": _MU}, {"chat": {**_MU, "enable_thinking": True}},
        {"chat": {"enable_thinking": True}}, (*CREATED, "removed"),
        options={"lifecycle": {"create_before_undeploy": True}},
    ),
    Case("modelstudio", "undeploy", {"chat": _MU}, {}, {}, (*BEGUN, "entry", "removed"), flags=EMPTY),
    Case(
        "modelstudio", "adopt", {"chat": _MU}, {"chat": {**_MU, "rpm_limit": 90}}, {"chat": {"rpm_limit": "90"}},
        (*BEGUN, "entry"), unknown=True, options={"adopt": True},
    ),
    Case("nugen", "deploy", None, _FIRST, {"help": {}}, CREATED),
    Case(
        "nugen", "deploy-unanswered", None, _FIRST, {"help": {}}, CREATED,
        faults=[{"match": "POST .*/deploy-model/", "kind": "cut_after"}],
    ),
    Case(
        "nugen", "replace", _FIRST,
        {"help": {"alignment_id": "alignment-1", "inference_provider": "nugen"}}, {"help": {}}, CREATED,
    ),
    Case(
        "nugen", "replace-other", _FIRST, {"help": {"alignment_id": "alignment-2"}},
        {"help": {"alignment_id": "alignment-2"}}, CREATED,
    ),
    Case("nugen", "undeploy", _FIRST, {}, {}, (*BEGUN, "entry", "removed"), flags=EMPTY),
    Case(
        "nugen", "adopt", _FIRST, _FIRST,
        {"help": {}}, (*BEGUN, "entry"), unknown=True, options={"adopt": True},
    ),
    Case("opensearch", "deploy", None, _SEARCH, {"search": {}}, CREATED),
    Case("opensearch", "deploy-local", None, {"embed": _LOCAL}, {"embed": {}}, CREATED),
    Case("opensearch", "deploy-registered", None, {"search": {"model_id": "m-1"}}, {"search": {}}, CREATED),
    *(
        Case(
            "opensearch", f"deploy-unanswered-{name}", None, _SEARCH, {"search": {}},
            CREATED, faults=[{"match": match, "kind": "cut_after"}],
        )
        for name, match in {
            "group": "POST .*/model_groups/_register$", "connector": "POST .*/connectors/_create$",
            "model": "POST .*/models/_register$", "deploy": "POST .*/_deploy$",
        }.items()
    ),
    Case(
        "opensearch", "scale", _SEARCH,
        {"search": {"connector": _CONNECTOR, "node_ids": ["sandboxNode1"]}},
        {"search": {"held": {"sandboxNode1": "DEPLOYED"}}}, (*BEGUN, "entry"),
    ),
    Case(
        "opensearch", "update", _SEARCH,
        {"search": {"connector": _OTHER, "description": "second"}}, {"search": {"description": "second"}}, CREATED,
    ),
    Case(
        "opensearch", "replace", _SEARCH,
        {"search": {"connector": _CONNECTOR, "name": "other"}}, {"search": {"name": "other"}}, (*CREATED,),
    ),
    Case(
        "opensearch", "replace-local", {"embed": _LOCAL}, {"embed": _LOCAL | {"model_content_hash_value": _HASH}},
        {"embed": {"model_content_hash_value": _HASH}}, CREATED,
    ),
    Case("opensearch", "undeploy", _SEARCH, {}, {}, (*BEGUN, "entry", "removed"), flags=EMPTY),
    Case(
        "opensearch", "adopt", {"search": {"model_id": "m-1"}},
        {"search": {"model_id": "m-1", "description": "ours now"}}, {"search": {"description": "ours now"}},
        (*BEGUN, "entry"), unknown=True, options={"adopt": True},
    ),
]  # fmt: skip


def differences(place: Place, case: Case, before_us: set[str]) -> list[str]:
    """What is not as it must be: doubled, lost or left over in the world, or told otherwise by the state."""
    live, state = LIVE[case.type](place), place.state()
    entries: dict[str, Spec] = state["deployments"]
    problems = []
    ids = {address: str(entry["id"]).removesuffix("-deployed") for address, entry in entries.items()}
    if sorted(ids) != sorted(case.wanted):
        problems.append(f"the state holds {sorted(ids)}, wanted {sorted(case.wanted)}")
    known = {_id_in_world(case.type, live, id_) for id_ in ids.values()}
    if known != set(live):
        problems.append(f"live are {sorted(live)}, the state knows {sorted(map(str, known))}")
    for address, facts in case.wanted.items():
        found = live.get(_id_in_world(case.type, live, ids.get(address, "")) or "", {})
        problems += [f"{address}: {name} is {found.get(name)!r}" for name in facts if found.get(name) != facts[name]]
    for address, entry in entries.items():
        if entry.get("pending") is not None or entry["health"] != "ready":
            problems.append(f"{address} is recorded as {entry['health']}, pending {entry.get('pending')}")
    if case.type == "opensearch":
        made = {id_ for entry in entries.values() for id_ in entry.get("created", {}).values() if id_}
        left = beside(place) - before_us - made
        lost = made - beside(place)
        problems += [f"left over: {sorted(left)}"] if left else []
        problems += [f"recorded, but not there: {sorted(lost)}"] if lost else []
    return problems


def _id_in_world(type_: str, live: Mapping[str, Spec], id_: str) -> str | None:
    """The live object that a recorded id means: at Nugen also by its alignment."""
    if type_ == "nugen":
        return next((key for key, one in live.items() if id_ in (key, one.get("alignment_id"))), None)
    return id_


def kill_in_flight(case: Case, place: Place, match: str) -> None:
    """Apply, and die while the provider does what was asked by the request that meets `match`."""
    place.control("POST", case.type, "faults", [{"match": match, "kind": "delay:3"}])
    run = place.start("apply", "--auto-approve")
    with soon("the request came") as again:
        while place.world(case.type)["faults"]:
            again()
    run.kill()
    assert run.wait().killed
