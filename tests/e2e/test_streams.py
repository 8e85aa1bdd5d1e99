"""Streams and signals: a reader that goes away, a full disk, Ctrl-C. Nothing looks like a bug, nothing is lost."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.cli import Project, Remote

FILE = """\
version: 1
stack: demo
providers: {nugen: {}}
deployments:
  support: {provider: nugen, spec: {alignment_id: alignment-1}}
"""


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
@pytest.mark.parametrize("command", ["plan", "validate", "version", "schema", "--help", "plan --help", "graph"])
def test_a_result_that_can_not_be_written_is_exit_1(project: Project, redirection: str, command: str) -> None:
    """With stdout closed or its disk full a command says so in one error and never reports success."""
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("/dev/full is there on Linux only")
    project.write(FILE)
    project.shell(f"$R --sandbox {command} {redirection}").failed(1, "stdout")


def test_a_reader_that_has_seen_enough(project: Project) -> None:
    """`| head -1` gets its line, and nothing is complained about but, at most, the closed pipe."""
    project.write(FILE)
    ran = project.shell("$R schema | head -1")
    assert ran.out == "{\n"
    assert "Traceback" not in ran.err
    assert "BrokenPipeError" not in ran.err


def test_an_apply_that_can_not_show_its_plan_changes_nothing(remote: Remote) -> None:
    """A stdout that is closed from the start ends an apply with 1 before anything is deployed."""
    remote.shell("$R apply --auto-approve >&-").failed(1, "stdout")
    assert remote.run("state", "list").ended(0).out == ""


def test_an_apply_goes_on_when_its_reader_leaves(remote: Remote) -> None:
    """A reader that goes away in the middle stops nothing: all is deployed and recorded, and the exit code is 3."""
    ran = remote.shell("{ $R apply --auto-approve --format json; echo $? >code; } | head -1")
    assert ran.out.count("\n") == 1
    assert "Traceback" not in ran.err
    assert (remote.folder / "code").read_text() == "3\n", ran
    remote.run("plan", "--detailed-exitcode").ended(0)


def test_an_events_file_on_a_full_disk_stops_nothing(remote: Remote) -> None:
    """Events that can't be written are told once; the apply goes on to its end, exit 3."""
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is there on Linux only")
    remote.run("apply", "--auto-approve", "--events", "/dev/full").failed(3, "events")
    remote.run("plan", "--detailed-exitcode").ended(0)


def test_stderr_closed_is_no_reason_to_stop(project: Project) -> None:
    """The result comes although nothing can be said beside it."""
    project.write(FILE)
    ran = project.shell("$R --sandbox plan 2>&-").ended(0)
    assert "1 to deploy" in ran.out


def test_the_result_alone_goes_to_stdout(remote: Remote) -> None:
    """JSON on stdout parses, whatever is said on stderr; every line of `apply --format json` is an event."""
    import json

    plan = remote.run("plan", "--format", "json", "--out", "p.json").ended(0)
    assert plan.json["summary"]["deploy"] == 2
    assert "p.json" in plan.err
    ran = remote.run("apply", "p.json", "--format", "json").ended(0)
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert events[-1]["event"] == "summary"
    assert events[-1]["done"] == 2
    assert {event["event"] for event in events} >= {"started", "done", "summary"}


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_a_plan(project: Project, sent: signal.Signals, code: int) -> None:
    """A plan that waits for a provider ends at once with 130 or 143, in one line, without a state."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        project.env["NUGEN_API_KEY"] = "key"
        project.write(FILE.replace("nugen: {}", f"nugen: {{endpoint: 'http://127.0.0.1:{silent.getsockname()[1]}'}}"))
        run = project.start("plan")
        with silent.accept()[0]:
            run.send_signal(sent)
            out, err = run.communicate(timeout=10)
    assert run.returncode == code, err
    assert out == ""
    assert "Traceback" not in err
    assert "nothing was being changed" in err
    assert not project.files()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 3), (signal.SIGTERM, 3)])
def test_a_signal_during_an_apply(remote: Remote, sent: signal.Signals, code: int) -> None:
    """An apply that is told to end records what is under way and leaves with 3; the next one finishes it."""
    remote.served.knobs(remote.neevcloud, deploy_seconds=100_000)
    run = remote.start("apply", "--auto-approve")
    assert run.stderr is not None
    assert "chat: deploy started" in run.stderr.readline()
    time.sleep(0.2)
    run.send_signal(sent)
    out, err = run.communicate(timeout=10)
    assert run.returncode == code, out + err
    assert "Interrupted" in out
    assert remote.run("state", "list").ended(0).out.split() == ["chat"]
    assert "not locked" in remote.run("lock", "status").ended(0).out
    plan = remote.run("plan").ended(0)
    assert "+ deploy    support" in plan.out


def test_a_signal_while_it_waits_for_the_lock(remote: Remote) -> None:
    """Ctrl-C while waiting for somebody else's lock is 130: nothing was being changed."""
    remote.served.knobs(remote.neevcloud, never_ready=True)
    holder = remote.start("apply", "--auto-approve")
    assert holder.stderr is not None
    holder.stderr.readline()
    waiter = remote.start("apply", "--auto-approve", "--lock-timeout", "1h")
    assert waiter.stderr is not None
    assert "waiting for the lock" in waiter.stderr.readline()
    waiter.send_signal(signal.SIGINT)
    _, err = waiter.communicate(timeout=10)
    assert waiter.returncode == 130, err
    holder.send_signal(signal.SIGINT)
    holder.communicate(timeout=10)
    assert holder.returncode == 3


def test_the_events_file(remote: Remote) -> None:
    """`--events` writes every event as a JSON line; a file that can't be written stops before anything is begun."""
    remote.run("apply", "--auto-approve", "--events", "no/such/folder/events.jsonl").failed(1, "events.jsonl")
    assert remote.run("state", "list").ended(0).out == ""
    remote.run("apply", "--auto-approve", "--events", "events.jsonl").ended(0)
    assert (remote.folder / "events.jsonl").read_text().count('"event": "done"') == 2


def test_no_colours_in_a_pipe(project: Project) -> None:
    """Without a terminal there is no control character in either stream, and NO_COLOR holds on one."""
    project.write(FILE)
    ran = project.run("--sandbox", "plan").ended(0)
    assert "\x1b" not in ran.out + ran.err


def test_a_terminal_gets_colours_and_a_question(project: Project) -> None:
    """On a terminal a plan is coloured, `apply` asks, and anything but the whole word `yes` changes nothing."""
    import os
    import pty

    project.write(FILE)

    def on_terminal(answer: str, *arguments: str, **env: str) -> tuple[int, str]:
        master, slave = pty.openpty()
        run = subprocess.Popen(
            [*_program(), *arguments], cwd=project.folder, stdin=slave, stdout=slave, stderr=slave,
            env=project.environment(TERM="xterm", **env),
        )  # fmt: skip
        os.close(slave)
        shown, asked = b"", False
        while True:
            try:
                got = os.read(master, 65536)
            except OSError:
                break
            if not got:
                break
            shown += got
            if not asked and b"is accepted" in shown:
                asked = True
                os.write(master, answer.encode() + b"\n")
        os.close(master)
        return run.wait(timeout=30), shown.decode()

    code, shown = on_terminal("y", "--sandbox", "apply")
    assert code == 1
    assert "\x1b[" in shown
    assert "nothing was changed" in shown
    code, shown = on_terminal("yes", "--sandbox", "apply", NO_COLOR="1")
    assert code == 0, shown
    assert "\x1b[1m" not in shown
    assert project.run("--sandbox", "state", "list").out.split() == ["support"]


def _program() -> list[str]:
    from tests.support.cli import COMMAND

    return COMMAND
