"""What machines read: JSON, event lines, metrics, graphs, generated YAML."""

from __future__ import annotations

import json

import pytest
import yaml

from reconciler.diagnostics import Diagnostic
from reconciler.model import Desired, Secret, Stack, Unknown
from reconciler.plan import CostTotal, Drift, Event, Outcome, Plan, Unmanaged
from reconciler.render.generate import Found, generate_yaml
from reconciler.render.graph import dot, mermaid
from reconciler.render.json import event_line, summary_to_json, to_json
from reconciler.render.metrics import metrics_text


def test_json_carries_every_character_and_shows_none_that_acts() -> None:
    """Readers get the exact text back, terminals see no control character, streams can encode it."""
    text = "\x1b\x9b\u202e\u2028\ud800\U0001f600\U000e0001é\n"
    shown = to_json({"a": text}, indent=None)
    assert json.loads(shown) == {"a": text}
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize("leaf", [Secret("x"), Unknown("${deployments.a.id}"), float("nan")])
def test_json_refuses_what_must_not_get_there(leaf: object) -> None:
    """A secret that a codec let through is an error, not a leak; NaN is no JSON."""
    with pytest.raises((TypeError, ValueError)):
        to_json({"a": leaf})


def test_events_hold_the_fields_that_apply() -> None:
    """One line an event, in the contract's order, without nulls."""
    event = Event("done", "chat", "scale", id="dep-1", health="ready", elapsed=1.23456)
    assert event_line(event) == (
        '{"event": "done", "address": "chat", "action": "scale", "id": "dep-1", "health": "ready", "elapsed": 1.235}'
    )


def test_the_summary_counts_actions() -> None:
    """`none` is not counted; unchanged is done, interrupted is failed; outputs are sorted."""
    outcomes = [
        Outcome("a", "deploy", "done"), Outcome("b", "update", "unchanged"), Outcome("c", "scale", "failed"),
        Outcome("d", "deploy", "interrupted"), Outcome("e", "deploy", "skipped"), Outcome("f", "none", "done"),
    ]  # fmt: skip
    assert to_json(summary_to_json(outcomes, {"b": 1, "a": "x"}), indent=None) == (
        '{"event": "summary", "done": 2, "failed": 2, "skipped": 1, "outputs": {"a": "x", "b": 1}}'
    )


PLAN = Plan(
    "s",
    "l",
    3,
    drift=(
        Drift("a", "changed", "n", 1, 2),
        Drift("a", "changed", "m", 1, 2),
        Drift("b", "missing", "status", "ready", None),
    ),
    unmanaged=(Unmanaged("nugen", "1", "x", "on"),),
    unreadable=(Diagnostic("503", provider="opensearch"), Diagnostic("403", provider="nugen", address="c")),
    costs=(CostTotal(2.5, 2.5, "USD", 1, 1), CostTotal(3, 3, "CNY", 1, 1)),
    looked_at=("nugen",),
)  # fmt: skip


def test_metrics_count_deployments_not_attributes() -> None:
    """Two drifted attributes of one deployment are one drifted deployment; every class has a sample."""
    lines = metrics_text(PLAN, at=1700000000.0).splitlines()
    assert 'reconciler_drift{stack="s",class="changed"} 1' in lines
    assert 'reconciler_drift{stack="s",class="missing"} 1' in lines
    assert 'reconciler_drift{stack="s",class="unmanaged"} 1' in lines
    assert 'reconciler_drift{stack="s",class="unreadable"} 2' in lines
    assert 'reconciler_drift{stack="s",class="not_compared"} 0' in lines
    assert 'reconciler_provider_up{stack="s",provider="opensearch"} 0' in lines
    assert 'reconciler_provider_up{stack="s",provider="nugen"} 1' in lines
    assert 'reconciler_hourly_cost{stack="s",currency="USD"} 2.5' in lines
    assert 'reconciler_hourly_cost_unknown{stack="s"} 1' in lines
    assert 'reconciler_drift_run_timestamp_seconds{stack="s"} 1700000000' in lines


def test_metrics_are_wellformed() -> None:
    """Each metric has its HELP and TYPE once, before its samples; label values are escaped."""
    text = metrics_text(Plan("s", "l", 1, looked_at=('a"\\\n',)))
    assert 'provider="a\\"\\\\\\\\n"' in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert text.count("# HELP") == len(names)
    assert "timestamp" not in text
    assert text.endswith("\n")


STACK = Stack(
    "s",
    {},
    {
        'chat["a\\"b"]': Desired('chat["a\\"b"]', "nugen", "nugen", {}, depends_on=("embedder",)),
        "embedder": Desired("embedder", "nugen.<b>", "nugen", {}),
    },
)


def test_dot_quotes_addresses() -> None:
    """Quotes and backslashes of an address stay inside its node."""
    text = dot(STACK)
    assert '  "chat[\\"a\\\\\\"b\\"]" -> "embedder";' in text
    assert text.startswith('digraph "s" {')


def test_mermaid_quotes_addresses() -> None:
    """Nodes have names of ours; labels hold no character that Mermaid or HTML would act on."""
    assert mermaid(STACK).splitlines() == [
        "flowchart LR",
        '  n0["chat#91;#34;a#92;#34;b#34;#93;<br/>nugen"]',
        '  n1["embedder<br/>nugen.#60;b#62;"]',
        "  n0 --> n1",
    ]


def test_generated_yaml_reads_back() -> None:
    """Whatever a provider answers comes back as the same value, with literal `${` kept literal."""
    spec = {
        "name": "no", "n": 1, "f": 1.5, "on": True, "none": None, "k: e": "#x", "list": [1, {"a": ["b"]}], "empty": [],
        "deep": {"a": {"b": "x\n\x85\u2028\U0001f600\ufeff\ud800"}, "none": {}}, "t": "${env.HOME}",
    }  # fmt: skip
    found = [Found("chat-1", "nugen", spec), Found("y", "neevcloud.eu", {})]
    read = yaml.safe_load(generate_yaml(found))
    spec["t"] = "$${env.HOME}"
    spec["deep"]["a"]["b"] = "x\n\x85\u2028\U0001f600\ufeff\ufffd"  # type: ignore[index]
    assert read == {
        "deployments": {"chat-1": {"provider": "nugen", "spec": spec}, "y": {"provider": "neevcloud.eu", "spec": {}}}
    }


def test_what_is_never_returned_becomes_a_variable() -> None:
    """Missing attributes, nested ones too, are references to variables without a default; names never collide."""
    read = yaml.safe_load(
        generate_yaml(
            [
                Found("a-b", "p", {"c": {"x": 1}}, ("plan_id", "c.key"), frozenset({"c.key"})),
                Found("a_b", "p", {}, ("plan_id",)),
            ]
        )
    )
    assert read["variables"] == {"a_b_plan_id": {}, "a_b_c_key": {"sensitive": True}, "a_b_plan_id_2": {}}
    assert read["deployments"]["a-b"]["spec"] == {
        "c": {"x": 1, "key": "${var.a_b_c_key}"},
        "plan_id": "${var.a_b_plan_id}",
    }
    assert read["deployments"]["a_b"]["spec"] == {"plan_id": "${var.a_b_plan_id_2}"}


def test_nothing_to_generate_is_an_empty_section() -> None:
    """The output stays a valid file."""
    assert yaml.safe_load(generate_yaml([])) == {"deployments": {}}
