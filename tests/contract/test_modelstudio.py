"""Model Studio keeps the contract of all providers."""

from __future__ import annotations

from tests.contract.case import ContractCase, Spec
from tests.contract.suite import Contract
from tests.contract.suite_faults import FaultContract
from tests.contract.suite_probe import ProbeContract


class TestModelStudio(Contract, FaultContract, ProbeContract):
    case = ContractCase(
        type="modelstudio",
        spec=lambda i: {"model_name": f"qwen-test-{i}", "plan": "mu", "capacity": 1, "rpm_limit": 60},
        scaled=lambda spec: {**spec, "capacity": 3},
        updated=lambda spec: {**spec, "rpm_limit": 120, "tpm_limit": 10_000},
        settings={"region": "cn"},
        create=r"POST /deployments$",
        list_=r"GET /deployments$",
    )


def _ptu(i: int) -> Spec:
    return {"model_name": "qwen-test", "plan": "ptu", "ptu_capacity": {"input_tpm": 10_000, "output_tpm": 1000 + i}}


class TestReservedThroughput(Contract, FaultContract, ProbeContract):
    case = ContractCase(
        type="modelstudio",
        spec=_ptu,
        scaled=lambda spec: {**spec, "ptu_capacity": {"input_tpm": 20_000, "output_tpm": 2000}},
        updated=lambda spec: {**spec, "overflow_strategy": "enable"},
        knobs={"short_ids": True},
        create=r"POST /deployments$",
        list_=r"GET /deployments$",
    )
