"""Nugen keeps the contract of all providers, in both path styles and both spellings."""

from __future__ import annotations

from reconciler.provider import Failed
from tests.contract.case import Bench, ContractCase
from tests.contract.suite import Contract
from tests.contract.suite_faults import FaultContract
from tests.contract.suite_probe import ProbeContract


class Nugen(Contract, FaultContract, ProbeContract):
    """What both styles share."""

    __test__ = False

    def test_what_vanishes_while_waiting_is_not_made_again(self, bench: Bench) -> None:
        """A model on its way in can't be switched off by a call; reverted by the provider, it is not deployed again."""
        bench.knob(never_ready=True)
        started = bench.deploy(looks=3)
        with bench.world() as world:
            for model in world.table("models").values():
                model["versions"] = model["versions"][:1]
                model["task"]["until"], model["task"]["error"] = (
                    0.0,
                    "Redeployment failed and was reverted to READY status",
                )
        sent = bench.requests(self.case.create)
        driven = bench.drive(started.op)
        assert isinstance(driven.end, Failed), driven
        assert "reverted to READY" in driven.end.reason
        assert bench.requests(self.case.create) == sent
        assert not bench.serving()


class TestNugen(Nugen):
    __test__ = True
    case = ContractCase(
        type="nugen",
        spec=lambda i: {"alignment_id": f"alignment-test{i}"},
        create=r"POST /models/deploy-model/[^/]+$",
        list_=r"GET /models/aligned$",
        knobs={"api_style": "deploy-model"},
        dormant=True,
    )


class TestNewerStyle(Nugen):
    __test__ = True
    case = ContractCase(
        type="nugen",
        spec=lambda i: {"model_id": f"aligned-model-{i:04}"},
        settings={"api_style": "deployment"},
        knobs={
            "api_style": "deployment",
            "spelling": "new",
            "suffix_ids": False,
            "null_status": True,
            "object_answers": True,
            "most_per_page": 20,
        },
        create=r"POST /models/[^/]+/deployment$",
        list_=r"GET /models/aligned$",
        dormant=True,
    )
