"""Measure `reconciler` as whole processes against its floors: `run.py [--n 1000 10000] [--rounds 5] [--json FILE]`.

Rounds interleave the two commands (A B A B …); the ratio is the median of the per-round ratios. Peers that are not
installed are skipped and said to be. The exit status does not depend on any time.
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
from typing import Any

import generate

HERE = Path(__file__).resolve().parent
RECONCILER = str(Path(sys.executable).with_name("reconciler"))
ENVIRON = {**os.environ, "NEEVCLOUD_ACCESS_TOKEN": "bench", "NO_COLOR": "1"}


def measure(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Wall seconds and peak memory in MiB (the kernel's own account) of one run; its output is thrown away."""
    start = time.perf_counter()
    with open(os.devnull, "w") as null, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=null, stderr=errors, env=ENVIRON)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{errors.read().decode()[-2000:]}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def pair(name: str, ours: Sequence[str], floor: Sequence[str], folder: Path, rounds: int, bound: float,
         before: Callable[[], None] = lambda: None) -> dict[str, Any]:  # fmt: skip
    """Time two commands in turn, after one warm-up of each; a row for the table."""
    before()
    measure(ours, folder), measure(floor, folder)
    times, floors, memory = [], [], []
    for _ in range(rounds):
        before()
        seconds, peak = measure(ours, folder)
        times.append(seconds)
        memory.append(peak)
        floors.append(measure(floor, folder)[0])
    ratios = sorted(a / b for a, b in zip(times, floors, strict=True))
    row = {
        "case": name, "seconds": round(statistics.median(times), 3), "floor": round(statistics.median(floors), 3),
        "ratio": round(statistics.median(ratios), 2), "spread": f"{ratios[0]:.2f}-{ratios[-1]:.2f}", "bound": bound,
        "memory_mib": round(statistics.median(memory)),
    }  # fmt: skip
    sys.stdout.write(
        f"{name:<34} {row['seconds']:>8.3f} s  floor {row['floor']:>7.3f} s  ratio {row['ratio']:>5.2f} "
        f"[{row['spread']}] wanted <= {bound}  {row['memory_mib']} MiB\n"
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
            seconds, peak = measure([RECONCILER, "apply", "--auto-approve", "--parallelism", "10"], folder)
            rows.append((seconds, peak))
    floor = -(-count // 10) * 0.02
    seconds = statistics.median(row[0] for row in rows)
    ratio = seconds / floor
    sys.stdout.write(
        f"{f'apply {count} creations, 20 ms':<34} {seconds:>8.3f} s  floor {floor:>7.3f} s  ratio {ratio:>5.2f} "
        f"wanted <= 1.4  {max(row[1] for row in rows):.0f} MiB\n"
    )
    return [{"case": f"apply {count}", "seconds": seconds, "floor": floor, "ratio": ratio, "bound": 1.4}]


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
