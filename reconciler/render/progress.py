"""What an apply is doing, as lines: live ones for a terminal, plain ones for a CI log.

Pure: `now` (seconds of a monotonic clock) is an argument; writing to a stream and redrawing belong to the caller.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reconciler.plan import Event
from reconciler.render.layout import Ink, widest
from reconciler.render.safe import columns, harmless, line, pad
from reconciler.render.values import duration
from reconciler.render.view import SYMBOLS

HEARTBEAT = 30.0  # seconds between two plain lines about the same action
MOST_LINES = 12  # of actions under way on a terminal
MOST_PROVIDERS = 5  # in one line
_WORDS = {"done": "done", "failed": "FAILED", "skipped": "skipped"}


@dataclass(slots=True)
class _Running:
    event: Event
    since: float
    told: float
    status: str = ""


class ProgressView:
    """The actions under way. One thread applies events and asks for lines."""

    def __init__(self, total: int = 0, *, color: bool = False) -> None:
        self._total = total
        self._ink = Ink(color)
        self._running: dict[str, _Running] = {}
        self._ended = {"done": 0, "failed": 0, "skipped": 0}

    def apply(self, event: Event, now: float) -> None:
        """Take an event in. Unknown addresses may start with a progress event (a run that was joined late)."""
        if event.event in self._ended:
            self._running.pop(event.address, None)
            if event.action != "none":
                self._ended[event.event] += 1
            return
        running = self._running.get(event.address)
        if running is None:
            since = now - (event.elapsed or 0.0)
            running = self._running[event.address] = _Running(event, since, now)
        running.event = event
        running.status = event.status or event.health or running.status

    def lines(self, now: float, width: int) -> list[str]:
        """The live block: one line an action under way (the longest first), then a count; none wider than `width`."""
        longest = sorted(self._running.values(), key=lambda item: (item.since, item.event.address))
        wide = widest((line(item.event.address, 60) for item in longest[:MOST_LINES]), 40)
        out = [self._line(item, now, wide, width) for item in longest[:MOST_LINES]]
        if len(longest) > MOST_LINES:
            out.append(_clip(f"  … and {len(longest) - MOST_LINES} more under way", width))
        return [*out, _clip(self._count(), width)] if self._running else []

    def plain(self, event: Event, now: float) -> str | None:
        """The line of a CI log for this event, to be asked after `apply`; None where it says nothing new.

        `progress` is told when the step or the provider's status is another, and as a heartbeat.
        """
        name = f"{line(event.address, 100)}: {_word(event)}"
        if event.event == "started":
            running = self._running.get(event.address)
            if running is not None:
                running.told = now
            return harmless(f"{name} started{_step(event)}")
        if event.event == "progress":
            return self._plain_progress(event, name, now)
        took = f" after {duration(event.elapsed)}" if event.elapsed is not None else ""
        about = f" ({line(event.id, 80)})" if event.id else ""
        error = f": {line(event.error, 500)}" if event.error else ""
        word = "interrupted" if event.interrupted else _WORDS[event.event]
        return harmless(f"{name} {word}{took}{about}{error}")

    def _plain_progress(self, event: Event, name: str, now: float) -> str | None:
        running = self._running.get(event.address)
        if running is None or now - running.told < HEARTBEAT:
            return None
        running.told = now
        status = f", status: {line(running.status, 120)}" if running.status else ""
        return harmless(f"{name} still under way after {duration(now - running.since)}{_step(event)}{status}")

    def _line(self, item: _Running, now: float, wide: int, width: int) -> str:
        event = item.event
        left = f"{SYMBOLS[event.action]} {_word(event):<8} {pad(line(event.address, 60), wide)}"
        right = f"{duration(now - item.since):>5}"
        status = "  ".join(part for part in (line(event.step or "", 40), line(item.status, 40)) if part)
        text = _clip(harmless(f"{left}  {right}{'  ' + status if status else ''}"), width)
        return self._ink("cyan", text)

    def _count(self) -> str:
        parts = [f"{len(self._running)} under way"]
        parts += [f"{number} {_WORDS[name].lower()}" for name, number in self._ended.items() if number]
        waiting = self._total - len(self._running) - sum(self._ended.values())
        parts += [f"{waiting} waiting"] if waiting > 0 else []
        return f"  {', '.join(parts)}"


def waiting(what: str, keys: Sequence[str], seconds: float, throttled: Collection[str] = ()) -> str:
    """One line while providers are waited for: `still listing: nugen (12s; throttled, waiting as asked)…`."""
    since = duration(seconds)
    parts = [
        f"{line(key, 60)} ({since}; throttled, waiting as asked)" if key in throttled else f"{line(key, 60)} ({since})"
        for key in keys[:MOST_PROVIDERS]
    ]
    parts += [f"{len(keys) - MOST_PROVIDERS} more"] if len(keys) > MOST_PROVIDERS else []
    return harmless(f"{what}: {', '.join(parts)}…")


def _word(event: Event) -> str:
    """What is being done: nothing was planned for what is on its way by itself, but it is waited for."""
    return "wait" if event.action == "none" else event.action


def _step(event: Event) -> str:
    return f" [{line(event.step, 40)}]" if event.step else ""


def _clip(text: str, width: int) -> str:
    """At most `width` columns, so that a redrawn block keeps its number of lines."""
    if columns(text) <= width:
        return text
    while text and columns(text) > width - 1:
        text = text[: max(0, min(len(text) - 1, width - 1))]
    return text + "…"
