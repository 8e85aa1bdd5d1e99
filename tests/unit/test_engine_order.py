"""In which order an apply does things, and how much of it at once."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.state.aside import aside, successor
from reconciler.core.state.state_codec import ADDRESS
from reconciler.model import Unknown
from tests.support.engine_runs import CREATE_FIRST, Bench, results, want


def test_dependencies_are_ready_before_what_needs_them_is_sent() -> None:
    """A create goes out only when all it depends on is ready, not merely accepted."""
    bench = Bench()
    bench.run(want("a"), want("b", ["a"]), want("c", ["b"]))
    for first, second in (("a", "b"), ("b", "c")):
        events = [(i, item[1]) for i, item in enumerate(bench.trace.items) if item[0] == "event"]
        done = next(i for i, event in events if (event.event, event.address) == ("done", first))
        assert done < bench.trace.place("send", "create", second)
        ready = next(item for item in bench.events if item.event == "done" and item.address == first)
        assert ready.health == "ready"


def test_dependents_are_gone_before_what_they_needed_is_undeployed() -> None:
    """Undeploys run the other way round, by the order that the state recorded."""
    bench = Bench()
    bench.run(want("a"), want("b", ["a"]), want("c", ["b"]))
    bench.run()
    assert [address for step, address in bench.trace.sends() if step == "delete"] == ["c", "b", "a"]
    assert bench.state.deployments == {}


def test_independent_deployments_run_side_by_side() -> None:
    """Nothing waits for what it does not depend on."""
    bench = Bench()
    start = bench.clock.time
    bench.run(*(want(f"d{i}") for i in range(6)))
    assert bench.clock.time - start < 2 * bench.cloud.busy + 2
    assert bench.workers.most == 6


def test_parallelism_bounds_actions_under_way_until_they_are_ready() -> None:
    """`--parallelism 2`: a third deployment is not begun while two are not ready yet."""
    bench = Bench()
    running: set[str] = set()
    most = 0
    report = bench.apply(bench.plan(*(want(f"d{i}") for i in range(7))), parallelism=2)
    for event in bench.events:
        if event.event == "started":
            running.add(event.address)
            most = max(most, len(running))
        elif event.event == "done":
            running.discard(event.address)
    assert most == 2
    assert set(results(report).values()) == {"done"}


def test_requests_in_flight_are_bounded_apart_from_parallelism() -> None:
    """A hundred actions may be under way; the provider still gets no more than max_concurrency requests at once."""
    bench = Bench(settings=replace(Bench().settings, settings={"max_concurrency": 3}))
    bench.apply(bench.plan(*(want(f"d{i:02}") for i in range(40))), parallelism=40)
    assert bench.workers.most == 3
    assert len(bench.state.deployments) == 40


def test_a_replace_undeploys_then_deploys_as_one_action() -> None:
    """One started and one done event; the step's name tells how far it is; the new id is recorded."""
    bench = Bench()
    bench.running(want("a", size=1))
    report = bench.run(want("a", size=2))
    assert bench.trace.sends() == [("delete", "a"), ("create", "a")]
    assert [event.event for event in bench.events if event.event != "progress"] == ["started", "done"]
    assert {event.step for event in bench.events} == {"undeploy", "deploy"}
    assert results(report) == {"a": "done"}
    assert bench.state.deployments["a"].id == "dep-2"


def test_what_depends_on_a_replaced_deployment_is_undeployed_first_and_deployed_last() -> None:
    """Both are replaced: b (needs a) leaves before a does, and comes back after a is ready."""
    bench = Bench()
    bench.running(want("a", size=1), want("b", ["a"], size=1))
    bench.run(want("a", size=2), want("b", ["a"], size=2))
    assert bench.trace.sends() == [("delete", "b"), ("delete", "a"), ("create", "a"), ("create", "b")]


def test_a_dependent_is_changed_before_what_it_no_longer_needs_goes() -> None:
    """b is updated not to need a any more; only then is a undeployed."""
    bench = Bench()
    bench.running(want("a"), want("b", ["a"], note="with a"))
    bench.run(want("b", note="without a"))
    assert bench.trace.sends() == [("update", "b"), ("delete", "a")]


def test_create_first_deploys_the_new_one_before_the_old_one_goes() -> None:
    """create_before_undeploy: the old one serves until the new one is ready and its dependents have moved."""
    bench = Bench()
    bench.running(want("a", size=1, lifecycle=CREATE_FIRST), want("b", ["a"], note="old"))
    new = replace(want("a", size=2, lifecycle=CREATE_FIRST), spec={"name": "a-new", "size": 2})
    report = bench.run(new, want("b", ["a"], note="new"))
    assert bench.trace.sends() == [("create", "a"), ("update", "b"), ("delete", "a")]
    assert results(report) == {"a": "done", "b": "done"}
    assert set(bench.state.deployments) == {"a", "b"}
    assert bench.state.deployments["a"].identity == "a-new"


def test_an_old_deployment_is_never_forgotten_when_a_dependent_fails() -> None:
    """Create-first, and the dependent could not move: the old one stays running and stays in the state."""
    bench = Bench()
    bench.running(want("a", size=1, lifecycle=CREATE_FIRST), want("b", ["a"], note="old"))
    bench.cloud.fault("update", "refused")
    new = replace(want("a", size=2, lifecycle=CREATE_FIRST), spec={"name": "a-new", "size": 2})
    report = bench.run(new, want("b", ["a"], note="new"))
    assert results(report) == {"a": "failed", "b": "failed"}
    assert {entry.id for entry in bench.state.deployments.values()} == {"dep-1", "dep-2", "dep-3"}
    again = bench.run(new, want("b", ["a"], note="new"))
    assert set(results(again).values()) == {"done"}
    assert set(bench.state.deployments) == {"a", "b"}
    assert {thing.name for thing in bench.cloud.alive()} == {"a-new", "b"}


def test_an_old_deployment_left_aside_serves_as_long_as_its_dependents_are_refused() -> None:
    """Create-first, and the dependent could not move, run after run: what it was recorded as needing is the old one."""
    bench = Bench()
    bench.running(want("a", size=1, lifecycle=CREATE_FIRST), want("b", ["a"], note="old"))
    new = replace(want("a", size=2, lifecycle=CREATE_FIRST), spec={"name": "a-new", "size": 2})
    for _ in range(2):
        bench.cloud.fault("update", "refused")
        plan = bench.plan(new, want("b", ["a"], note="new"))
        assert results(bench.apply(plan))["b"] == "failed"
        assert "a" in {thing.name for thing in bench.cloud.alive()}
    assert [action.address for action in plan.actions] == ["a", "b", 'a["replaced-0"]']


def test_an_old_deployment_left_aside_goes_only_after_the_new_one_is_ready() -> None:
    """Create-first, and the new one failed: the next run brings up another one before the old one is undeployed."""
    bench = Bench()
    bench.running(want("a", size=1, lifecycle=CREATE_FIRST))
    new = replace(want("a", lifecycle=CREATE_FIRST), spec={"name": "a-new", "size": 2})
    bench.cloud.failing.add("a-new")
    assert results(bench.run(new)) == {"a": "failed"}
    assert set(bench.state.deployments) == {"a", 'a["replaced-0"]'}
    assert results(bench.run(replace(new, spec={"name": "a-new2", "size": 3}))) == {
        "a": "done",
        'a["replaced-0"]': "done",
    }
    order = [(step, address) for step, address in bench.trace.sends()][1:]
    assert order.index(("create", "a")) < order.index(("delete", 'a["replaced-0"]'))
    assert {thing.name for thing in bench.cloud.alive()} == {"a-new2"}


def test_what_stands_aside_is_named_after_its_successor() -> None:
    """The name says whose it was, also for an instance; no other address is taken for one."""
    for address in ("chat", 'chat["eu"]', 'chat["eu-west-1"]'):
        assert successor(aside(address, 3)) == address
        assert ADDRESS.fullmatch(aside(address, 3))
    assert successor('chat["eu"]') is None
    assert successor("chat") is None


def test_a_replace_that_only_may_be_needed_waits_for_its_dependency_first() -> None:
    """b refers to a's new url: b is not undeployed before that url is known."""
    bench = Bench()
    bench.running(want("a", size=1), want("b", ["a"], link="https://a.example/"))
    linked = replace(
        want("b", ["a"]), spec={"name": "b", "link": Unknown("${deployments.a.id}")}, references=(("a", "id"),)
    )
    bench.run(want("a", size=2), linked)
    assert bench.trace.sends() == [("delete", "a"), ("create", "a"), ("delete", "b"), ("create", "b")]
    assert bench.state.deployments["b"].spec["link"] == bench.state.deployments["a"].id


def test_a_deployment_on_its_way_is_waited_for() -> None:
    """`none`, but still pending: the apply ends when it is ready, sends nothing, and counts no action."""
    bench = Bench()
    bench.running(want("a"))
    bench.cloud.named("a").ready_at = bench.clock.time + 5  # type: ignore[union-attr]
    report = bench.run(want("a"))
    assert bench.trace.sends() == []
    assert bench.events[-1].event == "done"
    assert bench.events[-1].action == "none"
    assert report.outcomes == ()


def test_a_deployment_on_its_way_out_is_waited_for_before_the_new_one() -> None:
    """The identity is taken until the old one is gone: the create goes out after that, once."""
    bench = Bench()
    bench.running(want("a"))
    bench.cloud.named("a").gone_at = bench.clock.time + 5  # type: ignore[union-attr]
    report = bench.run(want("a"))
    assert bench.trace.sends() == [("create", "a")]
    assert results(report) == {"a": "done"}
    assert bench.state.deployments["a"].id == "dep-2"


def test_a_plan_with_nothing_to_do_writes_nothing() -> None:
    """No action and no state change: not a line in the journal, the same serial."""
    bench = Bench()
    bench.run(want("a"))
    serial, before = bench.state.serial, len(bench.trace.of("append"))
    report = bench.run(want("a"))
    assert len(bench.trace.of("append")) == before
    assert report.state.serial == serial


def test_adopting_records_the_deployment_and_makes_only_the_changes_it_needs() -> None:
    """adopt: true takes over what is live under that identity; here one scale, no create."""
    bench = Bench()
    bench.cloud.create({"name": "a"}).ready_at = 0
    report = bench.run(want("a", replicas=3, adopt=True))
    assert bench.trace.sends() == [("scale", "a")]
    assert results(report) == {"a": "done"}
    assert bench.state.deployments["a"].id == "dep-1"


def test_forgetting_touches_no_provider() -> None:
    """What has gone by hand and is declared no more is only dropped from the state."""
    bench = Bench()
    bench.running(want("a"))
    bench.cloud.things.clear()
    report = bench.run()
    assert results(report) == {"a": "done"}
    assert bench.trace.sends() == []
    assert bench.state.deployments == {}
