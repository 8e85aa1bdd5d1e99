"""What deployments cost by the hour, from the prices that the file gives: no provider has a call for them. Pure.

A cost that is not known is None and is counted; it is never guessed and never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from reconciler.core.compare.diff import usable
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.model import Json, Live, ProviderConfig, Recorded, Secret
from reconciler.plan import Cost, CostTotal


@dataclass(frozen=True, slots=True)
class Money:
    """An hourly amount in one currency; `amount` None: no price is known."""

    amount: float | None
    currency: str = ""


NOTHING = Money(0.0)
UNKNOWN = Money(None)


class Tariff:
    """The prices of one provider entry, applied by its schema's `x-price` annotations. One object a plan.

    `known` is False where the entry has no prices at all.
    """

    def __init__(self, schema: ProviderSchema, config: ProviderConfig | None) -> None:
        self._prices = config.prices if config else {}
        self.known = bool(self._prices)
        by_role: dict[str, list[str]] = {"key": [], "quantity": [], "dimensions": []}
        for path, attribute in schema.attributes.items():
            if attribute.price:
                by_role[attribute.price].append(path)
        self._keys, self._quantities = by_role["key"], by_role["quantity"]
        self._dimensions = by_role["dimensions"]
        self._relevant = (*self._keys, *self._quantities, *self._dimensions)
        self._lines: dict[tuple[Json, ...], Cost | None] = {}

    def unchanged(self, spec: Mapping[str, Json]) -> Cost | None:
        """The cost line of a deployment that stays as it is; the same object for the same figures."""
        if not self.known:
            return None
        values = tuple([spec.get(name) for name in self._relevant])
        try:
            return self._lines[values]
        except KeyError:
            money = self(spec)
            return self._lines.setdefault(values, change_of(money, money))
        except TypeError:  # an object where a figure is looked for
            money = self(spec)
            return change_of(money, money)

    def __call__(self, spec: Mapping[str, Json]) -> Money:
        """The hourly cost of a deployment with these attributes. The first `x-price: key` with a price counts."""
        for name in self._keys:
            key = spec.get(name)
            if isinstance(key, str) and key in self._prices:
                return self._amount(self._prices[key], spec)
        return UNKNOWN

    def _amount(self, price: Mapping[str, Json], spec: Mapping[str, Json]) -> Money:
        currency = str(price.get("currency", ""))
        if "unit_price" in price:
            amount = _number(price["unit_price"])
            for name in self._quantities:
                amount = _times(amount, _number(spec.get(name)))
            return Money(amount, currency)
        total: float | None = 0.0
        for name in self._dimensions:
            dimensions = spec.get(name)
            if not isinstance(dimensions, Mapping) or not dimensions:
                return Money(None, currency)
            for dimension, quantity in dimensions.items():
                part = _times(_number(price.get(dimension)), _number(quantity))
                total = None if total is None or part is None else total + part
        return Money(total if self._dimensions else None, currency)


def _number(value: Json) -> float | None:
    if isinstance(value, Secret):
        value = value.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def _times(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def running(prior: Recorded | None, live: Live, schema: ProviderSchema) -> dict[str, Json]:
    """The attributes that a live deployment is billed by: what it returned, else what was recorded."""
    spec = dict(prior.spec) if prior else {}
    for name, value in live.attributes.items():
        if usable(schema.attribute(name), live):
            spec[name] = value
    return spec


def change_of(before: Money, after: Money) -> Cost | None:
    """The cost line of one action; None where nothing is known of either side."""
    currency = after.currency or before.currency
    if not currency:
        return None
    if before.currency and before.currency != currency:
        return Cost(None, after.amount, currency)
    return Cost(_round(before.amount), _round(after.amount), currency)


def _round(amount: float | None) -> float | None:
    """Without the dust of binary fractions, so that 0.1 × 3 reads 0.3."""
    return None if amount is None else round(amount, 6)


def totals(pairs: Iterable[tuple[Money, Money]]) -> tuple[CostTotal, ...]:
    """Sums per currency, sorted. What has no price is counted in every one of them, since it could belong to any.

    Where no price is known at all there is one total without a currency, which only counts; none if nothing runs.
    """
    sums: dict[str, list[float]] = {}
    unknown = [0, 0]
    for pair in pairs:
        for side, money in enumerate(pair):
            if money.amount is None:
                unknown[side] += 1
            elif money.currency:
                sums.setdefault(money.currency, [0.0, 0.0])[side] += money.amount
    if not sums and any(unknown):
        sums[""] = [0.0, 0.0]
    return tuple(
        CostTotal(round(before, 6), round(after, 6), currency, unknown[0], unknown[1])
        for currency, (before, after) in sorted(sums.items())
    )
