"""The bench of the crash tests: a sandbox server in a process of its own, and command lines that can be killed.

`Commands` runs the real entry point in forked processes (see `zygote`), `Cli` as plain subprocesses. `Place` is one
stack: a folder with a file and a state, and one world per provider at the server, which can be put back as they were.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parents[2]
Target: TypeAlias = tuple[str, int] | None
KILL = "SIGKILL"
HUNG = -1000
SPEED = 40.0  # how much faster than ours the simulators' clock runs
CREDENTIALS = {
    "NEEVCLOUD_ACCESS_TOKEN": "sandbox-access-token",
    "DASHSCOPE_API_KEY": "sk-sandbox-modelstudio",
    "NUGEN_API_KEY": "sandbox-nugen-key",
    "SERVICE_KEY": "a-secret-of-the-service",
}


def environment(**more: str) -> dict[str, str]:
    """What a command line is given; nothing of the machine's but the path."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", **CREDENTIALS, **more}


@dataclass(frozen=True)
class Ended:
    """How a command ended: `code` is negative for a signal; `points` are the journal points that it passed."""

    code: int
    out: str
    err: str
    points: tuple[str, ...] = ()

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    def __str__(self) -> str:
        return f"exit {self.code} after {self.points[-1:]}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Server:
    """`reconciler sandbox serve` in a process of its own."""

    def __init__(self, speed: float = SPEED) -> None:
        code = "from reconciler.cli.entry import main; main()"
        command = [sys.executable, "-c", code, "sandbox", "serve", "--speed", str(speed)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """One request to the server; its JSON. Raises urllib.error.HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"{self.url}{path}", data, sent, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Commands:
    """The forking process; one per test process."""

    def __init__(self) -> None:
        self._started = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
        )  # fmt: skip

    def start(self, cwd: Path, *argv: str, points: bool = False, target: Target = None, harm: str = KILL) -> Running:
        """Begin a command; it runs beside us. What it prints goes to files beside its folder."""
        self._started += 1
        out, err, report = (cwd.with_name(f"{kind}-{self._started}") for kind in ("out", "err", "points"))
        out.touch()
        err.touch()
        request = {
            "argv": argv, "cwd": str(cwd), "env": environment(), "out": str(out), "err": str(err),
            "points": str(report) if points else None, "target": target, "harm": harm,
        }  # fmt: skip
        return Running(self, int(self.ask(request)["pid"]), out, err, report)

    def run(self, cwd: Path, *argv: str, points: bool = False, target: Target = None, harm: str = KILL) -> Ended:
        return self.start(cwd, *argv, points=points, target=target, harm=harm).wait()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()


@dataclass(frozen=True)
class Running:
    """A command under way."""

    commands: Commands
    pid: int
    out: Path
    err: Path
    report: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        code = self.commands.ask({"wait": self.pid})["status"]
        points = tuple(self.report.read_text().splitlines()) if self.report.exists() else ()
        out, err = self.out.read_text(), self.err.read_text()
        for path in (self.out, self.err, self.report):
            path.unlink(missing_ok=True)
        ended = Ended(HUNG if code is None else code, out, err, points)
        assert code is not None, f"it did not end: {ended}"
        return ended


@dataclass
class Place:
    """One stack. `worlds` is by provider type the world's name at the server, which no other place uses."""

    folder: Path
    server: Server
    commands: Commands
    name: str
    worlds: dict[str, str] = field(default_factory=dict)

    def base(self, type_: str) -> str:
        """The URL of this place's world of a type."""
        self.worlds.setdefault(type_, f"{type_}.{self.name}")
        return f"{self.server.url}/{self.worlds[type_]}"

    def control(self, method: str, type_: str, what: str, body: Any = None) -> Any:
        self.base(type_)
        return self.server.call(method, f"/_sandbox/{self.worlds[type_]}/{what}", body)

    def world(self, type_: str) -> dict[str, Any]:
        """All that the simulator knows."""
        found: dict[str, Any] = self.control("GET", type_, "world")
        return found

    def write(self, text: str) -> None:
        (self.folder / "reconciler.yaml").write_text(text, encoding="utf-8")

    def run(self, *argv: str, points: bool = False, target: Target = None, harm: str = KILL) -> Ended:
        return self.commands.run(self.folder, *argv, points=points, target=target, harm=harm)

    def start(self, *argv: str) -> Running:
        return self.commands.start(self.folder, *argv)

    def apply(self) -> Ended:
        return self.run("apply", "--auto-approve")

    @property
    def state_folder(self) -> Path:
        return self.folder / "state"

    def state(self) -> dict[str, Any]:
        """The state as it is recorded: snapshot alone, so an open journal shows as a difference."""
        (path,) = self.state_folder.glob("*.state.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def snapshot(self) -> Callable[[], None]:
        """Remember state and worlds as they are; gives what puts them back."""
        kept = self.folder.with_name(f"{self.folder.name}-kept")
        shutil.rmtree(kept, ignore_errors=True)
        if self.state_folder.exists():
            shutil.copytree(self.state_folder, kept)
        datas = {type_: self.world(type_)["data"] for type_ in self.worlds}

        def restore() -> None:
            shutil.rmtree(self.state_folder, ignore_errors=True)
            for path in self.folder.glob("filler"):
                path.unlink()
            if kept.exists():
                shutil.copytree(kept, self.state_folder, dirs_exist_ok=True)
            for type_, data in datas.items():
                self.control("PUT", type_, "data", data)
                self.control("DELETE", type_, "faults")

        return restore


@contextlib.contextmanager
def soon(what: str, seconds: float = 10.0) -> Iterator[Callable[[], None]]:
    """`with soon("…") as again: while not …: again()`: waits a moment each time, and fails when that takes too long."""
    until = time.monotonic() + seconds

    def again() -> None:
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)

    yield again
