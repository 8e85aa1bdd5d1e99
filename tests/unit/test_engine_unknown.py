"""Values that only the apply can know: resolved first, checked again, never a reason to do more than planned."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.values.digest import DIGEST_KEY
from reconciler.core.values.references import Reference, references
from reconciler.engine.values import Values
from reconciler.model import Desired, Json, Secret, Unknown
from reconciler.plan import Change, Plan
from reconciler.provider import Operation
from tests.support.engine_runs import Bench, outcome, results, want
from tests.support.fake_provider import FakeType


def linked(text: str = "${deployments.a.url}", attribute: str = "link", **spec: Json) -> Desired:
    """b, which needs a and refers to it."""
    desired = want("b", ["a"], **spec)
    return replace(desired, spec={**desired.spec, attribute: Unknown(text)}, references=(("a", "url"),))


def test_a_reference_to_what_was_just_deployed_is_filled_in() -> None:
    """The url of a is known once a is ready, and b is created with it."""
    bench = Bench()
    bench.run(want("a"), linked())
    assert bench.cloud.named("b").spec["link"] == "https://a.example"  # type: ignore[union-attr]
    assert bench.state.deployments["b"].spec["link"] == "https://a.example"


def test_text_around_a_reference_is_kept() -> None:
    """`${…}/v1` becomes a text."""
    bench = Bench()
    bench.run(want("a"), linked("${deployments.a.url}/v1"))
    assert bench.cloud.named("b").spec["link"] == "https://a.example/v1"  # type: ignore[union-attr]


def test_a_value_that_turns_out_equal_to_live_sends_nothing() -> None:
    """The replace that may be needed is not: `unchanged`, no request, b keeps its id."""
    bench = Bench()
    bench.running(want("a", size=1), want("b", ["a"], link="https://a.example"))
    report = bench.run(want("a", size=2), linked())
    assert results(report) == {"a": "done", "b": "unchanged"}
    assert [address for _, address in bench.trace.sends()] == ["a", "a"]
    assert bench.state.deployments["b"].id == "dep-2"
    last = [event for event in bench.events if event.address == "b"][-1]
    assert (last.event, last.status) == ("done", "unchanged")


def test_what_failed_is_not_replaced_for_a_value_that_turns_out_equal() -> None:
    """Where it could be started again, the value decides whether it is replaced. If it is equal, nothing is sent, but
    that is no success: the next plan starts it."""
    bench = Bench(type=FakeType(restartable=True))
    bench.running(want("a", size=1), want("b", ["a"], link="https://a.example"))
    bench.cloud.things["dep-2"].health = "failed"
    plan = bench.plan(want("a", size=2), linked())
    assert [(action.action, action.may) for action in plan.actions] == [("replace", False), ("replace", True)]
    report = bench.apply(plan)
    error = outcome(report, "b").error
    assert error is not None
    assert error.summary == "b would need deploy, but replace was planned"
    assert [address for _, address in bench.trace.sends()] == ["a", "a"]
    again = bench.plan(want("a", size=2), linked())
    assert [(action.address, action.action) for action in again.actions] == [("a", "none"), ("b", "deploy")]


def test_what_failed_and_no_call_starts_again_is_replaced_for_certain() -> None:
    """Its failure alone asks for that."""
    bench = Bench()
    bench.running(want("a", size=1), want("b", ["a"], link="https://a.example"))
    bench.cloud.things["dep-2"].health = "failed"
    plan = bench.plan(want("a", size=2), linked())
    assert [(action.action, action.may) for action in plan.actions] == [("replace", False), ("replace", False)]


def test_a_value_that_the_schema_forbids_fails_before_the_first_request() -> None:
    """Checked again when it is known; nothing is sent for it, the rest goes on."""
    bench = Bench()
    bench.running(want("a", size=1))
    plan = bench.plan(want("a", size=2), linked("${deployments.a.url}", "size"))
    report = bench.apply(plan)
    error = outcome(report, "b").error
    assert results(report) == {"a": "done", "b": "failed"}
    assert error is not None
    assert "size" in error.summary
    assert ("create", "b") not in bench.trace.sends()


def test_a_value_that_the_provider_type_forbids_fails_before_the_first_request() -> None:
    """Its own limits count as well as the schema's."""
    bench = Bench()
    plan = bench.plan(want("a"), want("b"))
    late = replace(want("b"), spec={"name": "b", "note": Unknown("${deployments.a.note}")})
    plan = _with_desired(plan, late)
    plan = _with_desired(plan, want("a", note="forbidden"))
    report = bench.apply(plan, parallelism=1)
    assert results(report) == {"a": "done", "b": "failed"}
    assert [address for _, address in bench.trace.sends()] == ["a"]


def test_more_than_was_planned_is_never_done() -> None:
    """An update was planned; the value turns out to need a replace: failed, with a text that says so."""
    bench = Bench()
    bench.running(want("a"), want("b", ["a"], note="x", link="https://old"))
    plan = bench.plan(want("a"), want("b", ["a"], note="y", link="https://old"))
    stronger = replace(want("b", ["a"]), spec={"name": "b", "note": "y", "link": Unknown("${deployments.a.url}")})
    report = bench.apply(_with_desired(plan, stronger))
    error = outcome(report, "b").error
    assert error is not None
    assert "would need replace, but update was planned" in error.summary
    assert bench.trace.sends() == []


def test_an_attribute_that_nobody_returned_fails_with_its_reference() -> None:
    """The text names the attribute and what it refers to."""
    bench = Bench()
    plan = bench.plan(want("a"), want("b", ["a"]))
    plan = _with_desired(plan, linked("${deployments.a.missing}"))
    report = bench.apply(plan)
    error = outcome(report, "b").error
    assert error is not None
    assert "link of b can't be known: ${deployments.a.missing}" in error.summary


def test_only_what_really_differs_is_changed() -> None:
    """Of two attributes planned as changes, the one that turns out equal is left out of the operation."""
    bench = Bench()
    bench.running(want("a"), want("b", note="old", replicas=2))
    plan = bench.plan(want("a"), want("b", note="old", replicas=2))
    desired = replace(want("b"), spec={"name": "b", "note": Unknown("${deployments.a.id}"), "replicas": 2})
    action = replace(
        next(found for found in plan.actions if found.address == "b"), action="update", desired=desired,
        changes=(Change("note", "old", None, unknown=True), Change("replicas", 2, None, unknown=True)), may=True,
    )  # fmt: skip
    seen: list[tuple[str, ...]] = []
    send = bench.provider.send

    def watch(op: Operation, call):  # type: ignore[no-untyped-def]
        seen.append(op.changes)
        return send(op, call)

    bench.provider.send = watch  # type: ignore[method-assign]
    bench.apply(replace(plan, actions=(*[found for found in plan.actions if found.address != "b"], action)))
    assert seen == [("note",)]


def test_secrets_are_in_clear_for_the_provider_and_nowhere_else() -> None:
    """The request has the token; journal, state, events and report do not."""
    bench = Bench()
    sent: list[Json] = []
    send = bench.provider.send

    def watch(op: Operation, call):  # type: ignore[no-untyped-def]
        sent.append(op.desired.get("token"))
        return send(op, call)

    bench.provider.send = watch  # type: ignore[method-assign]
    desired = replace(want("a"), spec={"name": "a", "token": Secret("s3cr3t-canary", "${env.TOKEN}")})
    journal = bench.journal
    report = bench.run(desired)
    assert sent == ["s3cr3t-canary"]
    assert b"s3cr3t-canary" not in b"".join(journal.disk)
    assert "s3cr3t-canary" not in repr((report, bench.events, bench.state))
    assert "$digest" in bench.state.deployments["a"].spec["token"]


def test_outputs_are_resolved_at_the_end() -> None:
    """What an output refers to is known by then; one that failed keeps its value of before."""
    bench = Bench()
    bench.running(want("a"))
    bench.state = replace(bench.state, outputs={"b_url": "https://before"})
    bench.cloud.fault("create", "refused", address="b")
    outputs = {"a_url": Unknown("${deployments.a.url}"), "b_url": Unknown("${deployments.b.url}")}
    report = bench.apply(bench.plan(want("a", replicas=2), want("b"), outputs=outputs))
    assert report.outputs == {"a_url": "https://a.example", "b_url": "https://before"}
    assert bench.state.outputs == report.outputs


def test_a_secret_beside_a_reference_is_asked_for_and_stays_marked() -> None:
    """`${env.TOKEN}@${deployments.a.id}`: resolved with the secret's value, and sensitive as a whole."""
    bench = Bench()
    bench.running(want("a"))

    def secrets(reference: Reference) -> Json:
        return Secret("s3cr3t", reference.text)

    values = Values(bench.state.deployments, secrets)
    text = Unknown("${env.TOKEN}@${deployments.a.id}", sensitive=True)
    resolved = values.resolve(replace(want("b"), spec={"name": "b", "token": text}))
    assert isinstance(resolved.spec["token"], Secret)
    assert resolved.spec["token"].value == "s3cr3t@dep-1"


def _with_desired(plan: Plan, desired: Desired) -> Plan:
    actions = tuple(
        replace(action, desired=desired) if action.address == desired.address else action for action in plan.actions
    )
    return replace(plan, actions=actions)


def test_a_digest_is_never_taken_for_the_secret_that_it_stands_for() -> None:
    """Quoting what holds a secret somewhere: the state has its digest alone, so that can't be known."""
    held = {"env": {"T": {DIGEST_KEY: "hmac-sha256:00"}, "N": "1"}, "list": [{DIGEST_KEY: "hmac-sha256:00"}]}
    bench = Bench()
    bench.running(want("a"))
    entry = replace(bench.state.deployments["a"], spec={"name": "a", "config": held})
    values = Values({"a": entry})
    for text in ("config", "config.env", "config.list", "config.env.T"):
        (reference,) = references(f"${{deployments.a.{text}}}")
        assert isinstance(values.lookup(reference), Unknown), text
    (plain,) = references("${deployments.a.config.env.N}")
    assert values.lookup(plain) == "1"
