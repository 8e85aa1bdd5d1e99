"""Guards and limits: what refuses a plan, with the figure that broke it and the flag that lifts it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.compare.live_index import LiveIndex
from reconciler.model import ProviderConfig, Recorded, Stack, State
from reconciler.plan import Action, CostTotal, PlanOptions, Refusal

MANY = 3  # fewer never look like an accident
SHARE = 30  # per cent of the managed deployments


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guards look at. `recorded` are all managed deployments (before targets), moves done; `actions` what is
    left after targets; `costs` of all managed deployments again."""

    stack: Stack | None
    state: State | None
    recorded: Mapping[str, Recorded]
    actions: Sequence[Action]
    costs: Sequence[CostTotal]
    index: LiveIndex
    configs: Mapping[str, ProviderConfig]
    options: PlanOptions


def refusals(given: Guarded) -> tuple[Refusal, ...]:
    """Everything that refuses this plan. `--destroy` is held by `prevent_undeploy` alone."""
    found = list(_protected(given))
    if not given.options.destroy:
        found += _undeploys(given)
        found += _empty_lists(given)
        found += _endpoints(given)
        found += _cost(given)
    return tuple(found)


def leaving(actions: Sequence[Action]) -> list[Action]:
    """The actions that take a deployment away, if only for a while."""
    return [action for action in actions if action.action in ("undeploy", "replace")]


def _protected(given: Guarded) -> Iterator[Refusal]:
    for action in leaving(given.actions):
        prior = given.recorded.get(action.address)
        in_state = prior is not None and prior.lifecycle.prevent_undeploy
        in_file = action.desired is not None and action.desired.lifecycle.prevent_undeploy
        if not in_state and not in_file:
            continue
        if in_file:
            way = "set prevent_undeploy: false in the file and apply that first"
        elif action.desired is not None:
            way = f"apply prevent_undeploy: false first, without the change that needs this ({action.reason})"
        else:
            way = "deleting its block does not lift this: declare it again with prevent_undeploy: false and apply that"
        yield Refusal(
            "prevent_undeploy",
            f"{action.address} is protected, and the plan would {action.action} it ({action.reason}); {way}",
        )


def _undeploys(given: Guarded) -> Iterator[Refusal]:
    gone = leaving(given.actions)
    count, managed = len(gone), len(given.recorded)
    allowed = given.options.allow_undeploys
    if allowed is not None and allowed >= count:
        return
    lift = f"--allow-undeploys {count} lifts this"
    limit = given.stack.limits.max_undeploys if given.stack else None
    if limit is not None and _beyond(count, limit, managed):
        share = f" of {managed} managed" if isinstance(limit, str) else ""
        yield Refusal(
            "max_undeploys", f"{count} deployments{share} would be undeployed or replaced, the limit is {limit}; {lift}"
        )
    if given.stack is not None and not given.stack.deployments and managed and not given.options.refresh_only:
        yield Refusal("declares_nothing", f"the file declares no deployment while the state holds {managed}; {lift}")
        return
    if count < MANY:
        return
    names = _some([action.address for action in gone])
    if count * 100 > SHARE * managed:
        yield Refusal(
            "many_undeploys",
            f"{count} of {managed} managed deployments would be undeployed or replaced, more than {SHARE} % "
            f"({names}); {lift}",
        )
        return
    left = Counter(given.recorded[action.address].provider for action in gone if action.address in given.recorded)
    has = Counter(entry.provider for entry in given.recorded.values())
    for key in sorted(left):
        if left[key] >= MANY and left[key] == has[key]:
            yield Refusal(
                "all_of_provider",
                f"all {has[key]} deployments at {key} would be undeployed or replaced ({names}); {lift}",
            )


def _beyond(count: int, limit: int | str, managed: int) -> bool:
    if isinstance(limit, int):
        return count > limit
    return count * 100 > float(limit.rstrip(" %")) * managed


def _some(names: list[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _empty_lists(given: Guarded) -> Iterator[Refusal]:
    """What an earlier run was taking away is expected to be gone."""
    known = Counter(
        entry.provider
        for entry in given.recorded.values()
        if entry.id is not None and (entry.pending is None or entry.pending.verb != "undeploy")
    )
    for key in sorted(known):
        if known[key] < MANY or key in given.options.allow_empty or not given.index.readable(key):
            continue
        if not given.index.listing(key).objects:
            yield Refusal(
                "allow_empty",
                f"{key} lists nothing while the state knows {known[key]} deployments there: an outage or the wrong "
                f"account looks like that; if they are really gone, --allow-empty {key} lifts this",
            )


def _endpoints(given: Guarded) -> Iterator[Refusal]:
    recorded = given.state.providers if given.state else {}
    holds: dict[str, list[Recorded]] = {}
    for entry in given.recorded.values():
        holds.setdefault(entry.provider, []).append(entry)
    for key in sorted(holds):
        before, after = recorded.get(key), given.configs.get(key)
        if before is None or after is None or before.scope == after.scope:
            continue
        lost = [entry for entry in holds[key] if entry.id is not None and entry.id not in given.index.ids(key)]
        if key not in given.options.accept_endpoint:
            yield Refusal(
                "accept_endpoint",
                f"{key} points to {after.scope}, but the state holds {len(holds[key])} deployments there recorded at "
                f"{before.scope}; restore it, or add an alias ({after.type}.NAME) for the new one and move the "
                f"deployments to it; if it is the same place under another name, --accept-endpoint {key} lifts this",
            )
        elif lost and given.index.readable(key):
            ids = _some([f"{entry.address} ({entry.id})" for entry in lost])
            yield Refusal(
                "accept_endpoint",
                f"{key} can't be accepted at {after.scope}: {len(lost)} of {len(holds[key])} recorded deployments are "
                f"not found there: {ids}; restore {before.scope}, or add an alias and move the deployments to it",
            )


def _cost(given: Guarded) -> Iterator[Refusal]:
    limits = given.stack.limits.max_hourly_cost if given.stack else {}
    for total in given.costs:
        limit = limits.get(total.currency, limits.get("*"))
        if limit is None or total.after <= limit or total.after <= total.before:
            continue
        beside = ", with what this plan leaves out" if given.options.target or given.options.exclude else ""
        unknown = f", {total.unknown_after} more are unknown" if total.unknown_after else ""
        yield Refusal(
            "max_hourly_cost",
            f"the hourly cost would be {total.after:g} {total.currency} (now {total.before:g}){beside}{unknown}; the "
            f"limit is {limit:g} {total.currency}; no flag lifts this: raise limits.max_hourly_cost in the file",
        )
