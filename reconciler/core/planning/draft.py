"""A plan while it is made: what has been decided so far. Holds no rule but how prices are found. Pure."""

from __future__ import annotations

from reconciler.core.compare.cost import Money, Tariff
from reconciler.core.compare.drift import Drifted, is_drift
from reconciler.core.planning.context import Context, Decision
from reconciler.core.planning.prepare import Prepared
from reconciler.diagnostics import Diagnostic
from reconciler.model import Live
from reconciler.plan import Action, Drift, StateChange


class Draft:
    """One object a plan. `lives` are the objects that decisions were made on, by address; `short`
    are the addresses that took the short way (core/compare/unchanged.py); `money` is before and after."""

    def __init__(self, given: Prepared, *, sandbox: bool) -> None:
        self.actions: list[Action] = []
        self.state_changes: list[StateChange] = []
        self.drift: list[Drift] = []
        self.errors: list[Diagnostic] = list(given.errors)
        self.warnings: list[Diagnostic] = list(given.stack.warnings) if given.stack else []
        self.lives: dict[str, Live] = {}
        self.short: set[str] = set()
        self.money: list[tuple[Money, Money]] = []
        self.ignored = 0
        self.sandbox = sandbox
        self._tariffs: dict[tuple[str, str], Tariff] = {}

    def take(self, decision: Decision) -> None:
        """One deployment is decided."""
        self.actions.append(decision.action)
        self.errors += decision.errors
        self.warnings += decision.warnings
        self.ignored += decision.ignored
        if decision.live is not None:
            self.lives[decision.action.address] = decision.live

    def take_drift(self, found: Drifted) -> None:
        """What a recorded deployment shows; mere notes stand at its action already."""
        self.drift += (row for row in found.rows if is_drift(row))

    def tariff(self, ctx: Context, provider: str, type_: str) -> Tariff:
        """The prices of a provider key for a provider type."""
        known = self._tariffs.get((provider, type_))
        if known is None:
            known = self._tariffs[provider, type_] = Tariff(ctx.schemas[type_], ctx.configs.get(provider))
        return known
