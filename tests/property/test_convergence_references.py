"""Deployments of four providers that take values from one another: what is known only at the apply converges too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import Json
from tests.support.rehearsal import Party, Place, differences

KINDS = ("neevcloud", "modelstudio", "nugen", "opensearch")
PROVIDERS = {
    "neevcloud": {"org_id": "org-1", "project_id": "prj-1"}, "modelstudio": {"region": "cn"}, "nugen": {},
    "opensearch": {"endpoint": "https://search.example:9200"},
}  # fmt: skip
quietly = settings(max_examples=20, deadline=None, derandomize=True, database=None)


def spec(kind: str, address: str, peer: str, size: int) -> dict[str, Json]:
    """A spec that holds `peer`, a text or a reference, and something that scales, where it can."""
    match kind:
        case "neevcloud":
            place = {"region": "in-south-1", "gpu_config_id": "gpu-1", "gpu_count": 1, "plan_id": "plan-1"}
            return {**place, "catalog_id": "cat", "replicas": size, "config": {"extra_args": ["--peer", peer]}}
        case "modelstudio":
            return {"model_name": "qwen", "plan": "mu", "capacity": size, "name": peer}
        case "nugen":
            return {"alignment_id": f"alignment-{address}", "inference_provider": peer}
        case _:
            action = {"action_type": "predict", "method": "POST", "url": "https://service.example/v1"}
            connector = {"parameters": {"peer": peer}, "credential": {"key": "${env.TOKEN}"}, "actions": [action]}
            return {"connector": connector, "is_enabled": size == 1}


@st.composite
def files(draw: st.DrawFn, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Some of these addresses, each taking a value of an earlier one or a plain text, and an output of each."""
    names = draw(st.permutations(sorted(kinds)))[: draw(st.integers(0, len(kinds)))]
    blocks: dict[str, Json] = {}
    for at, name in enumerate(names):
        peer = draw(st.sampled_from(["plain", *(f"{other}.id" for other in names[:at])]))
        text = peer if peer == "plain" else f"${{deployments.{peer}}}"
        blocks[name] = {"provider": kinds[name], "spec": spec(kinds[name], name, text, draw(st.integers(1, 2)))}
    return {
        "providers": PROVIDERS, "deployments": blocks,
        "outputs": {name.replace("-", "_"): f"${{deployments.{name}.status}}" for name in names},
    }  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two files over the same addresses, each of one kind in both."""
    count = draw(st.integers(1, 5))
    kinds = {f"dep-{i}": draw(st.sampled_from(KINDS)) for i in range(count)}
    return draw(files(kinds)), draw(files(kinds))


@quietly
@given(pair=pairs(), parallelism=st.sampled_from([1, 10]))
def test_any_file_leads_to_any_other(pair: tuple[dict[str, Any], dict[str, Any]], parallelism: int) -> None:
    """Whoever takes whose id, in the file before and in the one after: one apply each, and the plan is empty."""
    party = Party(Place())
    for file in pair:
        report = party.run(file, parallelism=parallelism)
        assert [o for o in report.outcomes if o.result not in ("done", "unchanged")] == []
        assert differences(party.plan(file)) == []


@quietly
@given(pair=pairs(), data=st.data())
def test_a_kill_between_the_two_is_survived(pair: tuple[dict[str, Any], dict[str, Any]], data: st.DataObject) -> None:
    """The second apply dies at any write; the next one ends with the file, and nothing is there twice."""
    before, after = pair
    party = Party(Place())
    party.run(before)
    calm = party.fork()
    calm.run(after)
    assert differences(calm.plan(after)) == []
    at, sent = data.draw(st.integers(1, max(1, calm.written))), data.draw(st.booleans())
    party.killed(party.plan(after, locked=True), at, sent=sent)
    report = party.run(after)
    assert [o for o in report.outcomes if o.result not in ("done", "unchanged")] == []
    assert differences(party.plan(after)) == []
    assert counts(party) == counts(calm)


def counts(party: Party) -> dict[str, list[str]]:
    """How many deployments are live at each provider, by their health."""
    return {
        key: sorted(one.health for one in listing.objects if not one.dormant)
        for key, listing in party.refreshed.listings.items()
    }
