"""A full disk and a read-only folder: one clear error, the exit code that fits, an intact state; the next run goes on.

Needs a small file system of its own, so root; skipped elsewhere, with the reason.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash import Ended, Place
from tests.support.crash_bench import Bench, numbered
from tests.support.crash_cases import CASES, LIVE, seen

NAMED = {case.name: case for case in CASES}
SIZE = 256 * 1024


def _mount(*words: str) -> str:
    """What went wrong; empty where it worked."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or "mount failed"


@pytest.fixture
def disk(place: Place) -> Iterator[Path]:
    """The place's state folder on a file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place.state_folder.mkdir()
    problem = _mount("-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(place.state_folder))
    if problem:
        pytest.skip(f"no small file system can be mounted here: {problem}")
    yield place.state_folder
    subprocess.run(["umount", "-l", str(place.state_folder)], check=True)


def one_error(ended: Ended) -> None:
    """It is told once, in plain words, with what to do."""
    assert ended.err.count("error:") == 1, ended
    assert "hint:" in ended.err, ended
    assert "internal error" not in ended.err, ended


def fill(path: Path) -> None:
    """Leave no block of the disk free."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 512)


@pytest.mark.parametrize("name", ["neevcloud-deploy", "neevcloud-replace", "modelstudio-scale", "opensearch-update"])
def test_a_disk_that_is_full_from_any_moment_on(name: str, place: Place, disk: Path) -> None:
    """Exit 3 where something was done (1 where not); with space again, one more apply finishes it."""
    case = NAMED[name]
    bench = Bench(case, place)
    before = seen(place, case)
    filler = disk / "filler"
    for target in numbered(bench.begin(None).points):
        if target[0].startswith("torn"):
            continue
        ended = bench.begin(target, f"fill:{filler}")
        assert ended.code in (0, 1, 3), ended
        if ended.code:
            one_error(ended)
            assert "no space left on the disk" in ended.err, ended
        if ended.code == 1:
            assert seen(place, case) == before, ended
        if filler.exists():
            assert place.run("state", "list").code in (0, 1)
            filler.unlink()
        bench.mend(ended)


def test_a_disk_that_is_full_from_the_start(place: Place, disk: Path) -> None:
    """Nothing is sent to a provider when it can't be written down: exit 1. A plan still works."""
    case = NAMED["neevcloud-deploy"]
    bench = Bench(case, place)
    fill(disk / "filler")
    assert place.run("plan").code == 0
    ended = place.apply()
    assert ended.code == 1, ended
    one_error(ended)
    assert LIVE[case.type](place) == {}
    (disk / "filler").unlink()
    bench.mend(ended)


def test_a_read_only_state_folder(place: Place, disk: Path) -> None:
    """Nothing is sent to a provider: exit 1, and why; a plan still works; writable again, all goes on."""
    case = NAMED["neevcloud-scale"]
    bench = Bench(case, place)
    before = seen(place, case)
    assert not _mount("-o", "remount,ro", str(disk))
    assert place.run("plan", "--detailed-exitcode").code == 2
    ended = place.apply()
    assert ended.code == 1, ended
    one_error(ended)
    assert "read-only" in ended.err, ended
    assert seen(place, case) == before
    assert not _mount("-o", "remount,rw", str(disk))
    bench.mend(ended)
