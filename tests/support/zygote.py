"""A warmed-up process that forks the command line: `python -m tests.support.zygote`, spoken to in JSON lines.

Starting the interpreter and importing everything takes longer than a whole apply. So this process imports everything
once, starts no thread, and forks for each command. The child is a process like any other: its own pid, its own file
descriptors and locks, the real entry point (`reconciler.cli.entry.main`), a real exit code, and a real `kill -9`.

Request: {"argv", "cwd", "env", "out", "err", "points", "target", "harm"}, answer: {"pid"}; {"wait": pid}: {"status"}.
`points` is the report of `killer.Harm`, `target` the point where `harm` is done; both null: nothing is wrapped.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

POLL = 0.02  # seconds
LONGEST = 40.0  # seconds that a command may take


def warm_up() -> None:
    """Import all of the product and what it imports only when needed."""
    import reconciler

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in ("httpx", "jsonschema", "deepdiff", "yaml", "tests.support.killer"):
        import_module(name)
    _hurry()


def _hurry() -> None:
    """The simulators' clock runs fast, so the shortest pauses between two looks are shortened to match."""
    from reconciler.edge.schemas import provider_types
    from reconciler.engine import lost
    from reconciler.registry import registry

    for type_ in registry(provider_types()).types.values():
        faster = replace(type_.capabilities, min_poll_interval=POLL)
        type(type_).capabilities = faster  # type: ignore[misc]
    lost.EARLY, lost.PAUSE = POLL, 2 * POLL


def child(request: dict[str, Any]) -> NoReturn:
    """Become `reconciler ARGV`."""
    from reconciler.cli import entry

    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    err = os.open(request["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor, number in ((null, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - for the process's life
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["reconciler", *request["argv"]]
    if request["points"]:
        from tests.support.killer import Harm

        target = request["target"]
        Harm(Path(request["points"]), tuple(target) if target else None, request["harm"]).install()
    entry.main()


def wait(pid: int) -> int | None:
    """Its exit code, negative for a signal; None for one that did not end in time, which is ended then."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main() -> None:
    """Serve until stdin ends."""
    warm_up()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = {"status": wait(request["wait"])}
        else:
            pid = os.fork()
            if pid == 0:
                try:
                    child(request)
                except KeyboardInterrupt:  # a signal before the command line had begun
                    os._exit(130)
                finally:
                    os._exit(99)
            answer = {"pid": pid}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
