"""The lock with real processes: the kernel decides, the record explains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.diagnostics import LockedError, StateError
from reconciler.edge.environment import ci_job_url, command_line, real_environment
from reconciler.edge.lock import LockStatus, StateLock
from tests.support.states import Time, environment

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, signal
from pathlib import Path
from reconciler.edge.environment import real_environment
from reconciler.edge.lock import StateLock
lock = StateLock(Path(sys.argv[1]), "bots", real_environment())
lock.acquire(command="apply --auto-approve", unlock_command="reconciler unlock")
print("held", flush=True)
sys.stdin.readline()
lock.release()
"""
RACER = """
import sys
from pathlib import Path
from reconciler.diagnostics import LockedError
from reconciler.edge.environment import real_environment
from reconciler.edge.lock import StateLock
lock = StateLock(Path(sys.argv[1]), "bots", real_environment())
counter = Path(sys.argv[2])
for _ in range(40):
    lock.acquire(command="apply", unlock_command="x", timeout=60)
    value = int(counter.read_text())
    counter.write_text(str(value + 1))
    lock.release()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bots.lock"


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate("\n")


def acquire(lock: StateLock, **options: float) -> object:
    return lock.acquire(command="apply", unlock_command="reconciler -C prod unlock", **options)  # type: ignore[arg-type]


def record(path: Path, **changes: object) -> None:
    fields = {"id": "lock-9", "boot_id": "boot-0", "host": "far", "user": "bob", "pid": 7, "command": "apply",
              "job_url": "https://ci.example/7", "since": "2025-01-30T00:00:00Z"}  # fmt: skip
    path.write_text(json.dumps(fields | changes))


def test_holder_in_another_process_is_explained(path: Path) -> None:
    """Locked by a living process: exit 5 with who, where, since when, its command, lock id and the unlock line."""
    process = holder(path)
    try:
        with pytest.raises(LockedError) as error:
            acquire(StateLock(path, "bots", environment()))
        assert error.value.exit_code == 5
        problem = error.value.diagnostics[0]
        here = real_environment()
        held = json.loads(path.read_text())
        assert f"pid {process.pid}" in problem.detail
        for words in (here.host, here.user, "apply --auto-approve", held["since"], held["id"]):
            assert words in problem.detail
        assert f"reconciler -C prod unlock {held['id']}" in problem.hint
        assert StateLock(path, "bots", environment()).status().state == "held"
    finally:
        finish(process)
    assert StateLock(path, "bots", environment()).status() == LockStatus("free")


def test_unlock_of_a_living_holder_is_refused(path: Path) -> None:
    """A lock whose holder lives on this machine is not taken from it, not even by its right id."""
    process = holder(path)
    try:
        lock_id = json.loads(path.read_text())["id"]
        with pytest.raises(StateError, match="alive"):
            StateLock(path, "bots", environment()).unlock(lock_id)
    finally:
        finish(process)


def test_kill_9_frees_the_lock_and_it_is_said(path: Path) -> None:
    """A holder that was killed is taken over at once by the next run, which learns whom it followed."""
    process = holder(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    lock = StateLock(path, "bots", real_environment())
    assert lock.status().state == "abandoned"
    inode = path.stat().st_ino
    taken = acquire(lock)
    assert taken is not None
    assert taken.pid == process.pid  # type: ignore[attr-defined]
    lock.release()
    assert path.stat().st_ino == inode, "the lock file is never replaced"


def test_two_processes_never_hold_it_at_once(path: Path, tmp_path: Path) -> None:
    """Two processes that wait for each other count to the sum of what each counts."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    racers = [subprocess.Popen([sys.executable, "-c", RACER, str(path), str(counter)], cwd=ROOT) for _ in range(2)]
    status = StateLock(path, "bots", real_environment())
    while any(racer.poll() is None for racer in racers):
        status.status()  # asking does not disturb them
    assert [racer.wait() for racer in racers] == [0, 0]
    assert counter.read_text() == "80"


def test_reused_pid_is_no_holder(path: Path) -> None:
    """A living process with the pid of a dead holder keeps nobody out: pids decide nothing."""
    record(path, boot_id="boot-1", pid=os.getpid(), pid_start="other")
    lock = StateLock(path, "bots", environment())
    assert acquire(lock).id == "lock-9"  # type: ignore[attr-defined]
    lock.release()


def test_container_on_the_same_kernel(path: Path) -> None:
    """Another hostname and user on the same boot is another container: the kernel lock says that it is dead."""
    record(path, boot_id="boot-1", host="container-a", pid=1)
    lock = StateLock(path, "bots", environment(host="container-b", pid=1))
    assert acquire(lock).host == "container-a"  # type: ignore[attr-defined]
    lock.release()


@pytest.mark.parametrize("ours", ["boot-1", ""])
def test_record_of_another_boot_holds(path: Path, ours: str) -> None:
    """A record of another boot (or with none known) is exit 5, though the kernel lock is free; `unlock` ends it."""
    record(path)
    lock = StateLock(path, "bots", environment(boot_id=ours))
    with pytest.raises(LockedError) as error:
        acquire(lock)
    problem = error.value.diagnostics[0]
    assert "bob on far" in problem.summary
    assert "https://ci.example/7" in problem.detail
    assert problem.hint.endswith("reconciler -C prod unlock lock-9")
    assert lock.status().state == "elsewhere"
    with pytest.raises(StateError, match="lock-9"):
        lock.unlock("lock-8")
    lock.unlock("lock-9")
    assert acquire(lock) is None
    lock.release()


@pytest.mark.parametrize(
    "content", ["{", "garbage", "[]", '{"id": 3}', '{"id": "x; rm -rf /"}', '{"id": "$(id)"}', "\x01", '{"id"']
)
def test_damaged_record_can_be_removed(path: Path, content: str) -> None:
    """A record that can't be read is told as such, with an unlock line that works and is safe to paste."""
    path.write_text(content)
    lock = StateLock(path, "bots", environment())
    with pytest.raises(LockedError) as error:
        acquire(lock)
    assert "damaged" in error.value.diagnostics[0].detail
    line = error.value.diagnostics[0].hint
    assert content not in line
    lock.unlock(line.split()[-1])
    assert acquire(lock) is None
    lock.release()


@pytest.mark.parametrize("content", ["", "\0\0\0\0", "\n"])
def test_empty_record_is_free(path: Path, content: str) -> None:
    """An empty lock file, or zeros that a power failure left, locks nothing."""
    path.write_text(content)
    lock = StateLock(path, "bots", environment())
    assert lock.status() == LockStatus("free")
    assert acquire(lock) is None
    lock.release()


def test_unlock_without_a_lock(path: Path) -> None:
    """There is nothing to unlock: an error, and no file appears."""
    with pytest.raises(StateError, match="not locked"):
        StateLock(path, "bots", environment()).unlock("x")
    assert not path.exists()
    path.touch()
    with pytest.raises(StateError, match="not locked"):
        StateLock(path, "bots", environment()).unlock("x")


def test_waiting_tells_the_holder_every_30_seconds(path: Path) -> None:
    """`--lock-timeout 100s` waits 100 s by the monotonic clock, and names the holder at once and every 30 s."""
    record(path)
    time = Time()
    told: list[tuple[float, str]] = []
    lock = StateLock(path, "bots", environment(time))

    def on_wait(found: LockStatus) -> None:
        assert found.record is not None
        told.append((time.now, found.record.host))

    with pytest.raises(LockedError):
        lock.acquire(command="apply", unlock_command="x", timeout=100.0, on_wait=on_wait)
    assert time.now == pytest.approx(100.0)
    assert [round(at / 30) for at, _ in told] == [0, 1, 2, 3]
    assert {host for _, host in told} == {"far"}


def test_waiting_ends_when_it_is_free(path: Path) -> None:
    """A waiting run goes on as soon as the other side is done."""
    record(path)
    time = Time(on_sleep=lambda seconds: path.write_text("") if time.now > 5 else None)
    lock = StateLock(path, "bots", environment(time))
    assert acquire(lock, timeout=60.0) is None
    assert 5 < time.now < 8
    lock.release()


def test_lock_file_deleted_by_hand(path: Path) -> None:
    """Somebody deletes the file: the next one locks the file that has the name, and the first may write no more."""
    first = StateLock(path, "bots", environment())
    acquire(first)
    first.verify()
    path.unlink()
    with pytest.raises(StateError, match="was deleted or replaced"):
        first.verify()
    second = StateLock(path, "bots", environment())
    acquire(second)
    assert json.loads(path.read_text())["id"]
    second.verify()
    with pytest.raises(StateError, match="was deleted or replaced") as error:
        first.verify()
    assert str(path) in error.value.diagnostics[0].detail
    assert "run the same command again" in error.value.diagnostics[0].hint
    first.release()
    assert json.loads(path.read_text())["id"], "the first one's end does not clear the second one's record"
    second.release()


def test_release_leaves_a_free_file(path: Path) -> None:
    """After a run the file is there, empty, and the same file as before."""
    lock = StateLock(path, "bots", environment())
    acquire(lock)
    inode = path.stat().st_ino
    lock.release()
    lock.release()
    assert path.read_bytes() == b""
    assert path.stat().st_ino == inode
    acquire(lock)
    lock.release()


def test_record_that_is_shown_can_not_play_tricks(path: Path) -> None:
    """Control characters in a record do not reach a terminal."""
    record(path, user="\x1b[2Jroot", host="a\nb\u202e")
    with pytest.raises(LockedError) as error:
        acquire(StateLock(path, "bots", environment()))
    text = error.value.diagnostics[0].summary + error.value.diagnostics[0].detail
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_symlink_is_not_followed(path: Path, tmp_path: Path) -> None:
    """A lock file that is a link to elsewhere is refused, so nothing is written there."""
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        acquire(StateLock(path, "bots", environment()))
    assert not (tmp_path / "elsewhere").exists()


def test_command_line_keeps_no_values() -> None:
    """The value of `--var` never reaches lock or journal."""
    words = ["apply", "--var", "password=hunter2", "--var=token=hunter2", "--auto-approve"]
    assert command_line(words) == "apply --var password=… --var=token=… --auto-approve"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, ""),
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"},
            "https://github.com/a/b/actions/runs/7",
        ),
        ({"CI_JOB_URL": "https://gitlab.example/-/jobs/1"}, "https://gitlab.example/-/jobs/1"),
        ({"CIRCLE_BUILD_URL": "https://circleci.com/gh/a/b/1"}, "https://circleci.com/gh/a/b/1"),
        ({"BUILD_URL": "https://jenkins.example/job/1/"}, "https://jenkins.example/job/1/"),
        ({"BUILD_URL": "https://user:pass@jenkins.example/job/1/"}, ""),
        ({"BUILD_URL": "javascript:alert(1)"}, ""),
    ],
)
def test_ci_job_url(environ: dict[str, str], url: str) -> None:
    """The record links the CI job, and never a URL with a password in it."""
    assert ci_job_url(environ) == url


def test_real_environment_knows_this_machine() -> None:
    """Boot, process and host are known here, and ids and keys are fresh each time."""
    env = real_environment()
    assert env.pid == os.getpid()
    assert env.boot_id
    assert env.pid_start
    assert env.host
    assert env.new_id() != env.new_id()
    assert len(env.new_key()) == 64
    assert env.now().endswith("Z")
