"""The whole loop over Model Studio: what comes and goes within a deployment, and what plan, apply and next plan say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.model import Json
from tests.contract.case import ContractCase
from tests.contract.test_modelstudio import TestModelStudio as Units
from tests.contract.test_modelstudio import TestReservedThroughput as Reserved
from tests.integration.test_engine_providers import World

TWO: dict[str, Json] = {"input_tpm": 10_000, "output_tpm": 1000}
THREE: dict[str, Json] = {**TWO, "thinking_output_tpm": 500}


@pytest.fixture
def reserved() -> Iterator[World]:
    made = World(Reserved.case)
    yield made
    made.sandbox.close()


def test_a_reserved_figure_is_added_and_removed_in_place(reserved: World) -> None:
    """Each is one scale that is sent, of one deployment that stays, and the plan after it is empty."""
    for figures in (TWO, THREE, TWO):
        wanted = reserved.want(0, ptu_capacity=figures)
        report = reserved.run(wanted)
        assert [outcome.action for outcome in report.outcomes] in (["deploy"], ["scale"])
        assert [live.attributes["ptu_capacity"] for live in reserved.sandbox.serving()] == [figures]
        reserved.settled(wanted)
    assert reserved.sandbox.requests("PUT .*/scale$") == 2


def test_a_figure_that_comes_while_another_shrinks_is_refused(reserved: World) -> None:
    """As the provider would refuse it: nothing is sent, nothing recorded, and the next plan says the same again."""
    reserved.run(reserved.want(0, ptu_capacity=TWO))
    wanted = reserved.want(0, ptu_capacity={**THREE, "input_tpm": 5000})
    before = reserved.plan(wanted)
    (outcome,) = reserved.apply(before).outcomes
    assert outcome.result == "failed"
    assert "grow" in str(outcome.error)
    assert reserved.sandbox.requests("PUT .*/scale$") == 0
    assert [action.changes for action in reserved.plan(wanted).actions] == [action.changes for action in before.actions]


@pytest.mark.parametrize(
    ("case", "path", "value"),
    [(Units.case, "rpm_limit", 60), (Units.case, "tpm_limit", 9000), (Reserved.case, "overflow_strategy", "enable")],
)
def test_what_no_call_removes_is_refused_and_not_forgotten(case: ContractCase, path: str, value: Json) -> None:
    """The plan says so, the apply sends nothing and says what to do, and the next plan shows the same change."""
    world = World(case)
    world.run(world.want(0, **{path: value}))
    wanted = world.changed(world.want(0), lambda spec: {key: spec[key] for key in spec if key != path})
    before, sent = world.plan(wanted), world.sandbox.requests("PUT")
    (action,) = before.actions
    assert any("no call does that" in note for note in action.notes)
    (outcome,) = world.apply(before).outcomes
    assert outcome.result == "failed"
    assert f"no call removes {path}" in str(outcome.error)
    assert world.sandbox.requests("PUT") == sent
    (again,) = world.plan(wanted).actions
    assert (again.action, again.changes) == ("update", action.changes)
    kept = world.want(0, **{path: value})
    world.settled(kept)
    world.sandbox.close()
