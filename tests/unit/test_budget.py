"""What a run may cost, counted and never timed: requests, requests in flight, imports, bytes written.

The times themselves are measured by `benchmarks/run.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from math import ceil
from pathlib import Path

import pytest

from reconciler.edge.files import write_whole
from reconciler.engine.apply import apply
from reconciler.engine.stop import StopSignal
from reconciler.model import Json, State
from tests.contract.case import Bench, ContractCase
from tests.support.fake_provider import InlineWorkers
from tests.support.rehearsal import REGISTRY, RUN, Party, Place
from tests.support.stores import JOURNAL, SNAPSHOT, holding, store_in

SETTINGS: Mapping[str, Mapping[str, Json]] = {
    "modelstudio": {"region": "cn"},
    "neevcloud": {"org_id": "org-1", "project_id": "prj-1"},
    "nugen": {},
    "opensearch": {"endpoint": "https://search.example.org:9200"},
}


def spec(type_: str, i: int) -> Mapping[str, Json]:
    """A valid spec with an identity of its own."""
    specs: dict[str, dict[str, Json]] = {
        "modelstudio": {"model_name": f"qwen-test-{i}", "plan": "mu", "capacity": 1},
        "neevcloud": {
            "catalog_id": "meta-llama-Llama-3.1-8B-Instruct",
            "region": "in-south-1",
            "gpu_config_id": "gpu-h100-80",
            "plan_id": "plan-h100-ondemand",
        },
        "nugen": {"alignment_id": f"alignment-test{i}"},
        "opensearch": {"connector_id": f"connector-{i}"},
    }
    return specs[type_]


def file_of(type_: str, count: int, **settings: Json) -> dict[str, Json]:
    """A desired-state file of `count` deployments at one provider."""
    return {
        "providers": {type_: {**SETTINGS[type_], **settings}},
        "deployments": {f"m{i:05}": {"provider": type_, "spec": spec(type_, i)} for i in range(count)},
    }


def party_at(file: Mapping[str, Json]) -> Party:
    """Somebody whose provider answers every create with a deployment that is ready."""
    party = Party(Place())
    stack = party.stack(file)
    party.connect(stack)
    party.place.knobs(stack.providers, instant=True)
    return party


# --- requests -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("type_", sorted(SETTINGS))
def test_a_plan_reads_each_page_once_and_no_deployment_by_itself(type_: str) -> None:
    """A plan of N deployments sends ceil(N / page) requests for a list (one, where it has no pages), and no request for
    any single deployment that the list shows."""
    page = REGISTRY.types[type_].capabilities.page_size
    for count in (1, 150, 201):
        file = file_of(type_, count)
        party = party_at(file)
        party.run(file)
        party.place.sandbox.requests.clear()
        plan = party.plan(file)
        sent = Counter((method, path) for _, method, path in party.place.sandbox.requests.recent)
        assert {action.action for action in plan.actions} == {"none"}
        pages = ceil(count / page) if page else 1
        assert max(sent.values()) == pages, sent
        assert len(sent) <= 4, sent  # lists of its own: OpenSearch has models, groups, connectors and one profile
        ids = {action.id for action in plan.actions}
        assert not any(ids & set(path.split("/")) for _, path in sent), sent


def test_requests_in_flight_stay_within_the_limit_and_above_one() -> None:
    """Pages of a list are read side by side, never more of them at once than `max_concurrency` allows."""
    case = ContractCase(
        type="neevcloud",
        spec=lambda i: dict(spec("neevcloud", i)),
        create="POST .*/aimodels$",
        list_="GET .*/aimodels$",
        settings=SETTINGS["neevcloud"],
        knobs={"instant": True},
    )
    bench = Bench(case)
    for i in range(501):
        bench.deploy(i)
    bench.knob(latency=0.02)
    bench.sandbox.requests.clear()
    assert len(bench.connect(max_concurrency=3).list()) == 501
    (most,) = bench.sandbox.requests.most_in_flight.values()
    bench.close()
    assert 1 < most <= 3


# --- imports --------------------------------------------------------------------------------------------------------
def test_a_plan_without_a_change_imports_neither_deepdiff_nor_jsonschema(tmp_path: Path) -> None:
    """DeepDiff is for pairs that differ, jsonschema for files with errors: a plan in which nothing differs pays for
    neither."""
    file = {"version": 1, "stack": "budget", **file_of("nugen", 3)}
    (tmp_path / "reconciler.yaml").write_text(json.dumps(file))
    imported_by(tmp_path, "--sandbox", "apply", "--auto-approve")
    assert not imported_by(tmp_path, "--sandbox", "plan", "--detailed-exitcode") & {"deepdiff", "jsonschema"}


def imported_by(folder: Path, *arguments: str) -> set[str]:
    """The modules of a real process at its end, which must be a good one."""
    code = (
        "import json, sys\n"
        "from reconciler.cli.entry import run\n"
        f"code = run({list(arguments)!r})\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    ended, modules = json.loads(ran.stderr.splitlines()[-1])
    assert ended == 0, ran.stdout + ran.stderr
    return set(modules)


# --- bytes ----------------------------------------------------------------------------------------------------------
def test_an_apply_writes_in_proportion_and_compacts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of an apply grows by the same bytes for each deployment, however many there are; the state is written
    whole at the end, and at the beginning of the first run of all."""
    whole: list[str] = []

    def counted(path: Path, data: bytes, *, backup: Path | None = None) -> None:
        whole.append(path.name)
        write_whole(path, data, backup=backup)

    monkeypatch.setattr("reconciler.edge.store.write_whole", counted)
    sizes = []
    for count in (20, 40, 80):
        folder = tmp_path / str(count)
        folder.mkdir()
        whole.clear()
        sizes.append(journal_of_an_apply(folder, count))
        assert whole.count(SNAPSHOT) == 2
    first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert first > 0
    assert abs(second - 2 * first) <= 0.02 * second, sizes


def journal_of_an_apply(folder: Path, count: int) -> int:
    """The bytes that stand in the journal once `count` deployments were created and before the state is written."""
    file = file_of("neevcloud", count)
    party = party_at(file)
    plan = party.plan(file, locked=True)
    state = State("bots", "bots-lineage", 0, "ab" * 32)
    with holding(store_in(folder)) as store:
        journal = store.open_journal(state=state)
        report = apply(
            plan, state, party.refreshed, providers=party.providers, configs=party.configs, types=REGISTRY.types,
            schemas=REGISTRY.schemas, journal=journal, run=RUN, clock=party.place.clock, emit=lambda _: None,
            stop=StopSignal(), workers=lambda _size: InlineWorkers(party.place.clock),  # type: ignore[arg-type]
        )  # fmt: skip
        assert {outcome.result for outcome in report.outcomes} == {"done"}
        size = (folder / JOURNAL).stat().st_size
        store.commit(report.state)
    return size
