"""A scene: who has what before the plan that a test looks at, what happened by hand since, and what the file says now.

`parts` draws roles; `Scene` plays them up to the moment of the plan. `expected` says what the table of the contract
makes of a role, and `rows` which of its rows and conditions that was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from hypothesis import strategies as st

from reconciler.diagnostics import PlanConflictError
from reconciler.model import Json
from reconciler.plan import Action, Plan
from tests.support.casts import Cast
from tests.support.rehearsal import REGISTRY, Party, Place, differences

Origin = Literal["nobody", "ours", "slow", "failed", "elsewhere", "ttl", "theirs"]
Hand = Literal["no", "removed", "leaving", "stopped"]
After = Literal["absent", "same", "scaled", "updated", "immutable", "create first", "adopt", "adopt changed"]

ROWS = (
    "deploy", "conflict", "adopt", "none", "scale", "update", "replace (immutable)", "replace (failed)",
    "replace (other key)", "deploy (gone)", "deploy (failed)", "undeploy", "forget", "unmanaged", "in transition (in)",
    "in transition (out)", "failed", "stopped", "lagging list", "on demand",
)  # fmt: skip
TTL = 30  # minutes
SLOW = 90.0  # seconds that a slow deploy takes; the file gives it 60


@dataclass(frozen=True)
class Role:
    """What becomes of one address. `on_demand`: the file is content with it being gone by itself."""

    origin: Origin
    hand: Hand
    after: After
    on_demand: bool = False

    def __str__(self) -> str:
        return f"{self.origin}/{self.hand}/{self.after}{'/on demand' if self.on_demand else ''}"


def possible(cast: Cast, role: Role) -> bool:
    """Whether this role can be played with this type at all."""
    origin, hand, after = role.origin, role.hand, role.after
    if (after == "scaled" and cast.scaled is None) or (after == "updated" and cast.updated is None):
        return False
    if after == "adopt changed" and cast.scaled is None and cast.updated is None:
        return False
    if after == "create first" and not (cast.create_first and origin in ("ours", "failed") and hand == "no"):
        return False
    if after.startswith("adopt") and origin not in ("nobody", "theirs"):
        return False
    if hand == "leaving" and ("in transition (out)" in cast.never or origin in ("slow", "failed", "ttl")):
        return False
    if hand == "stopped" and (
        "stopped" in cast.never or origin != "ours" or after not in ("same", "absent", "immutable")
    ):
        return False
    if hand == "stopped" and after == "immutable" and "short_ids" in cast.knobs:
        return False  # the simulator would stop its successor too, which has its id
    if hand == "removed" and (
        origin in ("slow", "failed") or (cast.leftover and origin == "theirs" and after != "absent")
    ):
        return False  # a model group that is not ours is never taken
    if role.on_demand and not (origin == "ttl" or (cast.dormant and (origin, hand) == ("ours", "removed"))):
        return False
    if origin == "nobody":
        return hand == "no" and after not in ("absent", "create first")
    if origin == "ttl":
        return cast.on_demand is not None and hand == "no" and after in ("same", "absent")
    return True


def roles(cast: Cast) -> list[Role]:
    """Every role that the type can play."""
    origins, hands, afters = (kind.__args__ for kind in (Origin, Hand, After))  # type: ignore[attr-defined]
    every = (Role(*parts) for parts in product(origins, hands, afters, (False, True)))
    return [role for role in every if possible(cast, role)]


def expected(cast: Cast, role: Role) -> str | None:
    """The action that the contract's table names for a role; "conflict", "" for none at all, None: not said here."""
    origin, hand, after = role.origin, role.hand, role.after
    if origin == "nobody":
        return "deploy"
    if origin == "theirs":
        if after == "absent":
            return ""
        if hand in ("removed", "leaving"):
            return None if cast.identifies and after == "immutable" else "deploy"
        if cast.identifies and after == "immutable":
            return None
        return "adopt" if after.startswith("adopt") else "conflict"
    if after == "absent":
        gone = hand == "removed" or origin == "ttl"
        return "undeploy" if not gone or (cast.leftover) else "forget"
    if origin == "elsewhere":
        return None if cast.leftover or hand == "leaving" else "deploy" if hand == "removed" else "replace"
    if origin == "ttl" or hand == "removed":
        return None if after == "immutable" else "none" if role.on_demand and after == "same" else "deploy"
    if hand == "leaving":
        return "deploy"
    if origin == "failed":
        restartable = REGISTRY.types[cast.type].capabilities.restartable
        return "deploy" if restartable and after not in ("immutable", "create first") else "replace"
    if origin == "slow":
        return "none" if after == "same" else None
    return {"same": "none", "scaled": "scale", "updated": "update"}.get(after, "replace")


def rows(cast: Cast, role: Role, action: Action | None, *, lag: bool) -> Iterator[str]:
    """The rows of the table, and the conditions, that a role came to; `action` None: in none, or in conflict."""
    if action is None:
        yield "unmanaged" if role.after == "absent" else "conflict"
        return
    kind, reason = action.action, action.reason
    if kind == "deploy":
        word = "failed" if role.origin == "failed" else "gone"
        yield "deploy" if role.origin in ("nobody", "theirs") else f"deploy ({word})"
    elif kind == "replace":
        word = "other key" if role.origin == "elsewhere" else "failed" if role.origin == "failed" else "immutable"
        yield f"replace ({word})"
    else:
        yield kind
    if role.origin == "slow" and kind == "none":
        yield "in transition (in)"
    if role.hand == "leaving" and ("until it is gone" in reason + " ".join(action.notes) or kind == "undeploy"):
        yield "in transition (out)"
    if role.origin == "failed":
        yield "failed"
    if role.hand == "stopped":
        yield "stopped"
    if role.on_demand:
        yield "on demand"
    if lag and kind != "none":
        yield "lagging list"


def impossible(type_: str, casts: list[Cast]) -> dict[str, str]:
    """The rows that can't occur at a provider type, and why: by capabilities and schema, else as its casts say."""
    capabilities, schema = REGISTRY.types[type_].capabilities, REGISTRY.schemas[type_]
    found: dict[str, str] = {}
    for row, able in (("scale", capabilities.scales), ("update", capabilities.updates)):
        declared = any(one.change == row for one in schema.attributes.values())
        assert able == declared, f"{type_}: capabilities and schema disagree about {row}"
        if not able:
            found[row] = f"capabilities.{row}s is false, and no attribute is annotated x-change: {row}"
    if not capabilities.restartable:
        found["deploy (failed)"] = "capabilities.restartable is false: what failed is replaced"
    if schema.on_demand is None and not schema.existing:
        found["on demand"] = "neither x-on-demand nor x-existing: what is gone is gone"
    for row in set.intersection(*(set(cast.never) for cast in casts)):
        found[row] = casts[0].never[row]
    return found


@dataclass
class Scene:
    """Roles by address, played in one place. `before` and `now` are (dependent, needed) pairs of the file then and now.

    `renamed`: the other provider key is the same account under another name.
    """

    cast: Cast
    parts: Mapping[str, Role]
    before: frozenset[tuple[str, str]] = frozenset()
    now: frozenset[tuple[str, str]] = frozenset()
    lag: float = 0.0
    shuffle: bool = False
    renamed: bool = False
    place: Place = field(default_factory=Place)
    dropped: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ours, self.theirs, self.others = (Party(self.place, name) for name in ("bots", "theirs", "others"))
        self.number = {address: i for i, address in enumerate(sorted(self.parts))}

    # --- files ------------------------------------------------------------------------------------------------------
    def file(self, deployments: Mapping[str, Json]) -> dict[str, Json]:
        cast = self.cast
        far = cast.settings if self.renamed else cast.elsewhere
        providers = {cast.type: cast.settings, f"{cast.type}.far": far}
        return {"providers": {key: dict(value) for key, value in providers.items()}, "deployments": dict(deployments)}

    def now_file(self) -> dict[str, Json]:
        """What the file says at the moment of the plan."""
        wanted = [a for a, role in self.parts.items() if role.after != "absent" and a not in self.dropped]
        return self.file({address: self._declared(address, self.now, wanted, late=True) for address in wanted})

    def _declared(
        self, address: str, edges: frozenset[tuple[str, str]], present: Any, *, late: bool
    ) -> dict[str, Json]:
        role, cast = self.parts[address], self.cast
        spec = cast.spec(self.number[address], address)
        block: dict[str, Json] = {"provider": cast.type, "spec": spec}
        if role.origin == "elsewhere" and not late:
            block["provider"] = f"{cast.type}.far"
        if role.origin == "slow":
            block["timeouts"] = {"deploy": "60s"}
        if role.origin == "ttl":
            spec["deploy_setting"] = {"model_ttl_minutes": TTL}
            if not role.on_demand:
                block["presence"] = "always"
        elif role.on_demand:
            block["presence"] = "on_demand"
        if role.after == "create first":
            block["lifecycle"] = {"create_before_undeploy": True}
            del spec["suffix"]  # what is derived can differ
        if late:
            block["adopt"] = role.after.startswith("adopt")
            block["spec"] = self._changed(role.after, spec)
        needed = sorted(needed for one, needed in edges if one == address and needed in present)
        return {**block, "depends_on": needed} if needed else block

    def _changed(self, after: After, spec: dict[str, Json]) -> dict[str, Json]:
        cast = self.cast
        change = {
            "scaled": cast.scaled, "updated": cast.updated, "immutable": cast.immutable,
            "create first": cast.immutable, "adopt changed": cast.scaled or cast.updated,
        }.get(after)  # fmt: skip
        return change(spec) if change is not None else spec

    # --- before the plan --------------------------------------------------------------------------------------------
    def play(self) -> None:
        """Everything up to the moment of the plan."""
        self._knobs(**self.cast.knobs, deploy_seconds=2.0, scale_seconds=2.0, undeploy_seconds=2.0)
        self._knobs(lag=self.lag, shuffle=self.shuffle)
        for late in (False, True):  # what the file takes for granted is there for long
            everyone = {a: self._declared(a, frozenset(), (), late=late) for a in self.parts}
            self.ours.connect(self.ours.stack(self.file(everyone)))
        self.place.clock.sleep(10.0)
        known = self._of("ttl")
        self._run(self.ours, known)
        self.place.clock.sleep(60.0 * TTL + 60.0 if known else 0.0)
        for origin in ("ours", "elsewhere"):
            known += self._of(origin)
            self._run(self.ours, known)
        self._run(self.theirs, [a for a in self._of("theirs") if self._owner(self.parts[a]) is self.theirs])
        before = self.place.things()
        self._run(self.others, [a for a in self._of("theirs") if self._owner(self.parts[a]) is self.others])
        self.foreign = {key for key, text in self.place.things().items() if before.get(key) != text}
        self._failing(known)
        self._slow(known)
        self._hands()
        self.place.clock.sleep(self.lag + 2.0)
        self.untouched = {key: text for key, text in self.place.things().items() if key in self.foreign}

    def _of(self, origin: str) -> list[str]:
        return [address for address in sorted(self.parts) if self.parts[address].origin == origin]

    def _knobs(self, **knobs: Json) -> None:
        self.place.knobs(self.ours.stack(self.file({})).providers, **knobs)

    def _run(self, party: Party, addresses: list[str]) -> None:
        if not addresses or (party.state is not None and set(addresses) <= set(party.state.deployments)):
            return
        fragile = {*self._of("ttl"), *self._of("failed")}  # a later run would put them right
        stuck = {*fragile, *self._of("slow")}  # what needs them would not be deployed
        edges = frozenset((one, needed) for one, needed in self.before if needed not in stuck and one not in fragile)
        blocks = {address: self._declared(address, edges, addresses, late=False) for address in addresses}
        known = party.state.deployments if party.state is not None else {}
        party.run(self.file(blocks), exclude=tuple(sorted(fragile & set(known) & set(addresses))))

    def _failing(self, known: list[str]) -> None:
        if self._of("failed"):
            self._knobs(fail_deploys=[self.cast.called(self.number[a], a) for a in self._of("failed")])
            known += self._of("failed")
            self._run(self.ours, known)
            self._knobs(fail_deploys=None)

    def _slow(self, known: list[str]) -> None:
        if self._of("slow"):
            self._knobs(deploy_seconds=SLOW)
            self._run(self.ours, [*known, *self._of("slow")])
            self._knobs(deploy_seconds=2.0)

    def _hands(self) -> None:
        stopped = []
        for address, role in self.parts.items():
            if role.hand == "no":
                continue
            owner = self._owner(role)
            assert owner.state is not None
            entry = owner.state.deployments[address]
            assert entry.id is not None
            if role.hand == "stopped":
                stopped.append(entry.id)
                continue
            config = owner.configs[entry.provider]
            self._knobs(undeploy_seconds=40.0 if role.hand == "leaving" else 0.5)
            self.cast.remove(self.place, config, entry.id)
        self._knobs(undeploy_seconds=2.0, stopped=stopped or None)

    def _owner(self, role: Role) -> Party:
        if role.origin != "theirs":
            return self.ours
        stays = expected(self.cast, role) in ("", "conflict", None)
        return self.others if stays else self.theirs

    # --- the plan ---------------------------------------------------------------------------------------------------
    def plan(self) -> Plan:
        """The plan of the moment; what is in conflict is asserted to be told with its ways out, and left to others."""
        try:
            return self.ours.plan(self.now_file(), locked=True)
        except PlanConflictError as error:
            for found in error.diagnostics:
                assert found.address is not None
                assert expected(self.cast, self.parts[found.address]) == "conflict", found
                text = f"{found.summary} {found.hint}"
                live = self._owner(self.parts[found.address]).state
                assert live is not None
                id_ = live.deployments[found.address].id
                assert id_ is not None
                for word in (id_, "reconciler import", "adopt: true"):
                    assert word in text, (word, found)
                self.dropped.add(found.address)
        return self.ours.plan(self.now_file(), locked=True)

    def check(self, plan: Plan, counts: Counter[str] | None = None) -> None:
        """Every role has come to the action that the table names; `counts` takes the rows."""
        actions = {action.address: action for action in plan.actions}
        for address, role in self.parts.items():
            want, action = expected(self.cast, role), actions.get(address)
            got = "conflict" if address in self.dropped else action.action if action is not None else ""
            assert want in (None, got), f"{address} ({role}) is {got or 'left alone'}, not {want}: {action}"
            if counts is not None:
                counts.update(rows(self.cast, role, action, lag=self.lag > 0))

    # --- what it came to --------------------------------------------------------------------------------------------
    def touched(self, place: Place) -> list[str]:
        """Records of what nobody of ours manages that are not byte for byte as they were."""
        after = place.things()
        return [str(key) for key, text in self.untouched.items() if after.get(key) != text]

    def settled(self, party: Party) -> list[str]:
        """How the plan of a party differs from an empty one. What is stopped is drift for as long as it is."""
        found = differences(party.plan(self.now_file()))
        stopped = [address for address, role in self.parts.items() if role.hand == "stopped"]
        return [line for line in found if not any(line.startswith(f"drift {address} status") for address in stopped)]

    def end(self, party: Party) -> dict[str, Any]:
        """What is there, without the ids and times that no two histories share."""
        party.place.clock.sleep(self.lag + 2.0)
        party.look(self.now_file())
        hidden = {"connector_id", "model_id"} if self.cast.leftover else {"connector_id"}  # ids of this history
        live = {
            key: sorted(
                (one.name, sorted((k, str(v)) for k, v in one.attributes.items() if k not in hidden), one.health)
                for one in listing.objects
                if not one.dormant and one.health != "deleting"
            )
            for key, listing in party.refreshed.listings.items()
        }
        beside: dict[str, int] = {}
        for world, dump in party.place.dump().items():
            for table, found in dump["data"].items():
                if table.startswith(".plugins-ml-") and "task" not in table:
                    alive = [row for row in found.values() if row["deleted"] is None]
                    beside[f"{world} {table}"] = len(alive)
        return {"live": live, "beside": beside}


@st.composite
def scenes(draw: st.DrawFn, cast: Cast, most: int = 7) -> Scene:
    """A scene of up to `most` roles with dependencies between them, then and now, in any order."""
    chosen = draw(st.lists(st.sampled_from(roles(cast)), min_size=1, max_size=most))
    return staged(cast, chosen, draw)


def staged(cast: Cast, chosen: list[Role], draw: st.DrawFn) -> Scene:
    """These roles, with the rest drawn."""
    names = draw(st.permutations([f"dep-{i}" for i in range(len(chosen))]))
    pairs = [(one, needed) for at, one in enumerate(names) for needed in names[:at]]
    edges = st.frozensets(st.sampled_from(pairs), max_size=4) if pairs else st.just(frozenset())
    return Scene(
        cast, dict(zip(names, chosen, strict=True)), draw(edges), draw(edges), draw(st.sampled_from([0.0, 0.0, 1.5])),
        draw(st.booleans()), draw(st.sampled_from([False, False, True])),
    )  # fmt: skip
