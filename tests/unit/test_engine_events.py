"""The event stream keeps to its published schema."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.support.engine_runs import Bench, want

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "events.v1.schema.json").read_text("utf-8"))


def test_the_schema_is_one() -> None:
    """It can be used to check with."""
    Draft202012Validator.check_schema(SCHEMA)


def test_every_event_of_a_mixed_run_fits_the_schema() -> None:
    """Deploys, a replace, an undeploy, a failure and what is skipped after it."""
    bench = Bench()
    bench.running(want("r", size=1), want("gone"))
    bench.cloud.fault("create", "refused", address="x")
    bench.run(want("r", size=2), want("x"), want("y", ["x"]), want("z", replicas=2))
    validator = Draft202012Validator(SCHEMA)
    assert {event.event for event in bench.events} == {"started", "progress", "done", "failed", "skipped"}
    for event in bench.events:
        validator.validate({key: value for key, value in asdict(event).items() if value is not None})


def test_the_summary_line_fits_the_schema() -> None:
    """And nothing else is taken for an event."""
    validator = Draft202012Validator(SCHEMA)
    validator.validate({"event": "summary", "done": 1, "failed": 0, "skipped": 0, "outputs": {"url": "x"}})
    assert list(validator.iter_errors({"event": "finished", "address": "a", "action": "deploy"}))


@pytest.mark.parametrize("address", ["z", "gone"])
def test_ends_carry_what_a_reader_needs(address: str) -> None:
    """Id, elapsed seconds, and the health that it ended in (none for what is gone)."""
    bench = Bench()
    bench.running(want("gone"))
    bench.run(want("z"))
    end = next(event for event in bench.events if event.event == "done" and event.address == address)
    assert end.id is not None
    assert end.elapsed is not None
    assert end.health == ("ready" if address == "z" else None)
