"""Faults that the framework puts around any simulator: which request they meet, and what happens to it.

Pure: it decides; `mount` carries it out. Nothing here knows a provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model import Json

KINDS = (
    "status",  # status:503      answered with that status and no effect
    "throttle",  # throttle:1      429 with Retry-After of so many seconds, no effect
    "delay",  # delay:0.2       answered properly, so many seconds later
    "refuse",  # the connection is not taken at all
    "cut_before",  # the connection breaks before anything was done
    "cut_after",  # everything is done, then the connection breaks without an answer
    "timeout",  # everything is done, the answer never comes
    "html",  # a 200 with a web page instead of the answer; the effect has happened
    "page",  # page:502        a web page with that error status, as a proxy gives it; no effect
    "empty",  # a 200 with nothing in it; the effect has happened
    "garbage",  # a 200 that says JSON and is none; the effect has happened
    "truncate",  # a 200 whose JSON ends in the middle; the effect has happened
    "redirect",  # a 302 to another host, no effect
)

_BOUNDS = {"status": (100.0, 599.0), "throttle": (0.0, 86_400.0), "delay": (0.0, 3_600.0)}


@dataclass(slots=True)
class Fault:
    """One rule. `match` is a regular expression searched in `METHOD path`; `times` None: for ever; `skip`: let so many
    matching requests pass first. Mutable: each hit counts down."""

    match: str
    kind: str
    argument: str = ""
    times: int | None = 1
    skip: int = 0

    @classmethod
    def parse(cls, rule: Mapping[str, Json]) -> Fault:
        """From `{"match", "kind": "status:503", "times": 1, "skip": 0}`. Raises ValueError for what is no rule."""
        unknown = set(rule) - {"match", "kind", "times", "skip"}
        kind, _, argument = str(rule.get("kind", "")).partition(":")
        if unknown or kind not in KINDS:
            raise ValueError(f"not a fault: {dict(rule)}; kinds are {', '.join(KINDS)}")
        least, most = _BOUNDS.get(kind, (0.0, 0.0))
        if kind in _BOUNDS and not least <= float(argument) <= most:
            raise ValueError(f"{kind} takes a number from {least:g} to {most:g}, not {argument}")
        times = rule.get("times", 1)
        try:
            re.compile(str(rule.get("match", "")))
        except (re.error, RecursionError) as error:
            raise ValueError(f"match is no regular expression: {error}") from error
        return cls(
            str(rule.get("match", "")), kind, argument, None if times is None else int(times), int(rule.get("skip", 0))
        )

    def dump(self) -> dict[str, Json]:
        """The rule as `parse` reads it."""
        return {"match": self.match, "kind": self.spelled, "times": self.times, "skip": self.skip}

    @property
    def spelled(self) -> str:
        """The kind as a rule has it, with its argument."""
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    @property
    def number(self) -> float:
        """The argument as a number (a status, or seconds)."""
        return float(self.argument or 0)

    @property
    def acts(self) -> bool:
        """Whether the simulator still does what was asked."""
        return self.kind in ("delay", "cut_after", "timeout", "html", "empty", "garbage", "truncate")


def pick(faults: list[Fault], line: str) -> Fault | None:
    """The first rule that meets the request `line`, counted down and removed once it is used up."""
    for fault in faults:
        if not re.search(fault.match, line):
            continue
        if fault.skip > 0:
            fault.skip -= 1
            continue
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                faults.remove(fault)
        return fault
    return None
