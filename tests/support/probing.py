"""A scripted provider whose deployments can be probed: what they answer, and when they were asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.model import Desired, Probe
from reconciler.provider import Operation, Probed, Problem, ProviderError
from tests.support.engine_runs import Bench, want
from tests.support.fake_provider import Cloud, FakeProvider

Answer = tuple[int, str] | ProviderError


class AnsweringProvider(FakeProvider):
    """`script` is what the next probes get, in order; then 200. `asked` holds (time, address, id) of each."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.script: list[Answer] = []
        self.always: Answer = (200, '{"ok": true}')
        self.asked: list[tuple[float, str, str | None]] = []
        self.problem: Problem | None = None

    def probe_problem(self) -> Problem | None:
        return self.problem

    def probe(self, op: Operation, probe: Probe) -> Probed:
        self.cloud.trace.add("probe", op.address)
        self.asked.append((self.cloud.clock.monotonic(), op.address, op.live.id if op.live else None))
        answer = self.script.pop(0) if self.script else self.always
        if isinstance(answer, ProviderError):
            raise answer
        return Probed("POST /ask", answer[0], answer[1], 0.25)


def answering() -> tuple[Bench, AnsweringProvider]:
    bench = Bench()
    provider = bench.provider = AnsweringProvider(bench.cloud)
    return bench, provider


def probed(address: str, *needs: str, probe: Probe | None = None, **more: Any) -> Desired:
    """A declared deployment with a probe: tried for 60 s, every 10."""
    return replace(want(address, needs, **more), probe=probe or Probe(timeout=60.0, interval=10.0))
