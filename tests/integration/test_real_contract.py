"""The contract of all providers on a real OpenSearch node: the same suite as on the simulator, as far as no knob of a
simulator is needed. Faults are those that a connection can have."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import httpx
import pytest

from reconciler.model import Json, Live, ProviderConfig
from reconciler.provider import Provider, Wire
from reconciler.sandbox.faults import Fault, pick
from tests.contract.case import Bench, ContractCase, Spec
from tests.contract.suite import Contract
from tests.contract.suite_faults import FaultContract
from tests.integration.opensearch_node import Cluster
from tests.support.real_node import REAL, RealProject

pytestmark = REAL
PAUSE = 0.2  # seconds before a look
ONLY_SIMULATED = (
    # what becomes of such an answer is decided before anything node-like is asked
    "test_a_failed_list_is_never_an_empty_list",
    "test_a_list_that_is_not_json_is_an_error",
    "test_a_redirect_is_not_followed",
    "test_being_denied_is_not_absence",
    "test_errors_name_the_provider_and_say_whether_anything_was_done",
    # need a knob: pages full of models (see test_real_others), lists that trail or change, deploys that hang or fail
    "test_a_list_has_every_page",
    "test_an_order_that_changes_between_pages_loses_nothing",
    "test_a_list_that_lags_makes_no_second_one",
    "test_never_ready_is_never_done",
    "test_a_deployment_that_fails_is_reported_and_kept",
    "test_what_vanishes_while_waiting_is_not_made_again",
    "test_no_more_requests_at_a_time_than_allowed",
    # nodes are chosen in test_real_nodes; the node asks for no credentials
    "test_scaling_keeps_the_deployment",
    "test_a_change_whose_answer_was_lost_is_repeated",
    "test_wrong_credentials_are_an_error_of_access",
    "test_missing_credentials_are_an_error_of_access",
)


class _Ticks:
    """A clock that passes by itself."""

    def tick(self, seconds: float = PAUSE) -> None:
        time.sleep(min(seconds, PAUSE))


class RealBench(Bench):
    """The bench with a real node in the simulator's place; each has names of its own."""

    def __init__(self, case: ContractCase, real: RealProject) -> None:
        self.case, self.type, self.real = case, case.provider_type, real
        self.clock = _Ticks()  # type: ignore[assignment]
        self.waits: list[float] = []
        self.log: list[str] = []
        self.meddle = None
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self._connected: list[Provider] = []
        self._transports: list[_Spoiling] = []
        self._made: dict[str, str] = {}
        self.provider = self.connect()

    def connect(self, credentials: Mapping[str, str] | None = None, **settings: Json) -> Provider:
        plain: dict[str, Json] = {"endpoint": self.real.node.url, "timeout": 5, **settings}
        config = ProviderConfig(self.case.type, self.case.type, plain, self.type.scope(plain))
        self._transports.append(_Spoiling(self))
        wire = Wire(self._transports[-1], log=self.log.append, sleep=self.waits.append)
        self._connected.append(self.type.connect(config, {}, wire))
        return self._connected[-1]

    def close(self) -> None:
        super().close()
        for transport in self._transports:
            transport.close()

    def knob(self, **knobs: Json) -> None:
        raise AssertionError(f"a real node has no knobs: {knobs}")

    def fault(self, match: str, kind: str, *, times: int | None = 1, skip: int = 0) -> None:
        self.faults.append(Fault.parse({"match": match, "kind": kind, "times": times, "skip": skip}))

    def calm(self) -> None:
        self.faults.clear()

    def address(self, i: int) -> str:
        return self.real.named(f"{i}")

    def spec(self, i: int) -> Spec:
        given = {name: self._own(value) for name, value in self.case.spec(i).items()}
        return self.complete(given, self.address(i))

    def _own(self, value: Json) -> Json:
        """Names of the case become names of this test, or ids of what was made for it."""
        return self._made.get(str(value), self.real.named(value) if str(value).startswith("model-") else value)

    def presuppose(self, count: int) -> list[str]:
        for i in range(count):
            if "model_id" in self.case.spec(i):
                self._made[f"registered-{i}"], _ = self.real.by_hand(self.real.named(f"registered-{i}"))
            else:
                self._made[f"connector-{i}"] = self.real.connector_by_hand(self.real.named(f"connector-{i}"))
        return list(self._made)

    def serving(self, provider: Provider | None = None) -> list[Live]:
        """Of this test: others' models may be served beside them. Where an undeploy falls into a sync-up that began
        before it, that writes DEPLOY_FAILED over UNDEPLOYED; no node holds such a model."""
        ours = [live for live in super().serving(provider) if self.real.stack in live.name]
        return [live for live in ours if live.status != "DEPLOY_FAILED" or live.computed["worker_nodes"]]

    def requests(self, match: str = "") -> int:
        return sum(1 for line in self.asked if re.search(match, line))


class _Spoiling(httpx.BaseTransport):
    """To the node and back, with the bench's faults on the way."""

    def __init__(self, bench: RealBench) -> None:
        self._bench, self._inner = bench, httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        line = f"{request.method} {request.url.path}"
        self._bench.asked.append(line)
        fault = pick(self._bench.faults, line)
        kind = fault.kind if fault else ""
        if fault and not fault.acts:
            return _refused(fault, request)
        response = self._inner.handle_request(request)
        body = response.read()
        response.close()
        if kind == "cut_after":
            raise httpx.ReadError("the connection broke", request=request)
        if kind == "timeout":
            raise httpx.ReadTimeout("no answer", request=request)
        if kind in ("html", "empty", "truncate"):
            body = {"html": b"<html>Sign in</html>", "empty": b"", "truncate": body[: len(body) // 2]}[kind]
            return httpx.Response(200, headers=_kind(kind), content=body)
        if self._bench.meddle is not None:
            return httpx.Response(response.status_code, json=self._bench.meddle(_json(body)))
        return httpx.Response(response.status_code, headers=_kind(""), content=body)

    def close(self) -> None:
        self._inner.close()


def _kind(kind: str) -> dict[str, str]:
    return {"content-type": "text/html" if kind == "html" else "application/json"}


def _json(body: bytes) -> Any:
    return httpx.Response(200, content=body).json()


def _refused(fault: Fault, request: httpx.Request) -> httpx.Response:
    """What a fault answers without the node."""
    match fault.kind:
        case "refuse":
            raise httpx.ConnectError("refused", request=request)
        case "cut_before":
            raise httpx.ReadError("the connection broke", request=request)
        case "throttle":
            return httpx.Response(429, headers={"retry-after": fault.argument}, json={"error": "slow down"})
        case "redirect":
            return httpx.Response(302, headers={"location": "https://elsewhere.invalid/"})
    return httpx.Response(int(fault.number), json={"error": "no", "status": int(fault.number)})


class OnANode(Contract, FaultContract):
    """The suites with the bench above."""

    __test__ = False

    @pytest.fixture
    def bench(self, real: RealProject, node: Cluster) -> Iterator[Bench]:  # type: ignore[override]
        bench = RealBench(self.case, real)
        bench.presuppose(3)
        yield bench
        bench.close()


for _name in ONLY_SIMULATED:
    setattr(OnANode, _name, None)


class TestRegisteredFromHere(OnANode):
    __test__ = True
    case: ClassVar[ContractCase] = ContractCase(
        type="opensearch",
        spec=lambda i: {"name": f"model-{i}", "connector_id": f"connector-{i}", "description": f"number {i}"},
        scaled=lambda spec: spec,
        updated=lambda spec: {**spec, "description": "another", "is_enabled": False},
        create=r"POST /_plugins/_ml/models/_register$",
        list_=r"POST /_plugins/_ml/models/_search$",
        no_credentials_needed=True,
    )


class TestRegisteredAlready(OnANode):
    __test__ = True
    case: ClassVar[ContractCase] = ContractCase(
        type="opensearch",
        spec=lambda i: {"model_id": f"registered-{i}"},
        scaled=lambda spec: spec,
        updated=lambda spec: {**spec, "description": "ours now"},
        create=r"POST /_plugins/_ml/models/[^/]+/_deploy$",
        list_=r"POST /_plugins/_ml/models/_search$",
        no_credentials_needed=True,
        dormant=True,
    )
