"""What the adapter relies on and no documentation says: when a mark can be searched, and how fresh a poll is."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from reconciler.model import Live, ProviderConfig
from reconciler.provider import Operation, Provider, Wire
from reconciler.providers.opensearch import PROVIDER
from tests.support.drive import MARK, deploy_of, merged
from tests.support.real_node import REAL, RealProject, connector

pytestmark = REAL
ASKS = 5  # marks of each kind
WAITERS = 12


def connect(real: RealProject, log: Callable[[str], object] = lambda line: None) -> Provider:
    settings = {"endpoint": real.node.url}
    return PROVIDER.connect(ProviderConfig("opensearch", "opensearch", settings, real.node.url), {}, Wire(log=log))


def test_marks_can_be_searched_at_once(real: RealProject) -> None:
    """A group or connector is found by its mark in the first search after the answer of the call that made it, and by
    no other mark, though the text is analysed: recovery needs no pause."""

    def found(kind: str, mark: str) -> list[str]:
        told = real.made("POST", f"{kind}/_search", {"query": {"match_phrase": {"description": mark}}})
        return [hit["_id"] for hit in told["hits"]["hits"]]

    for i in range(ASKS):
        mark = MARK.format(address=f"{real.stack}-{i}")
        about = {"name": real.named(f"{i}"), "description": f"Some words, and more: of others.\n{mark}"}
        group = real.made("POST", "model_groups/_register", about)["model_group_id"]
        assert found("model_groups", mark) == [group]
        body = {**about, "version": 1, "protocol": "http", **connector(real.service, escape="")}
        made = real.made("POST", "connectors/_create", body)["connector_id"]
        assert found("connectors", mark) == [made]
        for kind, id_ in (("model_groups", group), ("connectors", made)):
            assert found(kind, mark.rpartition("/")[0] + "/") == [id_], "all of an address"
            assert found(kind, mark.replace("intent-1", "intent-2")) == []
            assert found(kind, mark.replace("11111111", "22222222")) == []


def test_one_poll_is_fresh_for_all_who_wait(real: RealProject) -> None:
    """One search of tasks, one of records and one profile show the end of each of a dozen deploys: within the second
    in which an index is refreshed, and never too early. More waiters cost no more requests."""
    asked: list[str] = []
    provider = connect(real, asked.append)

    def start(i: int) -> Operation:
        id_, _ = real.by_hand(real.named(f"{i}"))
        op = deploy_of(f"{real.stack}-{i}", {"model_id": id_})
        return replace(op, id=id_, memo={"surveyed": True, "model": id_})

    with ThreadPoolExecutor(4) as pool:
        ops = list(pool.map(start, range(WAITERS)))
    calls = [PROVIDER.next(op) for op in ops]
    with ThreadPoolExecutor(4) as pool:
        ops = list(pool.map(lambda pair: merged(pair[0], provider.send(*pair)), zip(ops, calls, strict=True)))

    began, ended, costs = time.monotonic(), {}, set()
    while len(ended) < WAITERS and time.monotonic() - began < 15:
        waiting = [op for op in ops if op.address not in ended]
        asked.clear()
        seen = provider.look(waiting)
        costs.add(len(asked))
        for op in waiting:
            live = seen[op.address]
            if live is not None and is_over(live):
                ended[op.address] = time.monotonic() - began
                assert real.serving(str(op.id)), "told too early"
    provider.close()
    assert len(ended) == WAITERS, f"{len(ended)} of {WAITERS} were told"
    assert costs == {3}
    assert max(ended.values()) < 8


def is_over(live: Live) -> bool:
    return live.health == "ready" and live.extra.get("task") == "COMPLETED"


def test_an_apply_of_many_asks_as_often_as_one_of_few(real: RealProject) -> None:
    """A dozen deploys side by side share their polls: requests that wait do not grow with the deployments."""

    def polls(count: int) -> int:
        models = {f"m{count}-{i}": {"model_id": real.by_hand(real.named(f"{count}-{i}"))[0]} for i in range(count)}
        real.declare(models)
        told = real.run("--log-level", "debug", "apply", "--auto-approve", *UNDEPLOY).ended(0).err
        return sum("tasks/_search" in line for line in told.splitlines())

    few, many = polls(2), polls(WAITERS)
    assert few >= 1
    assert many <= 2 * few + 6
    real.settled()


UNDEPLOY: tuple[Any, ...] = ("--allow-undeploys", "2")
