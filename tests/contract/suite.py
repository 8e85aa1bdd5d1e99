"""The contract that every provider type keeps, on its simulator. A test file subclasses both suites and sets `case`:

class TestX(Contract, FaultContract):
    case = ContractCase(type="x", …)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from reconciler.model import HEALTH_KIND, Json
from reconciler.provider import Done, Failed, Wait
from tests.contract.case import Bench, ContractCase, agrees
from tests.support.drive import Driven, after


class Bound:
    """Gives every test of the suites a fresh bench."""

    case: ClassVar[ContractCase]

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        bench = Bench(self.case)
        bench.presuppose(3)
        yield bench
        bench.close()


def is_ready(driven: Driven) -> bool:
    return isinstance(driven.end, Done) and driven.end.live is not None and driven.end.live.health == "ready"


class Contract(Bound):
    """Deploying, reading, changing and undeploying."""

    def test_what_was_created_reads_as_it_was_asked_for(self, bench: Bench) -> None:
        """After a deploy, list and read agree with the desired spec, so the next plan is empty."""
        driven = bench.deploy()
        assert is_ready(driven), driven
        (listed,) = bench.serving()
        read = bench.provider.read(listed.id)
        assert driven.op.id == listed.id
        assert read is not None
        for live in (listed, read):
            assert agrees(bench.spec(0), live) == []
            assert bench.type.identity(bench.spec(0)) in live.identities
            assert live.health == "ready"
            assert not live.dormant

    def test_two_lists_in_a_row_are_equal(self, bench: Bench) -> None:
        """Nothing that a plan looks at changes by looking."""
        for i in range(3):
            assert is_ready(bench.deploy(i))
        first = {live.id: (live.attributes, live.health, live.identities) for live in bench.provider.list()}
        assert first == {live.id: (live.attributes, live.health, live.identities) for live in bench.provider.list()}

    def test_a_second_object_is_told_from_the_first(self, bench: Bench) -> None:
        """Each declared spec is recognised by its own identity alone."""
        first, second = bench.deploy(0), bench.deploy(1)
        assert first.op.id != second.op.id
        for i, driven in enumerate((first, second)):
            matching = [one.id for one in bench.serving() if bench.type.identity(bench.spec(i)) in one.identities]
            assert matching == [driven.op.id]

    def test_a_list_has_every_page(self, bench: Bench) -> None:
        """Nothing beyond the first page is lost, and no more list requests are made than pages."""
        count = self._populate(bench)
        before = bench.requests(self.case.list_)
        assert len(bench.serving()) == count
        page = bench.type.capabilities.page_size
        if page is not None and not self.case.dormant:
            assert bench.requests(self.case.list_) - before <= -(-count // page) + 1

    def test_an_order_that_changes_between_pages_loses_nothing(self, bench: Bench) -> None:
        """Objects that hop from one page to another are still listed once each."""
        count = self._populate(bench)
        bench.knob(shuffle=True)
        ids = [live.id for live in bench.serving()]
        assert len(ids) == len(set(ids)) == count

    def _populate(self, bench: Bench) -> int:
        page = bench.type.capabilities.page_size
        count = self.case.many or (page + page // 2 if page else 30)
        bench.presuppose(count)
        bench.knob(instant=True)
        for i in range(count):
            assert is_ready(bench.deploy(i)), i
        return count

    def test_one_look_answers_for_all_who_wait(self, bench: Bench) -> None:
        """Waiting for three costs as many requests as waiting for one."""
        driven = [bench.deploy(i) for i in range(3)]
        before = bench.requests()
        bench.provider.look([driven[0].op])
        for_one = bench.requests() - before
        seen = bench.provider.look([one.op for one in driven])
        assert bench.requests() - before == 2 * for_one
        assert {address: live and live.id for address, live in seen.items()} == {
            one.op.address: one.op.id for one in driven
        }

    def test_a_list_that_lags_makes_no_second_one(self, bench: Bench) -> None:
        """A new deployment that the list does not show yet is waited for, not created again."""
        bench.knob(lag=float(self.case.lag_looks))
        driven = bench.deploy()
        assert is_ready(driven), driven
        bench.clock.tick(30)
        assert len(bench.serving()) == 1

    def test_never_ready_is_never_done(self, bench: Bench) -> None:
        """A deployment that does not come up is waited for as long as the engine asks; its id is known."""
        bench.knob(never_ready=True)
        driven = bench.deploy(looks=25)
        assert isinstance(driven.end, Wait), driven
        assert driven.op.id is not None
        assert driven.op.live is not None
        assert HEALTH_KIND[driven.op.live.health] == "in"

    def test_a_deployment_that_fails_is_reported_and_kept(self, bench: Bench) -> None:
        """The provider's word that it failed ends the action; the deployment is still known."""
        bench.knob(fail_deploys=1)
        driven = bench.deploy()
        assert isinstance(driven.end, Failed), driven
        assert driven.end.reason
        assert driven.op.id is not None

    def test_what_vanishes_while_waiting_is_not_made_again(self, bench: Bench) -> None:
        """Deleted behind our back in the middle of a deploy: the action ends as failed, nothing is made twice."""
        bench.knob(never_ready=True)
        started = bench.deploy(looks=3)
        other = bench.connect()
        bench.undeploy(started, provider=other)
        bench.clock.tick(30)
        assert not bench.serving()
        driven = bench.drive(started.op)
        assert isinstance(driven.end, Failed), driven
        assert not driven.end.exists or driven.end.live is None or driven.end.live.dormant
        assert not bench.serving()

    def test_scaling_keeps_the_deployment(self, bench: Bench) -> None:
        """Where a type scales in place, the same id serves afterwards with the new size."""
        if self.case.scaled is None:
            assert not bench.type.capabilities.scales
            return
        self._changed(bench, "scale", self.case.scaled(bench.spec(0)))

    def test_updating_keeps_the_deployment(self, bench: Bench) -> None:
        """Where a type updates in place, the same id serves afterwards with the new values."""
        if self.case.updated is None:
            assert not bench.type.capabilities.updates
            return
        self._changed(bench, "update", self.case.updated(bench.spec(0)))

    def _changed(self, bench: Bench, verb: str, wanted: dict[str, Json]) -> None:
        first = bench.deploy()
        before = bench.requests(self.case.create)
        paths = [name for name in wanted if wanted[name] != bench.spec(0).get(name)]
        driven = bench.drive(after(bench.type, first, verb, wanted, paths))
        assert is_ready(driven), driven
        (live,) = bench.serving()
        assert live.id == first.op.id == driven.op.id
        assert agrees(wanted, live) == []
        assert all(name in live.attributes or name in bench.spec(0) or name in wanted for name in paths)
        assert bench.requests(self.case.create) == before

    def test_undeploy_ends_when_it_is_gone(self, bench: Bench) -> None:
        """An undeploy is done when nothing is served any more, and not before."""
        driven = bench.undeploy(bench.deploy())
        assert isinstance(driven.end, Done), driven
        assert bench.serving() == []
        assert driven.op.id is not None
        left = bench.provider.read(driven.op.id)
        assert left is None or left.dormant

    def test_undeploying_what_is_gone_succeeds(self, bench: Bench) -> None:
        """Undeploying by a record of something that is not there any more is done, not an error."""
        first = bench.deploy()
        bench.undeploy(first)
        bench.clock.tick(30)
        again = bench.undeploy(first)
        assert isinstance(again.end, Done), again
        assert bench.serving() == []

    def test_what_was_undeployed_can_be_deployed_again(self, bench: Bench) -> None:
        """The same spec comes back after an undeploy, as a replace needs."""
        bench.undeploy(bench.deploy())
        again = bench.deploy()
        assert is_ready(again), again
        assert len(bench.serving()) == 1

    def test_dormant_is_not_live(self, bench: Bench) -> None:
        """What is switched off is listed as dormant, if at all; ready and dormant exclude each other."""
        bench.undeploy(bench.deploy())
        left = [live for live in bench.provider.list() if live.dormant]
        assert bool(left) == self.case.dormant
        assert all(live.health != "ready" for live in left)

    def test_an_id_that_nobody_has_reads_as_absent(self, bench: Bench) -> None:
        """Only the provider's own word makes an id absent, and it does so without an error."""
        if bench.type.capabilities.read_by_id:
            assert bench.provider.read("no-such-id-000") is None

    def test_capabilities_are_truthful(self, bench: Bench) -> None:
        """What the type claims to be able to do is what this suite exercises."""
        assert bench.type.type == self.case.type
        assert bench.type.capabilities.scales == (self.case.scaled is not None)
        assert bench.type.capabilities.updates == (self.case.updated is not None)
        assert bench.type.capabilities.max_concurrency >= 1
