"""What the machine around us says: clock, ids, host, process, CI job. One value, so that a test can give another.

The only place of the state's code that asks the operating system who and when we are. Imports that cost milliseconds
stay inside the functions that need them: every command builds an environment.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Environment:
    """`now` gives RFC 3339 in UTC, `monotonic` and `sleep` take seconds, `new_id` gives a fresh id, `new_key` 64 hex
    digits. `boot_id` is empty where the system has none; `pid_start` is when our process began, in the system's own
    unit, which tells a reused pid from ours. `environ` holds the environment variables."""

    now: Callable[[], str]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    new_id: Callable[[], str]
    new_key: Callable[[], str]
    host: str = ""
    user: str = ""
    pid: int = 0
    pid_start: str = ""
    boot_id: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)


def real_environment() -> Environment:
    """The machine that we run on."""
    return Environment(
        now=utc_now,
        monotonic=time.monotonic,
        sleep=time.sleep,
        new_id=_new_id,
        new_key=lambda: os.urandom(32).hex(),
        host=os.uname().nodename if hasattr(os, "uname") else "",
        user=_user(),
        pid=os.getpid(),
        pid_start=_pid_start(),
        boot_id=_boot_id(),
        environ=dict(os.environ),
    )


def utc_now() -> str:
    """The time as RFC 3339 in UTC, to the second: `2025-01-31T08:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def ci_job_url(environ: Mapping[str, str]) -> str:
    """Where the CI job that we run in can be read: GitHub Actions, GitLab, CircleCI, Jenkins; "" outside of them."""
    github = [environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    urls = [environ.get(name, "") for name in ("CI_JOB_URL", "CIRCLE_BUILD_URL", "BUILD_URL")]
    if all(github):
        urls.insert(0, f"{github[0]}/{github[1]}/actions/runs/{github[2]}")
    return next((url for url in urls if _is_plain_url(url)), "")


def command_line(words: Sequence[str]) -> str:
    """The words of a command as lock and journal may keep them: without the value of a `--var`, it may be secret."""
    shown: list[str] = []
    for word in words:
        if shown and shown[-1] == "--var":
            word = word.partition("=")[0] + "=…"
        elif word.startswith("--var="):
            word = "--var=" + word.removeprefix("--var=").partition("=")[0] + "=…"
        shown.append(word)
    return " ".join(shown)


def _new_id() -> str:
    import uuid

    return str(uuid.uuid4())


def _is_plain_url(url: str) -> bool:
    """A web address without a user or password in it."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _user() -> str:
    for name in ("USER", "LOGNAME", "USERNAME"):
        if os.environ.get(name):
            return os.environ[name]
    return f"uid {os.getuid()}" if hasattr(os, "getuid") else ""


def _boot_id() -> str:
    """The same for every process and container that this kernel runs, another after each boot."""
    if sys.platform == "darwin":
        return _answer(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"])
    return _text("/proc/sys/kernel/random/boot_id")


def _pid_start() -> str:
    if sys.platform == "darwin":
        return _answer(["/bin/ps", "-o", "lstart=", "-p", str(os.getpid())])
    fields = _text("/proc/self/stat").rpartition(")")[2].split()  # the command name before it may hold blanks
    return fields[19] if len(fields) > 19 else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _answer(command: list[str]) -> str:
    import subprocess

    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
