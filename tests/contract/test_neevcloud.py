"""NeevCloud keeps the contract."""

from __future__ import annotations

from tests.contract.case import ContractCase, Spec
from tests.contract.suite import Contract
from tests.contract.suite_faults import FaultContract
from tests.contract.suite_probe import ProbeContract


def spec(i: int) -> Spec:
    return {
        "name": f"model-{i}",
        "catalog_id": "meta-llama-Llama-3.1-8B-Instruct",
        "region": "in-south-1",
        "gpu_config_id": "gpu-h100-80",
        "plan_id": "plan-h100-ondemand",
        "config": {"max_model_len": 8192, "extra_args": ["--quantization", "awq"]},
    }


class TestNeevCloud(Contract, FaultContract, ProbeContract):
    case = ContractCase(
        type="neevcloud",
        spec=spec,
        create="POST .*/aimodels$",
        list_="GET .*/aimodels$",
        scaled=lambda spec: {**spec, "replicas": 3},
        settings={"org_id": "org-abc123", "project_id": "prj-abc123"},
    )
