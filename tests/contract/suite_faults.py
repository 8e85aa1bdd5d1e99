"""The contract under faults: throttling, lost answers, bad answers, wrong credentials, limits."""

from __future__ import annotations

import pytest

from reconciler.model import Json
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    Done,
    ProviderError,
    RejectedError,
    UnavailableError,
    UnreachableError,
)
from tests.contract.case import Bench, agrees
from tests.contract.suite import Bound, is_ready
from tests.support.drive import after


def with_news(data: Json) -> Json:
    """The same answer with a field that no documentation knows, in every object of a list and at the top."""
    if isinstance(data, dict):
        lists = {key: with_news(value) for key, value in data.items() if isinstance(value, list)}
        return {**data, **lists, "brand_new_field": {"since": "tomorrow"}}
    if isinstance(data, list):
        return [with_news(item) if isinstance(item, dict) else item for item in data]
    return data


class FaultContract(Bound):
    """What goes wrong with one request never loses, doubles or invents a deployment."""

    def test_a_create_whose_answer_was_lost_is_found_again(self, bench: Bench) -> None:
        """The server did it, the answer broke off: it is recognised as ours, and there is one."""
        bench.fault(self.case.create, "cut_after")
        driven = bench.deploy()
        assert is_ready(driven), driven
        assert len(bench.serving()) == 1

    def test_a_create_that_never_arrived_is_sent_again(self, bench: Bench) -> None:
        """The connection broke before the server did anything: after two looks it is sent again."""
        bench.fault(self.case.create, "cut_before")
        driven = bench.deploy()
        assert is_ready(driven), driven
        assert len(bench.serving()) == 1

    @pytest.mark.parametrize("kind", ["cut_after", "timeout", "html", "empty", "truncate"])
    def test_an_unreadable_answer_to_a_create_makes_no_second_one(self, bench: Bench, kind: str) -> None:
        """Whatever became of the answer, the effect counts as unknown and there is one deployment in the end."""
        bench.fault(self.case.create, kind)
        driven = bench.deploy()
        assert is_ready(driven), driven
        assert len(bench.serving()) == 1

    def test_a_server_error_on_a_create_is_not_repeated_blindly(self, bench: Bench) -> None:
        """A 500 to a create may have worked: it is looked up before it is sent again."""
        bench.fault(self.case.create, "status:500")
        driven = bench.deploy()
        assert is_ready(driven), driven
        assert len(bench.serving()) == 1

    def test_a_throttled_create_is_sent_later(self, bench: Bench) -> None:
        """429 means that nothing was done; Retry-After is honoured."""
        bench.fault(self.case.create, "throttle:2", times=2)
        driven = bench.deploy()
        assert is_ready(driven), driven
        assert len(bench.serving()) == 1
        assert [wait for wait in bench.waits if wait >= 2.0][:2] == [2.0, 2.0]

    def test_any_request_may_be_cut_once(self, bench: Bench) -> None:
        """Each request of deploy and undeploy in turn loses its answer; the end is the same."""
        for skip in range(4):
            bench.fault("", "cut_after", skip=skip)
            driven = bench.deploy()
            assert is_ready(driven), (skip, driven)
            bench.calm()
            assert len(bench.serving()) == 1
            bench.fault("", "cut_after", skip=skip)
            assert isinstance(bench.undeploy(driven).end, Done), skip
            bench.calm()
            bench.clock.tick(30)
            assert not bench.serving()

    def test_a_change_whose_answer_was_lost_is_repeated(self, bench: Bench) -> None:
        """Scale and update say absolute values: sending them twice is the same as once."""
        first = bench.deploy()
        for verb, change in (("scale", self.case.scaled), ("update", self.case.updated)):
            if change is None:
                continue
            wanted = change(bench.spec(0))
            paths = [name for name in wanted if wanted[name] != bench.spec(0).get(name)]
            bench.fault("(PUT|PATCH)", "cut_after")
            driven = bench.drive(after(bench.type, first, verb, wanted, paths))
            bench.calm()
            assert is_ready(driven), driven
            assert agrees({name: wanted[name] for name in paths}, bench.serving()[0]) == []

    def test_a_list_is_tried_again(self, bench: Bench) -> None:
        """One 503 in between is not noticed."""
        bench.deploy()
        bench.fault(self.case.list_, "status:503")
        assert len(bench.serving()) == 1

    @pytest.mark.parametrize("kind", ["status:503", "status:500", "cut_before", "timeout", "refuse"])
    def test_a_failed_list_is_never_an_empty_list(self, bench: Bench, kind: str) -> None:
        """A list that can't be had is an error that says that nothing was done."""
        bench.deploy()
        bench.fault(self.case.list_, kind, times=None)
        with pytest.raises((UnavailableError, UnreachableError)):
            bench.provider.list()

    @pytest.mark.parametrize("kind", ["html", "empty", "truncate"])
    def test_a_list_that_is_not_json_is_an_error(self, bench: Bench, kind: str) -> None:
        """A login page, nothing at all, or half an answer is never taken for a list."""
        bench.deploy()
        bench.fault(self.case.list_, kind, times=None)
        with pytest.raises(BadAnswerError):
            bench.provider.list()

    def test_a_redirect_is_not_followed(self, bench: Bench) -> None:
        """The error says where it would have gone; credentials stay here."""
        bench.fault(self.case.list_, "redirect", times=None)
        with pytest.raises(RejectedError, match=r"elsewhere\.invalid"):
            bench.provider.list()

    @pytest.mark.parametrize("status", [401, 403])
    def test_being_denied_is_not_absence(self, bench: Bench, status: int) -> None:
        """401 and 403 are errors of access, for a list and for a read by id."""
        driven = bench.deploy()
        bench.fault("", f"status:{status}", times=None)
        with pytest.raises(AccessError):
            bench.provider.list()
        if bench.type.capabilities.read_by_id:
            assert driven.op.id is not None
            with pytest.raises(AccessError):
                bench.provider.read(driven.op.id)

    def test_wrong_credentials_are_an_error_of_access(self, bench: Bench) -> None:
        """The error does not quote the credential, and neither does the log."""
        if self.case.no_credentials_needed:
            return
        good = self.case.simulator.credentials
        bad = dict(self.case.bad_credentials) or {name: f"{value}-wrong" for name, value in good.items()}
        with pytest.raises(AccessError) as caught:
            bench.connect(bad).list()
        told = repr(caught.value.diagnostics) + "".join(bench.log)
        assert not [value for value in bad.values() if value in told]

    def test_missing_credentials_are_an_error_of_access(self, bench: Bench) -> None:
        """Without credentials nothing is sent; the error names the environment variables."""
        if self.case.no_credentials_needed:
            return
        before = bench.requests()
        with pytest.raises(AccessError) as caught:
            bench.connect({})
        assert bench.requests() == before
        assert "_" in repr(caught.value.diagnostics)

    def test_unknown_fields_are_tolerated(self, bench: Bench) -> None:
        """A provider that starts to return more breaks nothing and changes nothing."""
        plain = is_ready(bench.deploy(0))
        before = {live.id: live.attributes for live in bench.serving()}
        bench.meddle = with_news
        assert plain
        assert {live.id: live.attributes for live in bench.serving()} == before
        assert is_ready(bench.deploy(1))

    def test_no_more_requests_at_a_time_than_allowed(self, bench: Bench) -> None:
        """`max_concurrency` bounds what is in flight, whoever asks."""
        provider = bench.connect(max_concurrency=2)
        provider.list()
        bench.sandbox.requests.clear()
        bench.knob(latency=0.01)
        assert bench.threads(lambda _: provider.list(), 8) == []
        assert bench.sandbox.requests.most_in_flight[self.case.type] == 2

    def test_errors_name_the_provider_and_say_whether_anything_was_done(self, bench: Bench) -> None:
        """Every error carries the provider's key and a truthful effect."""
        bench.fault("", "refuse", times=None)
        with pytest.raises(ProviderError) as caught:
            bench.provider.list()
        assert caught.value.provider == self.case.type
        assert caught.value.effect == "none"
