"""The fault campaign: `python -m tests.crash.campaign --runs N --seed S`, or one run alone with `--only SEED`.

Each run is a random small stack and a random change of it, applied by real processes against simulators in a process of
their own, while everything goes wrong that can; then it is applied in peace until it is done, and what stands at the
simulators is compared with what an undisturbed run of the same story leaves. Journal points at which no run happened to
be killed are aimed at in further runs.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from tests.support import campaign_stories
from tests.support.campaign_child import SPOILERS, TYPES
from tests.support.campaign_run import Lane, Run, Tally

PER_SEED = 1_000_000  # run number n of campaign s has the seed s * PER_SEED + n
PROVIDERS = tuple(TYPES.values())
RECORDS = ("IntentWritten", "IntentClosed", "EntrySet", "EntryRemoved")
CELLS = [(f"{when} {record}", type_) for record in RECORDS for when in ("before", "torn", "after")
         for type_ in PROVIDERS]  # fmt: skip
CONTROLS = 8  # runs with each promise taken out, at a time
MOST_CONTROLS = 96
SABOTAGES = ("no-intents", "blind-retries", "no-outcomes")
Job = tuple[int, str]  # a run's seed, and the journal point that it is aimed at, if any
Tell = Callable[[Tally, Tally], None]


def jobs_of(seed: int, runs: int) -> list[Job]:
    """The runs of a campaign. The type of provider that has a part for certain goes round with the seed."""
    return [(number, "") for number in range(seed * PER_SEED, seed * PER_SEED + runs)]


def campaign(jobs: Iterable[Job], lanes: Sequence[Lane], sabotage: str = "", tell: Tell | None = None) -> Tally:
    """Play these runs on the lanes side by side. `tell` hears of each run, and of all so far. Ctrl-C: no more begin."""
    total, guard, left, enough = Tally(), threading.Lock(), iter(jobs), threading.Event()

    def take() -> Iterator[Job]:
        while True:
            with guard:
                job = None if enough.is_set() else next(left, None)
            if job is None:
                return
            yield job

    def work(lane: Lane) -> None:
        for seed, aim in take():
            tally = _play(seed, lane, sabotage, aim)
            with guard:
                total.add(tally)
                if tell is not None:
                    tell(tally, total)

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        enough.set()
        for thread in threads:
            thread.join()
    return total


def _play(seed: int, lane: Lane, sabotage: str, aim: str) -> Tally:
    try:
        return Run(seed, lane, sabotage, aim).play()
    except Exception:  # noqa: BLE001 - whatever it is, it is told with the seed, and the campaign goes on
        return Tally(runs=1, unfinished=1, problems=[f"PROBLEM of seed {seed}: {traceback.format_exc()}"])


def missed(total: Tally, types: Sequence[str] = PROVIDERS) -> list[tuple[str, str]]:
    """Journal points by provider at which nobody was killed."""
    return [cell for cell in CELLS if cell[1] in types and not total.cells[cell]]


def aimed(cells: Iterable[tuple[str, str]], seed: int, each: int = 2) -> list[Job]:
    """Runs for these points, from seeds whose stories pass them."""
    jobs = []
    for point, type_ in cells:
        verbs = {"undeploy"} if point.endswith("EntryRemoved") else {"deploy", "replace"}
        first = seed * PER_SEED + PER_SEED // 2 + PROVIDERS.index(type_)
        fit = (number for number in range(first, first + PER_SEED // 2, len(PROVIDERS)) if _has(number, type_, verbs))
        jobs += [(next(fit), f"{point}@{type_}") for _ in range(each)]
    return jobs


def _has(seed: int, type_: str, verbs: set[str]) -> bool:
    story = campaign_stories.draw(Random(seed), type_)
    return not story.destroy and any(
        verb in verbs for address, verb in story.verbs.items() if TYPES[address[0]] == type_
    )


def control(seed: int, lanes: Sequence[Lane], sabotage: str) -> Tally:
    """Runs with a promise taken out, until something doubled or lost is reported. Most of what is sent twice finds its
    name taken, or is cleaned up, so a few runs may show nothing."""
    total = Tally()
    for at in range(0, MOST_CONTROLS, CONTROLS):
        jobs = [(job + at, aim) for job, aim in jobs_of(seed, CONTROLS)]
        total.add(campaign(jobs, lanes, sabotage))
        if total.doubled + total.lost:
            break
    return total


def controls(seed: int, lanes: Sequence[Lane]) -> list[str]:
    """Take out each promise, and say what is reported then. Gives those that nothing was reported of."""
    unnoticed = []
    for sabotage in SABOTAGES:
        total = control(seed + 2, lanes, sabotage)
        sys.stdout.write(f"control, {sabotage}: doubled {total.doubled}, lost {total.lost} in {total.runs} runs\n")
        if not total.doubled + total.lost:
            unnoticed.append(sabotage)
    return unnoticed


def table(total: Tally) -> str:
    """Kills by journal point and provider."""
    points = sorted({point for point, _ in total.cells})
    lines = ["killed at".ljust(26) + "".join(type_.rjust(13) for type_ in PROVIDERS)]
    lines += [point.ljust(26) + "".join(str(total.cells[point, type_]).rjust(13) for type_ in PROVIDERS)
              for point in points]  # fmt: skip
    return "\n".join(lines)


def summary(total: Tally) -> str:
    """What happened, but for the last line."""
    faults = ", ".join(f"{kind} {number}" for kind, number in sorted(total.kinds.items()))
    codes = ", ".join(f"{code}: {number}" for code, number in sorted(total.codes.items()))
    mends = ", ".join(f"{number}: {runs}" for number, runs in sorted(total.mends.items()))
    again = [f"one more apply was not enough: {one}" for one in total.again]
    return "\n".join([f"faults: {faults}", f"exit codes of disturbed commands: {codes}", table(total), *again,
                      f"applies that mended a run: {mends}"])  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the seed of a single run, as a failure names it")
    parser.add_argument("--aim", default="", help="with --only: the journal point that it was aimed at")
    parser.add_argument("--lanes", type=int, default=4, help="runs side by side")
    parser.add_argument("--sabotage", default="", choices=["", *SPOILERS], help="take out a promise; it must show")
    given = parser.parse_args(arguments)
    alone = given.only is not None
    jobs = [(given.only, given.aim)] if alone else jobs_of(given.seed, given.runs)
    began = time.monotonic()

    def tell(one: Tally, total: Tally) -> None:
        if one.problems:
            sys.stdout.write("\n".join(one.problems) + "\n\n")
        if total.runs % 100 == 0:
            sys.stdout.write(f"{total} ({time.monotonic() - began:.0f} s)\n")
        sys.stdout.flush()

    lanes = [Lane() for _ in range(min(given.lanes, len(jobs)))]
    try:
        total = campaign(jobs, lanes, given.sabotage, tell)
        if not alone and not given.sabotage:
            total.add(campaign(aimed(missed(total), given.seed), lanes, "", tell))
        blind = [] if alone or given.sabotage else controls(given.seed, lanes)
    finally:
        for lane in lanes:
            lane.close()
    sys.stdout.write(f"{summary(total)}\n")
    never = [] if alone or given.sabotage else missed(total)
    sys.stdout.write(f"never killed at {never}\n" if never else "")
    sys.stdout.write(f"it did not notice that a promise was taken out: {blind}\n" if blind else "")
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n{total}\n")
    return 1 if total.bad or never or blind else 0


if __name__ == "__main__":
    sys.exit(main())
