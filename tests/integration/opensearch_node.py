"""A real OpenSearch node with ML Commons on loopback, for tests and for a try by hand.

    python -m tests.integration.opensearch_node

assembles one if needed, starts it, prints versions and address, and stops it at Ctrl-C. Needs Java 11 to 23 (2.x wants
the security manager, which 24 has no more) and Maven; `--check` only says what is missing, and ends with 1 if something
is. Its data is new at each start and removed at the end.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.integration.opensearch_assembly import Unavailable, assembled, cache_folder

JAVAS = Path("/usr/lib/jvm")
PATIENCE = 120.0  # seconds to be up and ready
ML_SETTINGS: Mapping[str, str] = {
    "sync_up_job_interval_in_seconds": "2",  # 10 by default: how often states and TTLs are looked at
    "only_run_on_ml_node": "false",
    "connector.private_ip_enabled": "true",
    "trusted_connector_endpoints_regex": '["^http://127\\\\.0\\\\.0\\\\.1:.*$"]',
    "native_memory_threshold": "100",
    "jvm_heap_memory_threshold": "100",
    "disk_free_space_threshold": "-1",
}
_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


def java() -> tuple[Path, int]:
    """A Java that can run it, and its major version. Raises Unavailable."""
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    onpath = shutil.which("java")
    homes += [Path(onpath).resolve().parent.parent] if onpath else []
    homes += sorted(JAVAS.glob("*")) if JAVAS.is_dir() else []
    found = []
    for home in dict.fromkeys(homes):
        program = home / "bin" / "java"
        if not program.exists():
            continue
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
        version = re.search(r'version "(\d+)', told)
        if version and 11 <= int(version[1]) <= 23:
            return program, int(version[1])
        found.append(f"{program} ({version[1] if version else 'not a working one'})")
    raise Unavailable(f"Java 11 to 23 is missing; found: {', '.join(found) or 'none'}")


def why_not() -> str:
    """Why no node can be started on this machine; empty where one can."""
    try:
        java()
    except Unavailable as reason:
        return str(reason)
    return "" if shutil.which("mvn") else "mvn (Maven) is missing"


class Cluster:
    """A cluster that runs, by the address of one of its nodes."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @functools.cached_property
    def about(self) -> str:
        """Versions of what is running, as they were at the first question."""
        return self.versions()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request, and its status and JSON (or text)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, raw = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, raw = error.code, error.read().decode()
        return status, json.loads(raw) if raw[:1] in ("{", "[") else raw

    def get(self, path: str) -> Any:
        """The JSON of a GET. Raises OSError for an error status."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def setting(self, name: str, value: Any) -> None:
        """Change a cluster setting; None: back to what it was."""
        status, told = self.ask("PUT", "/_cluster/settings", {"transient": {name: value}})
        assert status == 200, told

    def node_ids(self) -> dict[str, str]:
        """Ids of the cluster's nodes by name."""
        return {about["name"]: id_ for id_, about in self.get("/_nodes/http")["nodes"].items()}

    def versions(self) -> str:
        """What is running, for people."""
        rows = self.get("/_cat/plugins?format=json")
        ml = next((row["version"] for row in rows if row["component"] == "opensearch-ml"), "absent")
        return f"OpenSearch {self.get('/')['version']['number']}, ML Commons {ml}"


class Node(Cluster):
    """One node; of a cluster of its own, or `joining` another's. `ml` false: without the plugin."""

    def __init__(
        self, name: str = "node-1", *, joining: Node | None = None, ml: bool = True, heap: str = "512m"
    ) -> None:
        super().__init__("")
        self.name, self._joining, self._ml, self._heap = name, joining, ml, heap
        self._program, self._java = java()
        self._home = assembled() if ml else _without_plugins(assembled())
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="node-", dir=cache_folder()))
        self._process: subprocess.Popen[bytes] | None = None
        self.ready_after = 0.0

    def start(self) -> Node:
        """Start it with the data it has; returns once connectors can be created. Raises RuntimeError with its log."""
        began = time.monotonic()
        self._write_settings()
        with (self.folder / "node.log").open("ab") as log:
            as_user: dict[str, Any] = {}
            if self._user:
                as_user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
            self._process = subprocess.Popen(
                self._command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"},
                start_new_session=True, preexec_fn=_die_with_parent, **as_user,
            )  # fmt: skip
        self._await("a port", self._port)
        self._await("a cluster", lambda: self.get("/_cluster/health")["status"] in ("yellow", "green"))
        if self._ml:  # until the plugin has made its key, creating a connector is answered with 500
            self._await("ML Commons", lambda: self.get("/.plugins-ml-config/_doc/master_key")["found"])
        self.ready_after = time.monotonic() - began
        return self

    def kill(self) -> None:
        """End the process at once, as a crash does; `start` may follow."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it and remove its data, so there is nothing that it would have to put in order first."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self._ml:
            shutil.rmtree(self._home, ignore_errors=True)

    def versions(self) -> str:
        """What is running, for people."""
        return f"{super().versions()}, Java {self._java}, ready after {self.ready_after:.1f} s"

    # --- running it -----------------------------------------------------------------------------------------------
    def _write_settings(self) -> None:
        settings = {
            "cluster.name": "reconciler-tests",
            "node.name": self.name,
            "node.portsfile": "true",
            "network.host": "127.0.0.1",
            "http.port": "0",
            "transport.port": "0",
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        if self._joining is None:
            settings |= {"cluster.initial_cluster_manager_nodes": self.name, "discovery.seed_hosts": "[]"}
        else:
            (seed,) = (
                one["transport_address"] for one in self._joining.get("/_nodes/_local/transport")["nodes"].values()
            )
            settings |= {"discovery.seed_hosts": f'["{seed}"]', "node.roles": "[data, ingest]"}
        if self._ml:
            settings |= {f"plugins.ml_commons.{name}": value for name, value in ML_SETTINGS.items()}
        for part in ("config", "data", "logs", "tmp"):
            (self.folder / part).mkdir(exist_ok=True)
        (self.folder / "logs" / "http.ports").unlink(missing_ok=True)
        (self.folder / "config" / "opensearch.yml").write_text("".join(f"{k}: {v}\n" for k, v in settings.items()))
        (self.folder / "config" / "log4j2.properties").write_text(_LOGGING)
        if self._user:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _command(self) -> list[str]:
        place = self.folder
        return [
            str(self._program), f"-Xms{self._heap}", f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData", f"-Djava.io.tmpdir={place}/tmp", f"-Djna.tmpdir={place}/tmp", "-Djna.nosys=true",
            "-Dfile.encoding=UTF-8", "-Dlog4j2.disable.jmx=true", "-Dlog4j.shutdownHookEnabled=false",
            "-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
            "-Dio.netty.allocator.numDirectArenas=0",
            "--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/java.time=ALL-UNNAMED",
            *(["-Djava.security.manager=allow"] if self._java >= 12 else []),
            f"-Duser.home={place}", f"-Dopensearch.path.home={self._home}", f"-Dopensearch.path.conf={place}/config",
            "-Dopensearch.distribution.type=tar", "-Dopensearch.bundled_jdk=false",
            "-cp", f"{self._home}/lib/*", "org.opensearch.bootstrap.OpenSearch",
        ]  # fmt: skip

    def _port(self) -> bool:
        self.url = "http://" + (self.folder / "logs" / "http.ports").read_text().splitlines()[0]
        return True

    def _await(self, what: str, ready: Any) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                if ready():
                    return
            except (OSError, ValueError, KeyError, IndexError):
                pass
            assert self._process is not None
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        log = (self.folder / "node.log").read_text(errors="replace").splitlines()[-30:]
        self.stop()
        raise RuntimeError(f"{self.name}: not {what} within {PATIENCE} s\n" + "\n".join(log))


def _without_plugins(home: Path) -> Path:
    """The same server with an empty `plugins`, of links."""
    bare = Path(tempfile.mkdtemp(prefix="bare-", dir=cache_folder()))
    bare.chmod(0o755)
    for part in ("lib", "modules"):
        shutil.copytree(home / part, bare / part, copy_function=os.link)
    for part in ("bin", "extensions", "plugins"):
        (bare / part).mkdir()
    return bare


def _die_with_parent() -> None:
    """No node outlives the tests that started it, not even killed ones (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    if arguments:
        reason = why_not() if list(arguments) == ["--check"] else f"unknown: {' '.join(arguments)}"
        sys.stdout.write(f"{reason or 'a node can be started here'}\n")
        return 1 if reason else 0
    node = Node()
    try:
        node.start()
        sys.stdout.write(f"{node.versions()}\n{node.url}\n")
        sys.stdout.flush()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
