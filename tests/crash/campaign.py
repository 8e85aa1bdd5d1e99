"""The fault campaign: `python -m tests.crash.campaign --runs N --seed S`, or one run alone with `--only SEED`.

Each run is a random small stack and a random change of it, applied by real processes against simulators in a process of
their own, while everything goes wrong that can; then it is applied in peace until it is done, and what stands at the
simulators is compared with what an undisturbed run of the same story leaves.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

from tests.support.campaign_child import SPOILERS, TYPES
from tests.support.campaign_run import Lane, Run, Tally

PER_SEED = 1_000_000  # run number n of campaign s has the seed s * PER_SEED + n


def seeds_of(seed: int, runs: int) -> range:
    """The seeds of a campaign's runs."""
    return range(seed * PER_SEED, seed * PER_SEED + runs)


def campaign(
    seeds: Iterable[int], lanes: int = 4, sabotage: str = "", tell: Callable[[Tally, Tally], None] | None = None
) -> Tally:
    """Play these seeds on some lanes side by side. `tell` hears of each run, and of all so far."""
    total, guard, left = Tally(), threading.Lock(), iter(seeds)

    def take() -> Iterator[int]:
        while True:
            with guard:
                seed = next(left, None)
            if seed is None:
                return
            yield seed

    def work() -> None:
        lane = Lane()
        try:
            for seed in take():
                tally = _play(seed, lane, sabotage)
                with guard:
                    total.add(tally)
                    if tell is not None:
                        tell(tally, total)
        finally:
            lane.close()

    threads = [threading.Thread(target=work) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def _play(seed: int, lane: Lane, sabotage: str) -> Tally:
    try:
        return Run(seed, lane, sabotage).play()
    except Exception:  # noqa: BLE001 - whatever it is, it is told with the seed, and the campaign goes on
        return Tally(runs=1, unfinished=1, problems=[f"PROBLEM of seed {seed}: {traceback.format_exc()}"])


def table(total: Tally) -> str:
    """Kills by journal point and provider."""
    points = sorted({point for point, _ in total.cells})
    lines = ["killed at".ljust(26) + "".join(type_.rjust(13) for type_ in TYPES.values())]
    lines += [point.ljust(26) + "".join(str(total.cells[point, type_]).rjust(13) for type_ in TYPES.values())
              for point in points]  # fmt: skip
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the seed of a single run, as a failure names it")
    parser.add_argument("--lanes", type=int, default=4, help="runs side by side")
    parser.add_argument(
        "--sabotage", default="", choices=["", *SPOILERS], help="take out a promise: it must be noticed"
    )
    given = parser.parse_args(arguments)
    seeds = [given.only] if given.only is not None else seeds_of(given.seed, given.runs)
    began = time.monotonic()

    def tell(one: Tally, total: Tally) -> None:
        if one.problems:
            sys.stdout.write("\n".join(one.problems) + "\n\n")
        if total.runs % 100 == 0:
            sys.stdout.write(f"{total} ({time.monotonic() - began:.0f} s)\n")
        sys.stdout.flush()

    total = campaign(seeds, min(given.lanes, len(seeds)), given.sabotage, tell)
    faults = ", ".join(f"{kind} {number}" for kind, number in sorted(total.kinds.items()))
    codes = ", ".join(f"{code}: {number}" for code, number in sorted(total.codes.items()))
    sys.stdout.write(f"faults: {faults}\nexit codes of disturbed commands: {codes}\n{table(total)}\n")
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n{total}\n")
    return 1 if total.bad else 0


if __name__ == "__main__":
    sys.exit(main())
