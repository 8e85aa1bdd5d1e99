"""Measure `reconciler` as whole processes against its floors: `run.py [--n 1000 10000] [--rounds 5] [--json FILE]`.

Rounds interleave the two commands (A B A B …); the ratio is the median of the per-round ratios, of wall time and, less
shaken by what else the machine does, of processor time. Peers that are not installed are skipped and said to be. The
exit status does not depend on any time.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import generate

HERE = Path(__file__).resolve().parent
RECONCILER = str(Path(sys.executable).with_name("reconciler"))
ENVIRON = {**os.environ, "NEEVCLOUD_ACCESS_TOKEN": "bench", "NO_COLOR": "1"}
ENVIRON.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its byte code; the warm-up writes it


class Run(NamedTuple):
    """One process by the kernel's own account: wall and processor seconds, peak memory in MiB."""

    wall: float
    cpu: float
    peak: float


def measure(command: Sequence[str], folder: Path) -> Run:
    """Run a command to its end; its output is thrown away. A command that fails ends everything."""
    start = time.perf_counter()
    with open(os.devnull, "w") as null, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=null, stderr=errors, env=ENVIRON)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{errors.read().decode()[-2000:]}")
    return Run(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def pair(name: str, ours: Sequence[str], floor: Sequence[str], folder: Path, rounds: int, bound: float,
         before: Callable[[], None] = lambda: None) -> dict[str, Any]:  # fmt: skip
    """Time two commands in turn, after one warm-up of each; a row for the table."""
    before()
    measure(ours, folder), measure(floor, folder)
    runs, floors = [], []
    for _ in range(rounds):
        before()
        runs.append(measure(ours, folder))
        floors.append(measure(floor, folder))
    ratios = sorted(a.wall / b.wall for a, b in zip(runs, floors, strict=True))
    row = {
        "case": name,
        "seconds": round(statistics.median(run.wall for run in runs), 3),
        "floor": round(statistics.median(run.wall for run in floors), 3),
        "ratio": round(statistics.median(ratios), 2),
        "spread": f"{ratios[0]:.2f}-{ratios[-1]:.2f}",
        "cpu_ratio": round(statistics.median(a.cpu / b.cpu for a, b in zip(runs, floors, strict=True)), 2),
        "bound": bound,
        "memory_mib": round(statistics.median(run.peak for run in runs)),
    }
    sys.stdout.write(
        f"{name:<34} {row['seconds']:>8.3f} s  floor {row['floor']:>7.3f} s  ratio {row['ratio']:>5.2f} "
        f"[{row['spread']}] cpu {row['cpu_ratio']:>5.2f}  wanted <= {bound}  {row['memory_mib']} MiB\n"
    )
    sys.stdout.flush()
    return row


@contextmanager
def server(count: int, latency: float = 0):
    process = subprocess.Popen(
        [sys.executable, str(HERE / "server.py"), str(count), str(latency)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/aimodels"
    finally:
        process.kill()
        process.wait()


def requests(base: str) -> dict[str, int]:
    with urllib.request.urlopen(base.removesuffix("/aimodels") + "/_count") as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def plan_case(count: int, rounds: int, latency: float, work: Path) -> dict[str, Any]:
    """A plan of `count` unchanged deployments against: the same pages fetched, the same YAML's events, a compare."""
    with server(count, latency) as base:
        folder = work / f"plan-{count}-{latency:g}"
        file = generate.write(folder, count, base, adopt=True)
        measure([RECONCILER, "apply", "--auto-approve", "--parallelism", "1000"], folder)
        before = requests(base)["GET"]
        measure([RECONCILER, "plan", "--detailed-exitcode"], folder)
        sent = requests(base)["GET"] - before
        sys.stdout.write(f"list requests of one plan of {count}: {sent}\n")
        floor = [sys.executable, str(HERE / "floor.py"), str(file), base]
        return pair(f"plan {count} unchanged, {latency:g} ms", [RECONCILER, "plan"], floor, folder, rounds, 3.0)


def apply_case(count: int, rounds: int, work: Path) -> list[dict[str, Any]]:
    """Creating `count` deployments that are ready in the create's answer, 20 ms a request, parallelism 10."""
    rows = []
    for round_ in range(rounds):
        with server(0, 20) as base:
            folder = work / f"apply-{round_}"
            generate.write(folder, count, base, adopt=False)
            rows.append(measure([RECONCILER, "apply", "--auto-approve", "--parallelism", "10"], folder))
    floor = -(-count // 10) * 0.02
    seconds = statistics.median(row.wall for row in rows)
    cpu = statistics.median(row.cpu for row in rows)
    ratio = seconds / floor
    sys.stdout.write(
        f"{f'apply {count} creations, 20 ms':<34} {seconds:>8.3f} s  floor {floor:>7.3f} s  ratio {ratio:>5.2f} "
        f"processor {cpu:.2f} s  wanted <= 1.4  {max(row.peak for row in rows):.0f} MiB\n"
    )
    return [{"case": f"apply {count}", "seconds": seconds, "cpu": cpu, "floor": floor, "ratio": ratio, "bound": 1.4}]


def version_case(rounds: int, work: Path) -> list[dict[str, Any]]:
    terraform = shutil.which("terraform")
    if terraform is None:
        sys.stdout.write("terraform is not installed: skipped `reconciler version` against `terraform version`\n")
        return []
    return [
        pair(
            "version (floor: terraform version)", [RECONCILER, "version"], [terraform, "version"], work, rounds * 3, 0.6
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.stdout.write(
        f"load before: {os.getloadavg()[0]:.1f}, processors: {os.cpu_count()}, Python {sys.version.split()[0]}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        rows = version_case(options.rounds, work)
        rows += [plan_case(count, options.rounds, latency, work) for count in options.n for latency in (0, 20)]
        rows += apply_case(1000, min(options.rounds, 3), work)
    sys.stdout.write(f"load after: {os.getloadavg()[0]:.1f}\n")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
