"""Command lines as a user types them: the real program in a process of its own, and what it said.

`Project` is a folder with a desired-state file; `Served` the sandbox over HTTP, where every test has worlds of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-W", "error", "-c", "from reconciler.cli.entry import main; main()"]
CREDENTIALS = {"NUGEN_API_KEY": "sandbox-nugen-key", "NEEVCLOUD_ACCESS_TOKEN": "sandbox-access-token"}


@dataclass(frozen=True)
class Ran:
    """How one command line ended."""

    code: int
    out: str
    err: str

    def failed(self, code: int, *words: str) -> Ran:
        """It ended with `code` and one clear error that holds all `words`; nothing looks like a bug."""
        self.ended(code)
        assert self.err.count("error: ") == 1, self
        for word in words:
            assert word in self.err, f"{word!r} is not in\n{self}"
        return self

    def ended(self, code: int) -> Ran:
        """It ended with `code`, and nothing looks like a bug."""
        for sign in ("Traceback", "this is a bug", "Exception", "Warning:"):
            assert sign not in self.out + self.err, self
        assert self.code == code, self
        return self

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass
class Project:
    """A folder to run in. `env` is all of the environment that commands see, beside what finds the program."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, text: str, name: str = "reconciler.yaml") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", **self.env, **more}

    def run(self, *arguments: str, given: str | None = None, **env: str) -> Ran:
        """Run `reconciler ARGUMENTS` without a terminal; `given` is its stdin (default: nothing)."""
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=self.folder, env=self.environment(**env), input=given or "", text=True,
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """The same, still running; its streams are pipes unless said otherwise."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, env=self.environment(), text=True, **pipes)

    def shell(self, script: str) -> Ran:
        """A line of sh in which `$R` is the program."""
        program = self.folder / ".program"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -W error -c "{COMMAND[-1]}" "$@"\n')
        program.chmod(0o755)
        done = subprocess.run(
            ["sh", "-c", script], cwd=self.folder, env=self.environment(R=str(program)), text=True,
            capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def files(self, under: str = "state") -> dict[str, bytes]:
        """Every file below a folder by its path, but locks and what a new folder is given: what must stay as it is."""
        place = self.folder / under
        found = [
            p for p in sorted(place.rglob("*")) if p.is_file() and not p.name.endswith((".lock", ".md", ".gitignore"))
        ]
        return {str(path.relative_to(place)): path.read_bytes() for path in found}


class Served:
    """`reconciler sandbox serve` in a process of its own, its clock forty times as fast as ours."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "sandbox", "serve", "--speed", "40", *options], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def fault(self, world: str, match: str, kind: str, times: int | None = None) -> None:
        """Spoil requests of a world that match; for ever unless `times` says how often."""
        self.call("POST", f"/_sandbox/{world}/faults", {"match": match, "kind": kind, "times": times})

    def heal(self, world: str) -> None:
        self.call("DELETE", f"/_sandbox/{world}/faults")

    def knobs(self, world: str, **knobs: Any) -> None:
        self.call("PUT", f"/_sandbox/{world}/knobs", knobs)

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


@dataclass
class Remote(Project):
    """A project whose two models are at the served sandbox, in worlds of their own; `support` depends on `chat`."""

    served: Served = field(kw_only=True)
    suffix: str = field(kw_only=True)

    def __post_init__(self) -> None:
        self.env = {**CREDENTIALS, **self.env}
        self.nugen, self.neevcloud = f"nugen.{self.suffix}", f"neevcloud.{self.suffix}"
        models = [{"alignment_id": f"alignment-{name}"} for name in ("support", "other")]
        self.served.call("POST", f"/_sandbox/{self.nugen}/presuppose", {"specs": models})
        self.served.call(
            "POST", f"/_sandbox/{self.neevcloud}/presuppose",
            {"specs": [CHAT], "settings": {"org_id": "org-1", "project_id": "prj-1"}},
        )  # fmt: skip
        self.write(self.text())

    def text(self, *, replicas: int = 1, support: str = "alignment-support", more: str = "", deployments: str = "",
             settings: str = "") -> str:  # fmt: skip
        """The desired-state file; `more` is further sections, `settings` further settings of Nugen."""
        base = f"{self.served.url}/{self.neevcloud}"
        chat = json.dumps({**CHAT, "replicas": replicas})
        return f"""\
version: 1
stack: demo
providers:
  nugen: {{endpoint: "{self.served.url}/{self.nugen}", poll_interval: 0.2s{settings}}}
  neevcloud:
    {{endpoint: "{base}/aimodels", auth_endpoint: "{base}/tenant", org_id: org-1, project_id: prj-1}}
deployments:
  chat: {{provider: neevcloud, spec: {chat}}}
  support: {{provider: nugen, spec: {{alignment_id: {support}}}, depends_on: [chat]}}
{deployments}outputs: {{chat_url: "${{deployments.chat.endpoint_url}}"}}
{more}"""

    def apply(self) -> Ran:
        return self.run("apply", "--auto-approve").ended(0)


CHAT = {"catalog_id": "cat", "region": "in-south-1", "gpu_config_id": "gpu-1", "gpu_count": 1, "plan_id": "plan-1"}
