"""Prometheus text format for `drift --metrics-file`. Pure; label values are escaped, lines sorted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.plan import CostTotal, Plan
from reconciler.render.safe import line

_CLASSES = ("changed", "missing", "unmanaged", "unreadable", "not_compared")


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def metrics_text(plan: Plan, *, at: float | None = None) -> str:
    """What a drift run found. `at` is the time of the run in seconds since 1970, by which silence is noticed."""
    stack = {"stack": plan.stack}
    metrics = (
        _Metric("reconciler_drift", "Drifted deployments by class, at the last run.", _drift(plan, stack)),
        _Metric("reconciler_managed", "Deployments that the state holds.", ((stack, plan.managed),)),
        _Metric("reconciler_unmanaged", "Live deployments of nobody, by provider.", _unmanaged(plan, stack)),
        _Metric("reconciler_provider_up", "Whether the provider could be read (1) or not (0).", _up(plan, stack)),
        _Metric("reconciler_hourly_cost", "Known cost an hour of what is live, by currency.", _cost(plan.costs, stack)),
        _Metric("reconciler_hourly_cost_unknown", "Live ones without a price.", ((stack, _unknown(plan.costs)),)),
        _Metric("reconciler_state_serial", "Serial of the state that was compared.", ((stack, plan.serial),)),
        _Metric("reconciler_drift_run_timestamp_seconds", "When drift was last looked for.", _at(at, stack)),
    )  # fmt: skip
    out: list[str] = []
    for metric in metrics:
        if metric.samples:
            out += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} gauge"]
            out += sorted(f"{metric.name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples)
    return "\n".join(out) + "\n"


def _drift(plan: Plan, stack: Mapping[str, str]) -> tuple[tuple[Mapping[str, str], float], ...]:
    found: dict[str, set[str]] = {name: set() for name in _CLASSES}
    for item in plan.drift:
        found[item.kind].add(item.address)
    sizes = {name: len(addresses) for name, addresses in found.items()}
    sizes["unmanaged"] = max(sizes["unmanaged"], len(plan.unmanaged))
    sizes["unreadable"] = max(sizes["unreadable"], len(plan.unreadable))
    return tuple(({**stack, "class": name}, size) for name, size in sizes.items())


def _unmanaged(plan: Plan, stack: Mapping[str, str]) -> tuple[tuple[Mapping[str, str], float], ...]:
    found = Counter(dict.fromkeys(plan.looked_at, 0))
    found.update(item.provider for item in plan.unmanaged)
    return tuple(({**stack, "provider": provider}, size) for provider, size in found.items())


def _up(plan: Plan, stack: Mapping[str, str]) -> tuple[tuple[Mapping[str, str], float], ...]:
    # A complaint with an address is about one deployment; the provider's list was read.
    down = {item.provider for item in plan.unreadable if item.provider and not item.address}
    providers = sorted({*plan.looked_at, *down})
    return tuple(({**stack, "provider": key}, 0.0 if key in down else 1.0) for key in providers)


def _cost(costs: tuple[CostTotal, ...], stack: Mapping[str, str]) -> tuple[tuple[Mapping[str, str], float], ...]:
    # A sum made of unknown prices alone is no zero: it is left out.
    return tuple(
        ({**stack, "currency": c.currency}, c.before)
        for c in costs
        if c.before or (c.currency and not c.unknown_before)
    )


def _unknown(costs: tuple[CostTotal, ...]) -> float:
    """What has no price stands in the total of every currency: it is one number, not a sum."""
    return max((c.unknown_before for c in costs), default=0)


def _at(at: float | None, stack: Mapping[str, str]) -> tuple[tuple[Mapping[str, str], float], ...]:
    return () if at is None else ((stack, at),)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return line(value).replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
