"""What stands of an operation on an ML Commons model: looks at it, and how what a lost call made is found by our mark.

Reads only. What of it is ours, and so may be removed, is told here; who removes it is opensearch_calls.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.model import Json, Live
from reconciler.provider import Call, Conflict, Operation, RejectedError, Reply
from reconciler.providers import opensearch_bodies as bodies
from reconciler.providers import opensearch_memo as memory
from reconciler.providers import opensearch_wire as wire_format
from reconciler.providers.opensearch_api import Api


@dataclass(frozen=True, slots=True)
class Begun:
    """A registration that was begun: its model, once there; else the `task` to wait for, of something `other` than what
    is declared by now; or the model to `remove`, where that is over."""

    live: Live | None = None
    task: str | None = None
    other: bool = False
    remove: tuple[str, ...] = ()


class Looks:
    """Looks at one cluster for the operations on it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    # --- looking at what stands -------------------------------------------------------------------------------------
    def survey(self, op: Operation, _call: Call) -> Reply:
        known = (op.prior.id if op.prior else None) or op.id or op.desired.get("model_id")
        live = self._api.live(known) if isinstance(known, str) else None
        if op.verb == "deploy" and memory.registers(op):
            return self._survey_own(op, known, live)
        if live is None:
            return Reply(memo={"surveyed": True, "vanished": True})
        strays = [id_ for id_ in memory.own_connectors(op) if id_ != live.computed.get("connector_id")]
        memo = {"surveyed": True, "fresh": True, "model": live.id, "seen": bodies.seen_of(op, live), "strays": strays}
        return Reply(id=live.id, live=live, memo=memo)

    def _survey_own(self, op: Operation, known: Json, live: Live | None) -> Reply:
        """What of ours is left of a deployment that is to be deployed (again): our model, others in our group."""
        own, gone = memory.made(op), [known] if live is None and known else []
        group = own.get("group")
        ours = group is not None and not op.memo.get("taken")
        if group is not None and self._api.get("model_groups", group) is None:
            gone.append(group)
            group = None
        hits = self._api.members(group) if group else []
        members = [str(hit["_id"]) for hit in hits]
        if live is not None and not bodies.agrees(op, live):
            if live.id not in members:
                raise RejectedError(
                    f"model {live.id} was registered by others, so it can't be registered anew as declared",
                    provider=self._api.provider,
                    hint="take back the change, or give the deployment another name",
                )
            live = None
        if live is None and not ours:
            live = self._retained(op, hits)
        begun = Begun() if live is not None else self._begun(op, own)
        live = live or begun.live
        rest = [id_ for id_ in members if live is None or id_ != live.id]
        connector = live.computed.get("connector_id") if live else None
        memo: dict[str, Json] = {
            "surveyed": True,
            "fresh": True,
            "gone": gone,
            "leftovers": [*begun.remove, *(self._leftovers(op, hits, live.id if live else None) if ours else [])],
            "strays": [id_ for id_ in self._connectors(op) if id_ != connector],
            "task": begun.task,
            "other": begun.other,
        }
        created: dict[str, str] = {} if ours or not rest else {"kept": ",".join(rest)}
        if "task" in own and begun.task is None:
            created["task"] = ""
        if live is None:
            return Reply(created=created, memo=memo)
        if live.id in members:
            created["model"] = live.id
        if not ours and isinstance(connector, str) and self._is_ours(op, connector):
            created["connector"] = connector
        return Reply(live.id, created, live, {**memo, "model": live.id, "seen": bodies.seen_of(op, live)})

    def _begun(self, op: Operation, own: Mapping[str, str]) -> Begun:
        """What became of the registration of a local model that an earlier run had begun."""
        task = self._api.get("tasks", own["task"]) if "task" in own else None
        if task is None or task.get("state") not in ("CREATED", "RUNNING", "COMPLETED"):
            return Begun()
        model, other = task.get("model_id"), not bodies.same_content(op)
        if not isinstance(model, str):
            return Begun(task=own["task"], other=other)
        return Begun(remove=(model,)) if other else Begun(self._api.live(model))

    def _leftovers(self, op: Operation, members: Iterable[Mapping[str, Json]], current: str | None) -> list[str]:
        """Ids of the models in our group, beside the current one, that a killed run or a late answer of ours left.

        A model that somebody registers without naming a group joins the one of its name. It stays, however much it is
        as declared: ours are those that our task made, that carry our mark, or that are behind a connector of ours.
        """
        own, known = memory.made(op), memory.own_connectors(op)
        stays = {current, *bodies.kept(own)}
        others = [hit for hit in members if str(hit["_id"]) not in stays]
        if "task" in own:  # what is being registered is not left over
            others = [hit for hit in others if wire_format.state_of(hit.get("_source") or {}) != "REGISTERING"]
        task = self._api.get("tasks", own["task"]) if "task" in own else None
        ours = {own.get("model"), task.get("model_id") if task else None}
        ours |= {str(hit["_id"]) for hit in others if (hit.get("_source") or {}).get("connector_id") in known}
        ours |= set(self._proven(op, [hit for hit in others if str(hit["_id"]) not in ours]))
        return [id_ for hit in others if (id_ := str(hit["_id"])) in ours]

    def _connectors(self, op: Operation) -> list[str]:
        """Ours by the record, and by our mark for this address: a killed run's may have landed after it was looked for.

        One that a moved deployment uses carries the mark of its old address too; the server refuses to delete it.
        """
        hits = self._api.hits("connectors", wire_format.phrase_query(op.mark.rpartition("/")[0] + "/"))
        marked = [str(hit["_id"]) for hit in hits if wire_format.of_address(bodies.description(hit), op.mark)]
        return list(dict.fromkeys([*memory.own_connectors(op), *marked]))

    def _retained(self, op: Operation, members: Iterable[Mapping[str, Json]]) -> Live | None:
        """The newest model of a group that we take again which is ours and as declared; what is not, was kept on
        purpose. A pretrained one carries no mark: one that is off counts."""
        proven = set(self._proven(op, members))
        candidates = [id_ for hit in members if (id_ := str(hit["_id"])) in proven or memory.is_pretrained(op)]
        for id_ in candidates[:-6:-1]:
            live = self._api.live(id_)
            if live is not None and bodies.agrees(op, live) and (id_ in proven or live.dormant):
                return live
        return None

    def _proven(self, op: Operation, members: Iterable[Mapping[str, Json]]) -> list[str]:
        """Ids of those that carry a mark of our lineage, or are behind a connector that does, oldest first. Behind a
        connector that the file names there may be anybody's."""
        sources = {str(hit["_id"]): hit.get("_source") or {} for hit in members}
        shared = [spec.get("connector_id") for spec in (op.desired, op.prior.spec if op.prior else {})]
        named = (source.get("connector_id") for source in sources.values())
        behind = [id_ for id_ in named if isinstance(id_, str) and id_ not in shared]
        found = self._api.by_id("connectors", behind) if behind else {}
        marked = {id_ for id_, hit in found.items() if wire_format.of_lineage(bodies.description(hit), op.mark)}
        return [
            id_
            for id_, source in sources.items()
            if wire_format.of_lineage(source.get("description"), op.mark) or source.get("connector_id") in marked
        ]

    def _is_ours(self, op: Operation, connector: str) -> bool:
        found = self._api.get("connectors", connector)
        return found is not None and wire_format.of_lineage(found.get("description"), op.mark)

    def confirm(self, op: Operation, _call: Call) -> Reply:
        """One model as it is this moment, its task, and what does not belong beside it."""
        model = memory.model_of(op)
        live = self._api.live(model) if model else None
        memo: dict[str, Json] = {"fresh": True, "confirms": int(op.memo.get("confirms") or 0) + 1}
        if live is None:
            return Reply(memo={**memo, "vanished": True})
        deploy = op.memo.get("deploy")
        task = deploy.get("task") if isinstance(deploy, dict) else None
        if task and live.health != "ready":
            live = self._api.cleaned(wire_format.with_task(live, self._api.get("tasks", task)))
        if op.verb != "undeploy":
            own = memory.made(op)
            strays = [id_ for id_ in memory.own_connectors(op) if id_ != live.computed.get("connector_id")]
            memo["strays"] = strays
            if own.get("group") and memory.registers(op):
                memo["leftovers"] = self._leftovers(op, self._api.members(own["group"]), live.id)
        return Reply(id=live.id, live=live, memo=memo)

    def sweep(self, op: Operation, _call: Call) -> Reply:
        """Everything of ours that still stands: models in our group, connectors with our mark for this address. The
        group stays where models of others are in it."""
        own = memory.made(op)
        members = self._api.members(own["group"]) if "group" in own else []
        leftovers = self._leftovers(op, members, None)
        theirs = [id_ for hit in members if (id_ := str(hit["_id"])) not in leftovers]
        memo: dict[str, Json] = {
            "swept": True,
            "sweeps": int(op.memo.get("sweeps") or 0) + 1,
            "leftovers": leftovers,
            "strays": self._connectors(op),
        }
        return Reply(created={"kept": ",".join(theirs)} if theirs or "kept" in own else {}, memo=memo)

    # --- finding ----------------------------------------------------------------------------------------------------
    def find_group(self, op: Operation) -> Reply | Conflict | None:
        name = op.desired.get("name")
        query = wire_format.name_query(name) if isinstance(name, str) else wire_format.phrase_query(op.mark)
        for hit in self._api.hits("model_groups", query):
            id_, description = str(hit["_id"]), bodies.description(hit)
            if self._api.get("model_groups", id_) is None:
                continue  # deleted a moment ago: a search trails behind, a read by id does not
            if wire_format.mark_of(description) == op.mark:
                return Reply(created={"group": id_})
            if wire_format.of_lineage(description, op.mark):
                return Reply(created={"group": id_}, memo={"taken": True, "surveyed": False})
            if isinstance(name, str):
                return Conflict(f"a model group named {name!r} exists ({id_}) without our mark", id=id_)
        return None

    def find_connector(self, op: Operation) -> Reply | None:
        hits = self._api.hits("connectors", wire_format.phrase_query(op.mark))
        marked = sorted(str(hit["_id"]) for hit in hits if wire_format.mark_of(bodies.description(hit)) == op.mark)
        ours = [id_ for id_ in marked if self._api.get("connectors", id_) is not None]
        if not ours:
            return None
        return Reply(created={bodies.slot(op): ours[0]}, memo={"connector": ours[0], "strays": ours[1:]})

    def find_model(self, op: Operation) -> Reply | None:
        """The oldest model in our own group that is as declared and that this very call made: by its mark, or behind
        the connector that was made for it."""
        own, made = memory.made(op), op.memo.get("connector")
        if "group" not in own:
            return None
        asked = made or op.desired.get("connector_id")
        connector = asked if isinstance(asked, str) else None  # a secret one is a digest by now
        members = self._api.members(own["group"])
        for hit in members:
            live = wire_format.live_model(str(hit["_id"]), hit.get("_source") or {}, ())
            if live.id in bodies.kept(own) or connector not in (None, live.computed.get("connector_id")):
                continue
            if not made and not _of_this_call(op, hit, live):
                continue
            if bodies.agrees(op, live) and self._api.get("models", live.id) is not None:
                found = bodies.registered(op, live.id)
                rest = self._leftovers(op, members, live.id)
                seen = {**found.memo["seen"], "state": live.status}
                return Reply(found.id, found.created, None, {**found.memo, "seen": seen, "leftovers": rest})
        return None

    def find_deployed(self, op: Operation) -> Reply | None:
        """A deploy: the wanted nodes hold the model, or its record says that it is under way."""
        model = memory.model_of(op)
        live = self._api.live(model) if model else None
        if live is None or not (live.status == "DEPLOYING" or _arrived(op, live)):
            return None
        memo: dict[str, Json] = {
            "deploy": {"found": True},
            "deploys": int(op.memo.get("deploys") or 0) + 1,
            "confirms": 0,
        }
        return Reply(id=live.id, live=live, memo=memo)


def _of_this_call(op: Operation, hit: Mapping[str, Json], live: Live) -> bool:
    """By its mark. A pretrained one can't have it: there it is nobody's mark, and that it never was deployed."""
    mark = wire_format.mark_of(bodies.description(hit))
    return mark == op.mark or (memory.is_pretrained(op) and not mark and live.dormant)


def _arrived(op: Operation, live: Live) -> bool:
    """Whether a deploy was carried out. Where some nodes held the model before, their word alone tells nothing."""
    nodes, wanted = live.computed["worker_nodes"], memory.wanted_nodes(op)
    if wanted is not None:
        return set(wanted) <= set(nodes)
    return bool(nodes) and live.health == "ready" and live.attributes.get("node_ids") is None
