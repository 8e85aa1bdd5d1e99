"""Threads that each make one request and hand back a value. They know nothing of what the request is for.

Daemon threads on purpose: an interrupted run must be able to leave while a request hangs, and the interpreter waits for
the threads of a ThreadPoolExecutor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias

Job: TypeAlias = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the job that was submitted with `token`: a value, or the exception that it raised."""

    token: Any
    value: Any = None
    error: BaseException | None = None


class Workers(Protocol):
    def submit(self, token: object, job: Job) -> None:
        """Run `job` soon, on some thread."""

    def collect(self, timeout: float | None) -> list[Result]:
        """All results there are; waits for the first up to `timeout` seconds (None: for ever). May be empty."""

    def wake(self) -> None:
        """Let a waiting `collect` return. Safe from signal handlers and from any thread."""

    def close(self) -> None:
        """Take no more jobs; jobs under way are left to themselves."""


class ThreadWorkers:
    """At most `size` threads, started as they are needed. Used by one owner thread.

    `size` is the sum of what its owner lets be under way at each provider, so that no job ever waits for a thread: a
    provider that hangs holds as many as its own requests need, and none of the others'.
    """

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._jobs: SimpleQueue[tuple[object, Job] | None] = SimpleQueue()
        self._results: SimpleQueue[Result | None] = SimpleQueue()
        self._threads = 0
        self._under_way = 0

    def submit(self, token: object, job: Job) -> None:
        self._under_way += 1
        self._jobs.put((token, job))
        if self._threads < min(self._size, self._under_way):
            self._start()

    def _start(self) -> None:
        name = f"reconciler-request-{self._threads + 1}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # the machine gives no more: jobs wait for the threads that there are
            if not self._threads:
                raise
            return
        self._threads += 1

    def collect(self, timeout: float | None) -> list[Result]:
        results: list[Result] = []
        try:
            first = self._results.get(timeout=timeout) if timeout is None or timeout > 0 else self._results.get_nowait()
            while True:
                if first is not None:
                    results.append(first)
                first = self._results.get_nowait()
        except Empty:
            self._under_way -= len(results)
            return results

    def wake(self) -> None:
        self._results.put(None)

    def close(self) -> None:
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            token, job = task
            try:
                result = Result(token, value=job())
            except BaseException as error:  # noqa: BLE001 - the owner decides; an owner that never hears would hang
                result = Result(token, error=error)
            self._results.put(result)
