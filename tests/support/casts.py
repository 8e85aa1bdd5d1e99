"""What the convergence tests know of each provider type: valid specs, changes of every strength, and the hands of
somebody with a console. A fact that decides whether a row of the plan's table can occur comes from the type's own
capabilities and schema; where neither can say it, `never` names the row and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.model import Json, ProviderConfig
from reconciler.sandbox import modelstudio, neevcloud, nugen
from tests.support.rehearsal import REGISTRY, Place

Spec = dict[str, Json]
Change = Callable[[Spec], Spec]
Requests = Callable[[ProviderConfig, str], list[tuple[str, str]]]


@dataclass(frozen=True)
class Cast:
    """One kind of deployment of one provider type.

    `settings` and `elsewhere` are two accounts. `spec(i, address)` has an identity of its own that is written out.
    `called(i, address)` is the word by which the simulator's `fail_deploys` knows it. `removal` are the requests that
    take it away by hand, `leftover` says that something of ours outlives that (a model group),
    `identifies` that `immutable` gives another identity.
    """

    name: str
    type: str
    settings: Mapping[str, Json]
    elsewhere: Mapping[str, Json]
    spec: Callable[[int, str], Spec]
    immutable: Change
    removal: Requests
    called: Callable[[int, str], str]
    scaled: Change | None = None
    updated: Change | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    knobs: Mapping[str, Json] = field(default_factory=dict)
    leftover: bool = False
    identifies: bool = False
    never: Mapping[str, str] = field(default_factory=dict)

    @property
    def dormant(self) -> bool:
        """Whether what was undeployed by hand still exists, switched off: it stood at the provider before us."""
        return bool(REGISTRY.schemas[self.type].existing) and not self.leftover

    @property
    def on_demand(self) -> str | None:
        return REGISTRY.schemas[self.type].on_demand

    @property
    def create_first(self) -> bool:
        return REGISTRY.types[self.type].capabilities.create_first

    def remove(self, place: Place, config: ProviderConfig, id_: str) -> None:
        """Take a deployment away at the provider, as somebody else would."""
        headers = dict(self.headers)
        if config.settings.get("workspace"):
            headers["x-dashscope-workspace"] = str(config.settings["workspace"])
        for method, path in self.removal(config, id_):
            place.by_hand(config, method, path, headers)


def _neevcloud(i: int, address: str) -> Spec:
    return {
        "name": address, "catalog_id": "meta-llama-Llama-3.1-8B-Instruct", "region": "in-south-1",
        "gpu_config_id": "gpu-h100-80", "gpu_count": 1, "plan_id": "plan-h100-ondemand", "replicas": 1 + i % 2,
        "config": {"max_model_len": 8192, "extra_args": ["--api-token", "${env.TOKEN}"]},
    }  # fmt: skip


def _project(config: ProviderConfig, id_: str) -> list[tuple[str, str]]:
    place = f"orgs/{config.settings['org_id']}/projects/{config.settings['project_id']}"
    return [("DELETE", f"/aimodels/api/v1beta1/{place}/aimodels/{id_}")]


NEEVCLOUD = Cast(
    name="neevcloud",
    type="neevcloud",
    settings={"org_id": "org-1", "project_id": "prj-1"},
    elsewhere={"org_id": "org-1", "project_id": "prj-2"},
    spec=_neevcloud,
    scaled=lambda spec: {**spec, "replicas": spec["replicas"] + 2},
    immutable=lambda spec: {**spec, "gpu_config_id": "gpu-a100-80"},
    removal=_project,
    called=lambda i, address: address,
    headers={"authorization": f"Bearer {neevcloud.ACCESS_TOKEN}"},
    never={"stopped": "the API document knows no stopped status, and no call that stops"},
)


def _units(i: int, address: str) -> Spec:
    return {"model_name": f"qwen-{i}", "suffix": f"s{i}", "plan": "mu", "capacity": 1, "rpm_limit": 60}


def _throughput(i: int, address: str) -> Spec:
    figures = {"input_tpm": 10_000, "output_tpm": 1000}
    return {"model_name": f"qwen-{i}", "suffix": f"s{i}", "plan": "ptu", "ptu_capacity": figures}


MODELSTUDIO = Cast(
    name="modelstudio",
    type="modelstudio",
    settings={"region": "cn"},
    elsewhere={"region": "cn", "workspace": "llm-other"},
    spec=_units,
    scaled=lambda spec: {**spec, "capacity": 3},
    updated=lambda spec: {**spec, "rpm_limit": 120, "tpm_limit": 10_000},
    immutable=lambda spec: {**spec, "name": "another"},
    removal=lambda config, id_: [("DELETE", f"/deployments/{id_}")],
    called=lambda i, address: f"qwen-{i}",
    headers={"authorization": f"Bearer {modelstudio.KEY}"},
)
THROUGHPUT = Cast(
    name="modelstudio ptu",
    type="modelstudio",
    settings={"region": "cn"},
    elsewhere={"region": "cn", "workspace": "llm-other"},
    spec=_throughput,
    scaled=lambda spec: {**spec, "ptu_capacity": {"input_tpm": 20_000, "output_tpm": 2000}},
    updated=lambda spec: {**spec, "overflow_strategy": "enable"},
    immutable=lambda spec: {**spec, "service_tier": "ptu_default"},
    removal=lambda config, id_: [("DELETE", f"/deployments/{id_}")],
    called=lambda i, address: f"qwen-{i}",
    headers={"authorization": f"Bearer {modelstudio.KEY}"},
    knobs={"short_ids": True},
)

_SWITCHED = "a model is on or off: the provider has no word for a deployment that is there and stopped"
NUGEN = Cast(
    name="nugen",
    type="nugen",
    settings={},
    elsewhere={"endpoint": "https://other.example/api/v3"},
    spec=lambda i, address: {"alignment_id": f"alignment-{i}"},
    immutable=lambda spec: {**spec, "inference_provider": "other"},
    removal=lambda config, id_: [("DELETE", f"/models/undeploy-model/{id_}")],
    called=lambda i, address: f"alignment-{i}",
    headers={"authorization": f"Bearer {nugen.KEY}"},
    never={"stopped": _SWITCHED},
)
NUGEN_NEWER = Cast(
    name="nugen newer",
    type="nugen",
    settings={"api_style": "deployment"},
    elsewhere={"api_style": "deployment", "endpoint": "https://other.example/api/v3"},
    spec=lambda i, address: {"model_id": f"aligned-{i:04}"},
    immutable=lambda spec: {**spec, "early": True},
    removal=lambda config, id_: [("DELETE", f"/models/{id_}/deployment")],
    called=lambda i, address: f"aligned-{i:04}",
    headers={"authorization": f"Bearer {nugen.KEY}"},
    knobs={"api_style": "deployment", "spelling": "new", "suffix_ids": False, "null_status": True,
           "object_answers": True, "most_per_page": 20},
    never={"stopped": _SWITCHED},
)  # fmt: skip


def _remote(i: int, address: str) -> Spec:
    action = {
        "action_type": "predict", "method": "POST", "url": "https://service.example/v1",
        "headers": {"Authorization": "Bearer $${credential.key}"}, "request_body": "{}",
    }  # fmt: skip
    connector = {"name": "service", "parameters": {"model": "m"}, "credential": {"key": "${env.TOKEN}"}}
    return {"name": address, "description": f"number {i}", "connector": {**connector, "actions": [action]}}


def _other_parameters(spec: Spec) -> Spec:
    return {**spec, "connector": {**spec["connector"], "parameters": {"model": "n"}}, "is_enabled": False}


_AT_ONCE = "ML Commons undeploys before it answers: nothing is ever on its way out"
_UNDEPLOYED = "an undeployed model is registered, not stopped: it counts as not live, and is deployed again"
OPENSEARCH = Cast(
    name="opensearch",
    type="opensearch",
    settings={"endpoint": "https://search.example:9200"},
    elsewhere={"endpoint": "https://other.example:9200"},
    spec=_remote,
    scaled=lambda spec: {**spec, "node_ids": ["sandboxNode1"]},
    updated=_other_parameters,
    immutable=lambda spec: {**spec, "name": f"{spec['name']}-b"},
    removal=lambda config, id_: [
        ("POST", f"/_plugins/_ml/models/{id_}/_undeploy"), ("DELETE", f"/_plugins/_ml/models/{id_}")
    ],
    called=lambda i, address: address,
    knobs={"custom_plan": True, "put_lag": 1.0},
    leftover=True,
    identifies=True,
    never={"in transition (out)": _AT_ONCE, "stopped": _UNDEPLOYED},
)  # fmt: skip
REGISTERED = Cast(
    name="opensearch registered",
    type="opensearch",
    settings={"endpoint": "https://search.example:9200"},
    elsewhere={"endpoint": "https://other.example:9200"},
    spec=lambda i, address: {"model_id": f"registered-{i}"},
    scaled=lambda spec: {**spec, "node_ids": ["sandboxNode1"]},
    updated=lambda spec: {**spec, "description": "ours now", "deploy_setting": {"is_auto_deploy_enabled": False}},
    immutable=lambda spec: {"model_id": f"{spec['model_id']}-b"},
    removal=lambda config, id_: [("POST", f"/_plugins/_ml/models/{id_}/_undeploy")],
    called=lambda i, address: f"registered-{i}",
    identifies=True,
    knobs={"custom_plan": True, "put_lag": 1.0},
    never={"in transition (out)": _AT_ONCE, "stopped": _UNDEPLOYED},
)

CASTS = {cast.name: cast for cast in (NEEVCLOUD, MODELSTUDIO, THROUGHPUT, NUGEN, NUGEN_NEWER, OPENSEARCH, REGISTERED)}
