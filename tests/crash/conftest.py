"""One server and one forking process for each test process, a place for each test, and a table of points at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.campaign import summary
from tests.support.campaign_run import Tally
from tests.support.crash import Commands, Place, Server

TABLE = "crash points"
CAMPAIGN = "campaign"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    running = Commands()
    yield running
    running.close()


@pytest.fixture
def place(tmp_path: Path, server: Server, commands: Commands, request: pytest.FixtureRequest) -> Place:
    folder = tmp_path / "stack"
    folder.mkdir()
    return Place(folder, server, commands, re.sub(r"[^A-Za-z0-9]+", "-", request.node.name))


@pytest.fixture
def count_points(record_property: Callable[[str, object], None]) -> Callable[[str, Counter[str]], None]:
    """Hand in how many points of each kind were died at, for the table."""
    return lambda column, kinds: record_property(TABLE, {"column": column, "kinds": dict(kinds)})


@pytest.fixture
def hand_in(record_property: Callable[[str, object], None]) -> Callable[[Tally], None]:
    """Hand in what a share of the campaign came to, for the summary of all shares."""
    return lambda tally: record_property(CAMPAIGN, tally.dump())


def _handed_in(terminalreporter: Any, wanted: str) -> list[Any]:
    """What tests handed in under a name, from whatever process they ran in."""
    return [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in getattr(report, "user_properties", ())
        if name == wanted
    ]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    _tell_points(terminalreporter)
    _tell_campaign(terminalreporter)


def _tell_campaign(terminalreporter: Any) -> None:
    shares = _handed_in(terminalreporter, CAMPAIGN)
    if not shares:
        return
    total = Tally()
    for share in shares:
        total.add(Tally.load(share))
    terminalreporter.section("the fault campaign")
    terminalreporter.write_line(summary(total))
    terminalreporter.write_line(str(total))


def _tell_points(terminalreporter: Any) -> None:
    table: dict[str, Counter[str]] = {}
    for value in _handed_in(terminalreporter, TABLE):
        table.setdefault(value["column"], Counter()).update(value["kinds"])
    if not table:
        return
    columns = sorted(table)
    kinds = sorted({kind for counts in table.values() for kind in counts})
    terminalreporter.section("killed at journal points: kind by provider")
    terminalreporter.write_line(f"{'':22}" + "".join(f"{column:>14}" for column in columns))
    for kind in kinds:
        row = "".join(f"{table[column][kind]:>14}" for column in columns)
        terminalreporter.write_line(f"{kind:22}{row}")
    total = "".join(f"{sum(table[column].values()):>14}" for column in columns)
    terminalreporter.write_line(f"{'all':22}{total}")
