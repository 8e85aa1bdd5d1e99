"""Lays out an OpenSearch server with the official ML Commons plugin from Maven artifacts, once, in a cache folder.

Needs `mvn`; which registry it asks is its own configuration. Starts nothing. The Maven artifacts are bare jars, so what
the distribution adds to them (descriptors and permissions of the modules) is written here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OPENSEARCH = "2.19.1"
PLUGINS = "2.19.1.0"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_LEFT_OUT = re.compile(r"onnxruntime_gpu-.*\.jar")  # 304 of the plugin's 363 MB; only local ONNX models use it


class Unavailable(Exception):
    """A node can't be had on this machine; the text says why."""


@dataclass(frozen=True)
class Artifact:
    """One Maven artifact; `alone`: without what it depends on."""

    name: str  # group:artifact:version
    type: str = "jar"
    alone: bool = False

    def xml(self) -> str:
        group, artifact, version = self.name.split(":")
        nothing = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
        return (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
            f"<type>{self.type}</type>{nothing if self.alone else ''}</dependency>"
        )


@dataclass(frozen=True)
class Module:
    """A module of the distribution: its artifact, its class, and what the security manager must let it do."""

    artifact: str
    main: str
    permissions: Sequence[str] = ()

    @property
    def artifacts(self) -> Sequence[Artifact]:
        return (Artifact(f"org.opensearch.plugin:{self.artifact}:{OPENSEARCH}"),)


# log4j-core and jna are optional in the server's pom, and it does not start without the first.
SERVER = (
    Artifact(f"org.opensearch:opensearch:{OPENSEARCH}"),
    Artifact(f"org.opensearch:opensearch-plugin-classloader:{OPENSEARCH}"),
    Artifact("org.apache.logging.log4j:log4j-core:2.21.0"),
    Artifact("net.java.dev.jna:jna:5.13.0"),
)
MODULES: Mapping[str, Module] = {
    "transport-netty4": Module(
        "transport-netty4-client",
        "org.opensearch.transport.Netty4Plugin",
        (
            'java.io.FilePermission "/proc/sys/net/core/somaxconn", "read"',
            'java.net.SocketPermission "*", "accept,connect"',
            'java.lang.RuntimePermission "setContextClassLoader"',
            'java.util.PropertyPermission "sun.nio.ch.bugLevel", "write"',
        ),
    ),
    "reindex": Module("reindex-client", "org.opensearch.index.reindex.ReindexPlugin"),
    "lang-painless": Module(
        "lang-painless",
        "org.opensearch.painless.PainlessPlugin",
        (
            'java.lang.RuntimePermission "createClassLoader"',
            'java.lang.RuntimePermission "getClassLoader"',
        ),
    ),
}
ZIPS = (
    Artifact(f"org.opensearch.plugin:opensearch-job-scheduler:{PLUGINS}", "zip", alone=True),
    Artifact(f"org.opensearch.plugin:opensearch-ml-plugin:{PLUGINS}", "zip", alone=True),
)


def cache_folder() -> Path:
    """Where assemblies are kept between runs. The node does not run as root, so root's own home is no place for it."""
    given = os.environ.get("RECONCILER_TEST_CACHE")
    if given:
        return Path(given).resolve()
    if os.geteuid() == 0:
        return Path("/var/tmp/reconciler-tests")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "reconciler-tests"


def assembled() -> Path:
    """The folder of an assembled server: `lib`, `modules`, `plugins`. Raises Unavailable."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    if cache.stat().st_uid not in (0, os.geteuid()):
        raise Unavailable(f"{cache} belongs to somebody else")
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    home = cache / f"opensearch-{OPENSEARCH}-{key}"
    with _alone(cache / "lock"):
        if not home.exists():
            work = cache / "work"
            shutil.rmtree(work, ignore_errors=True)
            _lay_out(work, work / "home")
            for old in cache.glob(f"opensearch-{OPENSEARCH}-*"):
                shutil.rmtree(old, ignore_errors=True)
            (work / "home").rename(home)
            shutil.rmtree(work)
    return home


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One assembler at a time; the others wait and find it done."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lay_out(work: Path, home: Path) -> None:
    parts = {"server": SERVER, **{name: module.artifacts for name, module in MODULES.items()}, "zips": ZIPS}
    _fetch(work, parts)
    for folder in ("bin", "extensions", "plugins", "modules"):
        (home / folder).mkdir(parents=True)
    (work / "server" / "jars").rename(home / "lib")
    known = {jar.name for jar in (home / "lib").iterdir()}
    for name, module in MODULES.items():
        target = home / "modules" / name
        (work / name / "jars").rename(target)
        for jar in target.iterdir():
            if jar.name in known:  # nothing may be on the class path twice
                jar.unlink()
        _describe(target, name, module)
    for file in (work / "zips" / "jars").glob("*.zip"):
        with zipfile.ZipFile(file) as archive:
            told = archive.read("plugin-descriptor.properties").decode()
            found = re.search(r"(?m)^name=(\S+)", told)
            assert found is not None, file
            wanted = [name for name in archive.namelist() if not _LEFT_OUT.fullmatch(name)]
            archive.extractall(home / "plugins" / found[1], wanted)


def _fetch(work: Path, parts: Mapping[str, Sequence[Artifact]]) -> None:
    """Each part's jars (or zips) in `<part>/jars`, by one run of Maven over one small project each."""
    if shutil.which("mvn") is None:
        raise Unavailable("mvn (Maven) is missing")
    modules = "".join(f"<module>{name}</module>" for name in parts)
    work.mkdir(parents=True)
    (work / "pom.xml").write_text(_pom("all", f"<modules>{modules}</modules>"))
    for name, artifacts in parts.items():
        (work / name).mkdir()
        wanted = "".join(artifact.xml() for artifact in artifacts)
        (work / name / "pom.xml").write_text(_pom(name, f"<dependencies>{wanted}</dependencies>"))
    command = ["mvn", "-B", "-q", _COPY, "-DincludeScope=runtime", "-DoutputDirectory=jars"]
    done = subprocess.run(
        command, cwd=work, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise Unavailable("mvn failed:\n" + "\n".join(done.stdout.splitlines()[:3]))


def _pom(name: str, content: str) -> str:
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>assembly</groupId>'
        f"<artifactId>{name}</artifactId><version>1</version><packaging>pom</packaging>{content}</project>"
    )


def _describe(target: Path, name: str, module: Module) -> None:
    told = {
        "description": name,
        "name": name,
        "version": OPENSEARCH,
        "opensearch.version": OPENSEARCH,
        "java.version": "11",
        "classname": module.main,
        "extended.plugins": "",
        "has.native.controller": "false",
    }
    (target / "plugin-descriptor.properties").write_text("".join(f"{key}={value}\n" for key, value in told.items()))
    if module.permissions:
        lines = "".join(f"  permission {permission};\n" for permission in module.permissions)
        (target / "plugin-security.policy").write_text(f"grant {{\n{lines}}};\n")
