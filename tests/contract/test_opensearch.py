"""OpenSearch keeps the contract of all providers: with models registered from here, and with registered ones."""

from __future__ import annotations

from tests.contract.case import Bench, ContractCase, Spec
from tests.contract.suite import Contract, is_ready
from tests.contract.suite_faults import FaultContract
from tests.contract.suite_probe import ProbeContract
from tests.support.drive import after


def _own(i: int) -> Spec:
    """With a connector that exists: the suite compares whole attributes, and an inline one holds a credential."""
    return {"name": f"model-{i}", "connector_id": f"connector-{i}", "description": f"number {i}"}


class TestRegisteredFromHere(Contract, FaultContract, ProbeContract):
    case = ContractCase(
        type="opensearch",
        spec=_own,
        scaled=lambda spec: {**spec, "node_ids": ["sandboxNode1"]},
        updated=lambda spec: {**spec, "description": "another", "is_enabled": False},
        knobs={"put_lag": 1.0, "custom_plan": True},
        create=r"POST /_plugins/_ml/models/_register$",
        list_=r"POST /_plugins/_ml/models/_search$",
        no_credentials_needed=True,
        many=220,
    )


class TestRegisteredAlready(Contract, FaultContract, ProbeContract):
    case = ContractCase(
        type="opensearch",
        spec=lambda i: {"model_id": f"registered-{i}"},
        scaled=lambda spec: {**spec, "node_ids": ["sandboxNode1"]},
        updated=lambda spec: {**spec, "description": "ours now"},
        knobs={"custom_plan": True},
        create=r"POST /_plugins/_ml/models/[^/]+/_deploy$",
        list_=r"POST /_plugins/_ml/models/_search$",
        no_credentials_needed=True,
        dormant=True,
        many=220,
    )

    def test_scaling_keeps_the_deployment(self, bench: Bench) -> None:
        """Another set of nodes is asked for with the deploy call: the same model serves there, and only there."""
        first, wanted = bench.deploy(), self.case.scaled(bench.spec(0)) if self.case.scaled else {}
        driven = bench.drive(after(bench.type, first, "scale", wanted, ["node_ids"]))
        assert is_ready(driven), driven
        (live,) = bench.serving()
        assert live.id == first.op.id == driven.op.id
        assert live.computed["worker_nodes"] == ["sandboxNode1"]

    def test_what_was_undeployed_does_not_answer(self, bench: Bench) -> None:
        """Where the cluster lets a predict deploy, as it does by default, it would."""
        bench.knob(auto_deploy=False)
        super().test_what_was_undeployed_does_not_answer(bench)
