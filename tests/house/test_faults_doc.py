"""The table of docs/faults.md names tests that exist, and leaves none of the table's own tests out."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.crash.test_fault_table import DEPLOYS, NOTHING, ROWS

ROOT = Path(__file__).resolve().parents[2]
TABLE = "test_fault_table.py"


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """`file.py::test[ids]` of every test in the folders that the table draws on."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "tests/crash", "tests/e2e/test_provider_errors.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = [_bare(line) for line in run.stdout.splitlines() if "::" in line]
    assert len(found) > 100, run.stdout
    return found


def _bare(line: str) -> str:
    head, bracket, ids = line.partition("[")
    return head.rpartition("/")[2] + bracket + ids


def rows() -> list[tuple[str, str, str, list[str]]]:
    """Fault, exit code, next run, and the names of its tests."""
    found = []
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0] != "fault" and not set(cells[0]) <= {"-"}:
            found.append((cells[0], cells[2], cells[3], re.findall(r"`([^`]+)`", cells[4])))
    return found


def meant(name: str, collected: list[str]) -> list[str]:
    """The tests that a name of the table stands for."""
    name = re.sub(r"^row\[", "test_row[", name)
    whole = name if ".py" in name else f"{TABLE}::{name}"
    pattern = re.sub(r"([\[\]])", r"[\1]", whole).replace("…", "*")
    return [one for one in collected if fnmatchcase(one, pattern) or one.startswith((f"{whole}::", f"{whole}["))]


def test_every_row_names_tests_that_exist(collected: list[str]) -> None:
    """Each fault has a test, by a name that pytest collects, ids of parameters included."""
    assert len(rows()) > 30
    for fault, _, _, names in rows():
        assert names, fault
        for name in names:
            assert meant(name, collected), f"{fault}: there is no {name}"


def test_every_test_of_the_table_is_named(collected: list[str]) -> None:
    """What is tested for the table stands in the table."""
    named = {one for *_, names in rows() for name in names for one in meant(name, collected)}
    own = [one for one in collected if one.startswith(f"{TABLE}::")]
    assert len(own) > len(ROWS)
    assert [one for one in own if one not in named] == []


def test_exit_code_and_next_run_are_what_is_tested(collected: list[str]) -> None:
    """The table's columns say what the rows' tests check."""
    checked = {f"{TABLE}::test_row[{row[0]}]": (str(row[4]), DEPLOYS if row[4] else NOTHING) for row in ROWS}
    for fault, code, then, names in rows():
        for one in (one for name in names for one in meant(name, collected) if one in checked):
            assert checked[one] == (code, then), f"{fault}: {one}"
