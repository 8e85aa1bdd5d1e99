"""A project on the sandbox, run in this process; a test reaches its simulators behind the program's back."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from reconciler.cli.entry import run
from reconciler.model import Json
from reconciler.sandbox.base import Request, World
from reconciler.sandbox.host import Sandbox
from reconciler.sandbox.modelstudio import KEY
from reconciler.sandbox.neevcloud import ACCESS_TOKEN
from reconciler.sandbox.store import SandboxStore
from tests.support.cli import Project, Ran

TOKENS = {"modelstudio": KEY, "neevcloud": ACCESS_TOKEN}
QUICK: Mapping[str, Json] = {"deploy_seconds": 0.01, "scale_seconds": 0.01, "undeploy_seconds": 0.01, "instant": True}


@dataclass
class Rehearsed(Project):
    """`run` is with --sandbox unless said otherwise."""

    sandbox: bool = True

    def run(self, *arguments: str, given: str | None = None, **env: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        environ = {"PATH": os.environ["PATH"], "NO_COLOR": "1", **self.env, **env}
        words = ["-C", str(self.folder), *(["--sandbox"] if self.sandbox else []), *arguments]
        argv = patch.object(sys, "argv", ["reconciler", *words])
        with argv, patch.dict(os.environ, environ, clear=True), redirect_stdout(out), redirect_stderr(err):
            code = run(words)
        return Ran(code, out.getvalue(), err.getvalue())

    # --- the simulators -----------------------------------------------------------------------------------------------
    @property
    def store(self) -> SandboxStore:
        return SandboxStore(self.folder / "state" / "sandbox" / "data")

    def name(self, type_: str) -> str:
        """The world of a type; of several, the first."""
        return next(name for name in self.store.names() if name.startswith(f"{type_}."))

    @contextmanager
    def world(self, type_: str) -> Iterator[World]:
        with self.store.world(self.name(type_)) as world:
            yield world

    def quick(self) -> None:
        """Let everything be ready at once."""
        for name in self.store.names():
            with self.store.world(name) as world:
                world.knobs.update(QUICK)

    def by_hand(self, type_: str, method: str, path: str, body: Json = None) -> Any:
        """A request of somebody with a console."""
        headers = {"authorization": f"Bearer {TOKENS[type_]}", "content-type": "application/json"}
        raw = b"" if body is None else json.dumps(body).encode()
        answer = Sandbox(self.store).exchange(Request(method, f"/{self.name(type_)}{path}", {}, headers, raw))
        assert not isinstance(answer, str)
        assert answer.status < 300, answer
        return answer.body

    # --- what must stay as it is --------------------------------------------------------------------------------------
    def everything(self) -> dict[str, Any]:
        """State and journal byte for byte, and every record of every world (a login is none)."""
        found: dict[str, Any] = {}
        for path, raw in self.files().items():
            if path.startswith("sandbox/data/"):
                data = json.loads(raw)["data"]
                found[path] = {table: rows for table, rows in data.items() if table != "tokens"}
            else:
                found[path] = raw
        return found

    @property
    def state_file(self) -> Path:
        return next((self.folder / "state" / "sandbox").glob("*.state.json"))

    def recorded(self, address: str) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(self.state_file.read_text())["deployments"][address]
        return entry
