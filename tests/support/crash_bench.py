"""One case of the crash tests in its place: begun again and again, harmed somewhere, and mended by one more apply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.support.crash import KILL, Ended, Place, Target
from tests.support.crash_cases import Case, differences


def numbered(points: Sequence[str]) -> list[tuple[str, int]]:
    """Each point with how many of the same name came before it."""
    seen: Counter[str] = Counter()
    found = []
    for point in points:
        found.append((point, seen[point]))
        seen[point] += 1
    return found


class Bench:
    """A case in its place, which can be begun again and again."""

    def __init__(self, case: Case, place: Place) -> None:
        self.case, self.place = case, place
        self._before_us = case.lay_out(place)
        self._restore = place.snapshot()

    def begin(self, target: Target, harm: str = KILL) -> Ended:
        """Apply from the beginning and come to harm at `target`; None, or one that does not come: to the end."""
        self._restore()
        if self.case.faults:
            self.place.control("POST", self.case.type, "faults", list(self.case.faults))
        ended = self.place.run("apply", "--auto-approve", *self.case.flags, points=True, target=target, harm=harm)
        if target is None:
            assert ended.code == 0, f"without a kill: {ended}"
            self.is_settled("without a kill", ended)
        return ended

    def mend(self, harmed: Ended) -> None:
        """One more apply without harm, and everything is as if there had been none."""
        at = f"harmed at {harmed.points[-1] if harmed.points else ''!r}: {harmed}"
        again = self.place.run("apply", "--auto-approve", *self.case.flags)
        assert again.code == 0, f"{at}: {again}"
        self.is_settled(at, again)

    def is_settled(self, at: str, last: Ended) -> None:
        plan = self.place.run("plan", "--detailed-exitcode")
        assert plan.code == 0, f"{at}: the plan is not empty: {plan}\n{last}"
        assert differences(self.place, self.case, self._before_us) == [], f"{at}\n{last}"
