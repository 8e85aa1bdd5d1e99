"""What a probe keeps to at every provider type: the default one is answered by what is ready, and by nothing else.

class TestX(Contract, FaultContract, ProbeContract): …
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model import Probe
from reconciler.provider import Done, Operation, Probed, Probing, Provider, UnavailableError
from tests.contract.case import Bench
from tests.contract.suite import Bound


def probing(provider: Provider) -> Probing:
    assert isinstance(provider, Probing)
    return provider


def ready(bench: Bench) -> Operation:
    """A deployment that the provider says is ready, as the engine knows it then."""
    driven = bench.deploy()
    assert isinstance(driven.end, Done)
    return replace(driven.op, live=driven.end.live)


def ask(bench: Bench, op: Operation, probe: Probe | None = None) -> Probed:
    return probing(bench.provider).probe(op, probe or Probe())


class ProbeContract(Bound):
    """Asking what was deployed."""

    def test_the_default_probe_is_answered(self, bench: Bench) -> None:
        """`probe: {}` needs no knowledge of the model: what is ready answers it, in one request."""
        assert bench.type.capabilities.probes
        assert probing(bench.provider).probe_problem() is None
        op = ready(bench)
        before = bench.requests()
        probed = ask(bench, op)
        assert (probed.status, bench.requests() - before) == (200, 1), probed
        assert probed.request.startswith("POST /")
        assert probed.seconds >= 0

    def test_ready_is_not_yet_answering(self, bench: Bench) -> None:
        """What says ready and does not serve gives its status and its words, without retries; later it answers."""
        bench.knob(probe_fails_for=60.0)
        op = ready(bench)
        before = bench.requests()
        probed = ask(bench, op)
        assert probed.status >= 400
        assert probed.text
        assert (bench.requests() - before, bench.waits) == (1, [])
        bench.clock.tick(60.0)
        assert ask(bench, op).status == 200

    def test_what_was_undeployed_does_not_answer(self, bench: Bench) -> None:
        """A probe is no proof of anything but the deployment that it names."""
        driven = bench.deploy()
        op = replace(driven.op, live=driven.end.live if isinstance(driven.end, Done) else None)
        bench.undeploy(driven)
        bench.clock.tick(30.0)
        assert 400 <= ask(bench, op).status < 500

    def test_a_wrong_credential_is_an_answer(self, bench: Bench) -> None:
        """A key that is refused shows as its status, and never in the text."""
        op = ready(bench)
        given = {name: f"{value}-wrong" for name, value in self.case.simulator.credentials.items()}
        probed = probing(bench.connect(given)).probe(op, Probe())
        assert probed.status == 401
        assert not any(value in probed.text for value in given.values())

    def test_no_answer_is_an_error(self, bench: Bench) -> None:
        """A connection that breaks is told as what it is, once."""
        op = ready(bench)
        bench.fault("POST ", "cut_before")
        with pytest.raises(UnavailableError):
            ask(bench, op)
        assert ask(bench, op).status == 200

    def test_whatever_comes_back_is_shown(self, bench: Bench) -> None:
        """A login page, a redirect, an empty answer: their status is what counts, their beginning is kept."""
        op = ready(bench)
        for kind, status in (("html", 200), ("redirect", 302), ("empty", 200), ("throttle:1", 429)):
            bench.fault("POST ", kind)
            assert ask(bench, op).status == status

    def test_an_own_path_is_asked_with_the_id(self, bench: Bench) -> None:
        """`path` and `method` are the file's, `{id}` the deployment's; a path alone is a GET without a body."""
        op = ready(bench)
        probed = ask(bench, op, Probe(path="/no/such/{id}"))
        assert op.live is not None
        assert probed.request.startswith("GET /no/such/")
        assert 400 <= probed.status < 500
