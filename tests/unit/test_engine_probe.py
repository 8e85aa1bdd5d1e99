"""Ready means that it answers: what an apply does with a deployment that has a probe."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from reconciler.diagnostics import ReconcilerError
from reconciler.model import Pending, Probe, Secret
from reconciler.plan import Plan
from reconciler.provider import Problem, ThrottledError, UnreachableError
from tests.support.engine_runs import CREATE_FIRST, Bench, outcome, results, want
from tests.support.fake_provider import FakeProvider, KilledError, MemoryJournal
from tests.support.probing import AnsweringProvider, answering, probed

BUSY = (500, '{"error": "still loading"}')


def failing() -> tuple[Bench, AnsweringProvider]:
    """One whose deployments never answer."""
    bench, provider = answering()
    provider.always = BUSY
    return bench, provider


def told(bench: Bench) -> list[str]:
    return [event.status or "" for event in bench.events if event.event == "progress"]


# --- in time ------------------------------------------------------------------------------------------------------
def test_dependents_wait_until_it_answers() -> None:
    """What depends on a deployment starts after its probe was answered, not when the provider says ready."""
    bench, provider = answering()
    provider.script = [BUSY, BUSY]
    report = bench.run(probed("base"), want("app", ["base"]))
    assert results(report) == {"base": "done", "app": "done"}
    assert [item[:2] for item in bench.trace.of("probe")] == [("probe", "base")] * 3
    last = max(i for i, item in enumerate(bench.trace.items) if item[0] == "probe")
    assert last < bench.trace.place("send", "create", "app")
    assert report.state.deployments["base"].pending is None


def test_one_request_each_interval() -> None:
    """A probe costs one request an interval, no more, and its progress says what came back."""
    bench, provider = answering()
    provider.script = [BUSY, (404, ""), BUSY]
    bench.run(probed("base"))
    times = [at for at, _, _ in provider.asked]
    assert [round(later - before) for before, later in itertools.pairwise(times)] == [10, 10, 10]
    assert {name for _, _, name in provider.asked} == {"dep-1"}
    assert "READY, not answering yet: POST /ask gave 404 after 0.25 s" in told(bench)


def test_what_counts_as_an_answer_is_the_files_word() -> None:
    """With `expect_status` only that status counts; without it any 2xx."""
    bench, provider = answering()
    provider.always = (401, "")
    assert results(bench.run(probed("base", probe=Probe(expect_status=(401, 403))))) == {"base": "done"}
    bench, provider = answering()
    provider.always = (204, "")
    assert results(bench.run(probed("base"))) == {"base": "done"}
    provider.always = (200, "")
    picky = probed("more", probe=Probe(expect_status=(204,), timeout=20.0))
    assert results(bench.run(probed("base"), picky)) == {"more": "failed"}


def test_a_request_that_gets_no_answer_is_tried_again() -> None:
    """No connection to the model's own endpoint is what a model that is coming up may look like."""
    bench, provider = answering()
    provider.script = [UnreachableError("fake: can't connect", provider="fake")] * 2
    assert results(bench.run(probed("base"))) == {"base": "done"}
    assert len(provider.asked) == 3


def test_a_probe_has_a_time_of_its_own() -> None:
    """The timeout of the deploy ends with the deploy; the probe's begins there."""
    bench, provider = answering()
    provider.script = [BUSY] * 5
    assert results(bench.run(probed("base", timeouts=replace(want("x").timeouts, deploy=10.0)))) == {"base": "done"}


# --- too late -----------------------------------------------------------------------------------------------------
def test_a_failure_says_status_excerpt_and_latency_and_stays_pending() -> None:
    """The error names the last answer; the deployment stays in the state as pending with that cause."""
    bench, provider = failing()
    report = bench.run(probed("base"), want("app", ["base"]))
    assert results(report) == {"base": "failed", "app": "skipped"}
    error = outcome(report, "base").error
    assert error is not None
    assert error.summary == (
        'base is ready but does not answer: POST /ask gave 500 after 0.25 s: {"error": "still loading"}'
    )
    assert "Asked 7 times within 1m, expected 2xx" in error.detail
    entry = report.state.deployments["base"]
    assert entry.pending is not None
    assert (entry.id, entry.health, entry.pending.verb, entry.pending.cause) == (
        "dep-1", "ready", "deploy", error.summary,
    )  # fmt: skip
    assert len(provider.asked) == 7


def test_the_next_apply_probes_again_and_deploys_nothing_twice() -> None:
    """The plan says that it was not seen to answer; the apply asks, and then goes on with what depends on it."""
    bench, provider = failing()
    wanted = (probed("base"), want("app", ["base"]))
    bench.run(*wanted)
    plan = bench.plan(*wanted)
    kinds = {action.address: (action.action, action.notes) for action in plan.actions}
    assert kinds["base"][0] == "none"
    assert "was not seen to answer since its deploy: apply probes it" in kinds["base"][1][0]
    asked = len(provider.asked)
    assert results(bench.apply(plan)) == {"base": "failed", "app": "skipped"}
    assert len(provider.asked) > asked
    provider.always = (200, "")
    assert results(bench.run(*wanted)) == {"app": "done"}
    assert [sent for sent in bench.trace.sends() if sent[0] == "create"] == [("create", "base"), ("create", "app")]
    assert bench.state.deployments["base"].pending is None
    assert quiet(bench.plan(*wanted))


def quiet(plan: Plan) -> bool:
    return not plan.state_changes and all(action.action == "none" for action in plan.actions)


def test_a_refresh_alone_probes_nothing_and_forgets_nothing() -> None:
    """`--refresh-only` asks no model, and what was not seen to answer stays so."""
    bench, provider = failing()
    bench.run(probed("base"))
    asked = len(provider.asked)
    thing = bench.cloud.things["dep-1"]
    thing.spec["note"] = thing.replicas = 3
    bench.run(refresh_only=True)
    assert len(provider.asked) == asked
    assert bench.state.deployments["base"].pending is not None


def test_taking_the_probe_out_settles_it() -> None:
    """Without a probe in the file there is nothing left to wait for."""
    bench, provider = failing()
    bench.run(probed("base"))
    asked = len(provider.asked)
    bench.run(want("base"))
    entry = bench.state.deployments["base"]
    assert (entry.pending, entry.probe, len(provider.asked)) == (None, None, asked)


def test_a_scale_after_an_unanswered_deploy_ends_with_the_probe() -> None:
    """Another action on it does not make it count as answering; what was scaled is recorded all the same."""
    bench, provider = failing()
    bench.run(probed("base", replicas=1))
    report = bench.run(probed("base", replicas=2))
    entry = report.state.deployments["base"]
    assert results(report) == {"base": "failed"}
    assert entry.spec["replicas"] == 2
    assert entry.pending is not None
    assert entry.pending.verb == "deploy"
    provider.always = (200, "")
    bench.run(probed("base", replicas=2))
    assert quiet(bench.plan(probed("base", replicas=2)))


def test_throttled_without_end_it_is_given_up() -> None:
    """A provider that never lets the probe through does not hold the run for ever."""
    bench, provider = failing()
    provider.always = ThrottledError("fake: slow down", provider="fake", status=429, retry_after=5.0)
    report = bench.run(probed("base"))
    assert results(report) == {"base": "failed"}
    entry = report.state.deployments["base"]
    assert entry.pending is not None
    assert "it could not be asked" in entry.pending.cause


def test_secrets_of_the_spec_are_hidden() -> None:
    """A model may echo what its connector sends: no secret of the file stands in an error, an event or the journal."""
    bench, provider = failing()
    provider.always = (500, "upstream refused Bearer sk-very-secret, that is sk-very-secret")
    token = Secret("Bearer sk-very-secret", "Bearer ${env.T}")
    report = bench.run(probed("base", token=token))
    error = outcome(report, "base").error
    assert error is not None
    assert "upstream refused (hidden), that is (hidden)" in error.summary
    assert "sk-very-secret" not in f"{bench.trace.items} {report} {bench.events}"


def test_control_characters_and_length_are_tamed() -> None:
    """What a model sends can't redraw the terminal or flood it."""
    bench, provider = failing()
    provider.always = (500, "\x1b[2J" + "x" * 5000)
    error = outcome(bench.run(probed("base")), "base").error
    assert error is not None
    assert "\x1b" not in error.summary
    assert len(error.summary) < 450


# --- replacing ----------------------------------------------------------------------------------------------------
def test_the_old_one_goes_after_the_new_one_answers() -> None:
    """A create-first replacement switches only once the new deployment answers."""
    bench, provider = answering()
    bench.running(want("base", size=1, lifecycle=CREATE_FIRST))
    provider.script = [BUSY, BUSY]
    new = probed("base", size=2, lifecycle=CREATE_FIRST)
    assert results(bench.run(replace(new, spec={**new.spec, "name": "base-2"}))) == {"base": "done"}
    last = max(i for i, item in enumerate(bench.trace.items) if item[0] == "probe")
    assert last < bench.trace.place("send", "delete")
    assert [thing.name for thing in bench.cloud.alive()] == ["base-2"]


def test_the_old_one_serves_on_while_the_new_one_does_not_answer() -> None:
    """A new deployment that never answers takes nothing away; the next apply asks it again, then the old one goes."""
    bench, provider = failing()
    bench.running(want("base", size=1, lifecycle=CREATE_FIRST))
    new = probed("base", size=2, lifecycle=CREATE_FIRST)
    new = replace(new, spec={**new.spec, "name": "base-2"})
    for _ in range(2):
        assert results(bench.run(new))["base"] == "failed"
        assert sorted(thing.name for thing in bench.cloud.alive()) == ["base", "base-2"]
    provider.always = (200, "")
    bench.run(new)
    assert [thing.name for thing in bench.cloud.alive()] == ["base-2"]
    assert quiet(bench.plan(new))


# --- what ends a run ----------------------------------------------------------------------------------------------
def test_an_interrupted_probe_is_made_again() -> None:
    """Stopped while it asks: recorded as pending, and asked by the next run."""
    bench, provider = failing()

    def emit(event: object) -> None:
        if len(provider.asked) == 2:
            bench.stop.request(2)

    report = bench.apply(bench.plan(probed("base")), emit=emit)
    assert results(report) == {"base": "interrupted"}
    entry = report.state.deployments["base"]
    assert entry.pending is not None
    assert entry.id == "dep-1"


def test_a_change_of_what_was_not_probed_yet_ends_with_its_probe() -> None:
    """Killed in a scale of a deployment whose deploy had no answer yet: the next run still asks it."""
    bench, provider = answering()
    unasked = Pending("deploy", "2026-01-01T00:00:00Z", "no answer")
    bench.running(probed("base"), probe=probed("base").probe, pending=unasked)
    plan, before = bench.plan(probed("base", replicas=2)), bench.state

    def die() -> None:
        raise KilledError

    bench.cloud.fault("scale", "call", then=die)
    with pytest.raises(KilledError):
        bench.apply(plan)
    bench.state, _ = bench.journal.after(before)
    bench.journal = MemoryJournal(bench.trace)
    bench.workers.jobs.clear()
    assert provider.asked == []
    bench.run(probed("base", replicas=2))
    assert [id_ for _, _, id_ in provider.asked] == ["dep-1"]
    assert quiet(bench.plan(probed("base", replicas=2)))


def test_killed_at_any_point_it_is_deployed_once_and_probed() -> None:
    """Wherever the run dies, the next ones deploy nothing twice and end with an answer."""
    for kill_at in range(1, 40):
        bench, provider = answering()
        provider.script = [BUSY]
        bench.journal = MemoryJournal(bench.trace, kill_at)
        plan = bench.plan(probed("base"))
        try:
            bench.apply(plan)
        except KilledError:
            bench.state, bench.intents = bench.journal.after(bench.state)
            bench.journal = MemoryJournal(bench.trace)
            bench.workers.jobs.clear()
        else:
            break
        if bench.intents:
            bench.write_down()
        bench.run(probed("base"))
        assert len(bench.cloud.alive()) == 1
        assert quiet(bench.plan(probed("base"))), kill_at
        assert provider.asked[-1][2] == "dep-1"
    else:
        pytest.fail("the run has more points than were tried")


# --- what is not probed -------------------------------------------------------------------------------------------
def test_without_a_probe_nothing_is_asked() -> None:
    """Off unless the file asks for it."""
    bench, provider = answering()
    bench.run(want("base"))
    assert not provider.asked


def test_a_probe_that_is_added_or_changed_is_written_down_only() -> None:
    """A running deployment is not asked because its file changed: a state change, `probe`."""
    bench, provider = answering()
    bench.running(want("base"))
    plan = bench.plan(probed("base"))
    assert [(c.kind, c.path, c.before, c.after) for c in plan.state_changes] == [
        ("probe", "probe", None, {"timeout": 60.0, "interval": 10.0})
    ]
    bench.apply(plan)
    assert not provider.asked
    assert bench.state.deployments["base"].probe == Probe(timeout=60.0, interval=10.0)
    assert quiet(bench.plan(probed("base")))


def test_a_scale_is_not_probed() -> None:
    """A probe belongs to a deploy: what has answered once is not asked at every change."""
    bench, provider = answering()
    bench.running(probed("base", replicas=1))
    bench.run(probed("base", replicas=2))
    assert not provider.asked


# --- what can't be probed -----------------------------------------------------------------------------------------
def test_a_missing_credential_is_told_before_anything_is_sent() -> None:
    """A deploy that could never be seen to answer is not begun: it would only cost money."""
    bench, provider = answering()
    provider.problem = Problem("probe", "there is no key", "set KEY")
    with pytest.raises(ReconcilerError) as caught:
        bench.run(probed("base"), want("other"))
    (told_,) = caught.value.diagnostics
    assert (told_.summary, told_.hint) == ("base can't be probed: there is no key", "set KEY")
    assert not bench.trace.sends()


def test_a_provider_without_probes_is_told_so() -> None:
    """A provider type of another package may have none."""
    bench = Bench()
    assert isinstance(bench.provider, FakeProvider)
    with pytest.raises(ReconcilerError, match="no way to ask"):
        bench.run(probed("base"))


def test_a_record_that_was_pending_for_another_reason_is_probed_too() -> None:
    """A deploy that an earlier run gave up waiting for is done when it answers, not when it is ready."""
    bench, provider = answering()
    bench.running(probed("base"), pending=Pending("deploy", "2026-01-01T00:00:00Z", "timed out"))
    bench.run(probed("base"))
    assert len(provider.asked) == 1
    assert bench.state.deployments["base"].pending is None
