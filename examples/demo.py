"""`make demo`: the main job on the built-in sandbox, told as a story. Usage: demo.py RECONCILER

Runs the real command line in a temporary copy of examples/quickstart; nothing is contacted, nothing is left behind.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from reconciler.sandbox import neevcloud, nugen

HERE = Path(__file__).resolve().parent
BOLD, DIM, END = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else ("", "", "")


def say(text: str) -> None:
    sys.stdout.write(f"\n{BOLD}# {text}{END}\n")
    sys.stdout.flush()


class Demo:
    """Runs commands in one folder and stops the story where one does not end as it should."""

    def __init__(self, reconciler: str, folder: Path) -> None:
        self.reconciler, self.folder = reconciler, folder

    def run(self, *words: str, expect: int = 0) -> None:
        sys.stdout.write(f"{DIM}$ reconciler --sandbox {' '.join(words)}{END}\n")
        sys.stdout.flush()
        done = subprocess.run([self.reconciler, "--sandbox", *words], cwd=self.folder, check=False)
        if done.returncode != expect:
            sys.exit(f"demo: expected exit {expect}, got {done.returncode}")

    def by_hand(self) -> None:
        """Somebody changes things at the providers directly, without the file: over the sandbox's own HTTP door."""
        data = self.folder / "state" / "sandbox" / "data"
        command = [self.reconciler, "sandbox", "serve", "--data", str(data)]
        with subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            try:
                assert server.stdout is not None
                base = server.stdout.readline().strip()
                worlds = json.load(urllib.request.urlopen(f"{base}/_sandbox/"))["worlds"]
                self._scale_to_five(base, next(name for name in worlds if name.startswith("neevcloud")))
                self._switch_off(base, next(name for name in worlds if name.startswith("nugen")))
            finally:
                server.terminate()

    def _scale_to_five(self, base: str, world: str) -> None:
        body = {"email": neevcloud.EMAIL, "password": neevcloud.PASSWORD}
        login = request("POST", f"{base}/{world}/tenant/api/v1/auth/login", {}, body)
        token = {"Authorization": f"Bearer {login['access_token']}"}
        path = "/aimodels/api/v1beta1/orgs/org-abc123/projects/prj-abc123/aimodels"
        items = request("GET", f"{base}/{world}{path}?limit=100", token)["items"]
        chat = next(item for item in items if item["name"] == "chat")
        request("PUT", f"{base}/{world}{path}/{chat['id']}/scale", token, {"replicas": 5})

    def _switch_off(self, base: str, world: str) -> None:
        key = {"Authorization": f"Bearer {nugen.KEY}"}
        models = request("GET", f"{base}/{world}/models/aligned", key)["domain_aligned_models"]
        request("DELETE", f"{base}/{world}/models/undeploy-model/{models[0]['id']}", key)

    def wait_for_quiet(self) -> None:
        """What was done by hand takes its time, as at the providers."""
        time.sleep(4)


def request(method: str, url: str, headers: dict[str, str], body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {**headers, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
        return json.load(answer)


def main(reconciler: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "quickstart")
        shutil.copytree(HERE / "quickstart", folder, ignore=shutil.ignore_patterns("state", "__pycache__"))
        demo = Demo(reconciler, folder)
        say("One file, four providers. Is it valid? (no network)")
        demo.run("validate")
        say("What would happen? The sandbox stands in for the providers; it first makes what the file presupposes.")
        demo.run("plan", "--out", "plan.json")
        say("Carry out exactly that plan.")
        demo.run("apply", "plan.json")
        say("Plan again: everything is as the file says.")
        demo.run("plan", "--detailed-exitcode")
        say("A change: three replicas of the chat model. Only that is planned, with what it costs.")
        demo.run("apply", "--auto-approve", "--var", "replicas=3")
        say("Meanwhile somebody scales by hand, and switches another model off. Drift detection sees it (exit 2) ...")
        demo.by_hand()
        demo.wait_for_quiet()
        demo.run("drift", "--var", "replicas=3", expect=2)
        say("... and apply puts it right.")
        demo.run("apply", "--auto-approve", "--var", "replicas=3")
        say("Enough: undeploy everything, dependents first.")
        demo.run("destroy", "--auto-approve")
        say("Nothing is left.")
        demo.run("state", "list")


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
