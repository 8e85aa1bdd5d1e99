"""The calls of an operation on an ML Commons model, each short; and how each creating one is found again by our mark.

What to call when is decided in opensearch_steps.py. Nothing here waits, and no creating request is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from reconciler.edge.client import segment
from reconciler.model import Json, Live
from reconciler.provider import (
    BadAnswerError,
    Call,
    Conflict,
    NotFoundError,
    Operation,
    ProviderError,
    RejectedError,
    Reply,
)
from reconciler.providers import opensearch_bodies as bodies
from reconciler.providers import opensearch_memo as memory
from reconciler.providers import opensearch_wire as wire_format
from reconciler.providers.opensearch_api import Api, raced

MOST_BLOCKED = 10
_TAKEN = re.compile(r"already being used by a model group with ID: ([A-Za-z0-9_-]+)")


class Calls:
    """Carries out the calls that `steps.next_step` names."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: Mapping[str, Callable[[Operation, Call], Reply]] = {
            "survey": self._survey,
            "group": self._group,
            "connector": self._connector,
            "register": self._register,
            "registered": self._registered,
            "put": self._put,
            "deploy": self._deploy,
            "release": self._release,
            "undeploy": self._undeploy,
            "confirm": self._confirm,
            "delete": self._delete,
            "sweep": self._sweep,
            "remove_leftover": self._remove_leftover,
            "remove_connector": self._remove_connector,
            "delete_group": self._delete_group,
        }

    def send(self, op: Operation, call: Call) -> Reply:
        """Carry out one call. Raises ProviderError."""
        reply = self._known[call.step](op, call)
        return Reply(reply.id, reply.created, reply.live, {"fresh": False, **reply.memo, "last": call.step})

    def find(self, op: Operation, call: Call) -> Reply | Conflict | None:
        """What a creating call made whose answer was lost."""
        finders = {"group": self._find_group, "connector": self._find_connector, "register": self._find_model}
        found = finders.get(call.step, self._find_deployed)(op)
        if not isinstance(found, Reply):
            return found
        return Reply(found.id, found.created, found.live, {"fresh": False, **found.memo, "last": call.step})

    # --- looking at what stands -------------------------------------------------------------------------------------
    def _survey(self, op: Operation, _call: Call) -> Reply:
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
        members = [str(hit["_id"]) for hit in self._api.members(group)] if group else []
        if live is not None and not bodies.agrees(op, live):
            if live.id not in members:
                raise RejectedError(
                    f"model {live.id} was registered by others, so it can't be registered anew as declared",
                    provider=self._api.provider,
                    hint="take back the change, or give the deployment another name",
                )
            live = None
        if live is None and not ours:
            live = self._retained(op, members)
        rest = [id_ for id_ in members if live is None or id_ != live.id]
        connector = live.computed.get("connector_id") if live else None
        memo: dict[str, Json] = {
            "surveyed": True,
            "fresh": True,
            "gone": gone,
            "leftovers": [id_ for id_ in rest if id_ not in bodies.kept(own)] if ours else [],
            "strays": [id_ for id_ in self._connectors(op) if id_ != connector],
        }
        created: dict[str, str] = {} if ours or not rest else {"kept": ",".join(rest)}
        if live is None:
            return Reply(created=created, memo=memo)
        if live.id in members:
            created["model"] = live.id
        if not ours and isinstance(connector, str) and self._is_ours(op, connector):
            created["connector"] = connector
        return Reply(live.id, created, live, {**memo, "model": live.id, "seen": bodies.seen_of(op, live)})

    def _connectors(self, op: Operation) -> list[str]:
        """Ours by the record, and by our mark for this address: a killed run's may have landed after it was looked for.

        One that a moved deployment uses carries the mark of its old address too; the server refuses to delete it.
        """
        hits = self._api.hits("connectors", wire_format.phrase_query(op.mark.rpartition("/")[0] + "/"))
        marked = [str(hit["_id"]) for hit in hits if wire_format.of_address(bodies.description(hit), op.mark)]
        return list(dict.fromkeys([*memory.own_connectors(op), *marked]))

    def _retained(self, op: Operation, members: list[str]) -> Live | None:
        """The newest model of a group that we take again which is as declared; what is not, was kept on purpose."""
        for id_ in reversed(members[-5:]):
            live = self._api.live(id_)
            if live is not None and bodies.agrees(op, live):
                return live
        return None

    def _is_ours(self, op: Operation, connector: str) -> bool:
        found = self._api.get("connectors", connector)
        return found is not None and wire_format.of_lineage(found.get("description"), op.mark)

    def _confirm(self, op: Operation, _call: Call) -> Reply:
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
                others = [str(hit["_id"]) for hit in self._api.members(own["group"])]
                memo["leftovers"] = [id_ for id_ in others if id_ != live.id and id_ not in bodies.kept(own)]
        return Reply(id=live.id, live=live, memo=memo)

    # --- creating ---------------------------------------------------------------------------------------------------
    def _group(self, op: Operation, _call: Call) -> Reply:
        body = {"name": op.desired["name"], "description": op.mark}
        try:
            id_ = self._text(self._api.request("POST", "/model_groups/_register", body), "model_group_id")
        except RejectedError as error:
            taken = _TAKEN.search(error.message)
            if taken is None:
                raise
            return self._taken_group(op, taken[1], error)
        return Reply(created={"group": id_})

    def _taken_group(self, op: Operation, id_: str, error: ProviderError) -> Reply:
        """A group of that name exists: ours only with a mark of our lineage."""
        group = self._api.get("model_groups", id_)
        if group is None or not wire_format.of_lineage(group.get("description"), op.mark):
            raise RejectedError(
                f"a model group named {op.desired['name']!r} exists already ({id_}), and it is not ours",
                provider=self._api.provider,
                status=error.status,
                request_id=error.diagnostics[0].request_id,
                hint="give the deployment another name, delete the group, or name its model by model_id",
            ) from error
        return Reply(created={"group": id_}, memo={"taken": True, "surveyed": False})

    def _connector(self, op: Operation, _call: Call) -> Reply:
        id_ = self._text(self._api.request("POST", "/connectors/_create", bodies.connector_body(op)), "connector_id")
        return Reply(created={bodies.slot(op): id_}, memo={"connector": id_})

    def _register(self, op: Operation, _call: Call) -> Reply:
        answer = self._api.request("POST", "/models/_register", bodies.register_body(op))
        if not isinstance(answer, dict):
            raise BadAnswerError(
                "the answer to a registration is no object", provider=self._api.provider, effect="unknown"
            )
        if isinstance(answer.get("model_id"), str):
            return bodies.registered(op, answer["model_id"])
        return Reply(memo={"task": self._text(answer, "task_id")})

    def _registered(self, op: Operation, _call: Call) -> Reply:
        task = self._api.get("tasks", str(op.memo["task"])) or {}
        return bodies.registered(op, self._text(task, "model_id"))

    def _deploy(self, op: Operation, call: Call) -> Reply:
        model = str(memory.model_of(op))
        nodes = call.args.get("node_ids") or []
        memo: dict[str, Json] = {"deploys": int(op.memo.get("deploys") or 0) + 1, "confirms": 0}
        try:
            answer = self._api.request(
                "POST", f"/models/{segment(model)}/_deploy", {"node_ids": nodes} if nodes else {}
            )
        except NotFoundError:
            return Reply(id=model, memo={**memo, "vanished": True})
        except ProviderError as error:
            if not raced(error):
                raise
            return Reply(id=model, memo={**memo, "deploy": {"raced": True}})
        task = answer.get("task_id") if isinstance(answer, dict) else None
        return Reply(id=model, memo={**memo, "deploy": {"task": task}})

    # --- changing ---------------------------------------------------------------------------------------------------
    def _put(self, op: Operation, _call: Call) -> Reply:
        model = str(memory.model_of(op))
        try:
            answer = self._api.request("PUT", f"/models/{segment(model)}", memory.put_body(op))
        except NotFoundError:
            return Reply(memo={"vanished": True})
        except ProviderError as error:
            if not raced(error):
                raise
            return Reply(id=model, memo={"busy": True})
        version = answer.get("_version") if isinstance(answer, dict) else None
        return Reply(id=model, memo={"put": version or True, "busy": False, "confirms": 0})

    def _release(self, op: Operation, call: Call) -> Reply:
        """Undeploy from some nodes, of those that hold it now: a node that does not would turn the record UNDEPLOYED
        while others go on serving."""
        model = str(memory.model_of(op))
        held = self._api.holders(model).get(model, ())
        nodes = [node for node in call.args.get("node_ids") or () if node in held]
        if nodes and len(nodes) < len(held):
            self._api.request("POST", "/models/_undeploy", {"model_ids": [model], "node_ids": nodes}, repeatable=True)
        seen = {**(op.memo.get("seen") or {}), "nodes": sorted(set(held) - set(nodes)), "all_nodes": False}
        return Reply(id=model, memo={"seen": seen, "confirms": 0})

    def _undeploy(self, op: Operation, _call: Call) -> Reply:
        model = str(memory.model_of(op))
        memo: dict[str, Json] = {
            "undeployed": True,
            "undeploys": int(op.memo.get("undeploys") or 0) + 1,
            "deploy": None,  # whatever was under way is over
        }
        try:
            self._api.undeploy(model)
        except NotFoundError:
            return Reply(memo={**memo, "vanished": True, "deleted": True})
        seen = op.memo.get("seen")
        return Reply(memo={**memo, "seen": {**seen, "nodes": []}} if isinstance(seen, dict) else memo)

    # --- removing ---------------------------------------------------------------------------------------------------
    def _delete(self, op: Operation, _call: Call) -> Reply:
        try:
            self._api.delete("models", str(memory.model_of(op)))
        except RejectedError as error:
            if "undeploy model first" not in error.message:
                raise
            return Reply(memo={"undeployed": False})  # a predict deployed it again
        return Reply(created={"model": ""}, memo={"deleted": True})

    def _sweep(self, op: Operation, _call: Call) -> Reply:
        """Everything of ours that still stands: models in our group, connectors with our mark for this address."""
        own = memory.made(op)
        members = [str(hit["_id"]) for hit in self._api.members(own["group"])] if "group" in own else []
        memo: dict[str, Json] = {
            "swept": True,
            "sweeps": int(op.memo.get("sweeps") or 0) + 1,
            "leftovers": [id_ for id_ in members if id_ not in bodies.kept(own)],
            "strays": self._connectors(op),
        }
        return Reply(memo=memo)

    def _remove_leftover(self, op: Operation, call: Call) -> Reply:
        id_ = str(call.args["id"])
        try:
            self._api.undeploy(id_)
            self._api.delete("models", id_)
        except NotFoundError:
            pass
        rest = [other for other in op.memo.get("leftovers") or () if other != id_]
        return Reply(live=op.live, memo={"leftovers": rest, "fresh": bool(op.memo.get("fresh"))})

    def _remove_connector(self, op: Operation, call: Call) -> Reply:
        id_ = str(call.args["id"])
        names = [
            name for name, other in {**(op.prior.created if op.prior else {}), **op.created}.items() if other == id_
        ]
        try:
            self._api.delete("connectors", id_)
        except RejectedError as error:
            if error.status != 409:
                raise
            if names and op.verb == "undeploy":
                return self._blocked(op, error, {"fresh": bool(op.memo.get("fresh"))})
            names = []  # somebody's model uses it: still ours, and tried again at the next change
        rest = [other for other in op.memo.get("strays") or () if other != id_]
        memo = {"strays": rest, "fresh": bool(op.memo.get("fresh"))}
        return Reply(created=dict.fromkeys(names, ""), live=op.live, memo=memo)

    def _delete_group(self, op: Operation, _call: Call) -> Reply:
        try:
            self._api.delete("model_groups", memory.made(op)["group"])
        except RejectedError as error:
            if error.status != 409:
                raise
            return self._blocked(op, error, {"swept": False})  # a registration came late, or a search is behind
        return Reply(created={"group": ""})

    def _blocked(self, op: Operation, error: RejectedError, memo: Mapping[str, Json]) -> Reply:
        """Still in use, says a search that may not show yet that our model has gone: tried again a few looks later.
        Raises the refusal once that has been long enough."""
        times = int(op.memo.get("blocked") or 0) + 1
        if times > MOST_BLOCKED:
            raise error
        return Reply(live=op.live, memo={**memo, "blocked": times})

    # --- finding ----------------------------------------------------------------------------------------------------
    def _find_group(self, op: Operation) -> Reply | Conflict | None:
        name = op.desired.get("name")
        query = wire_format.name_query(name) if isinstance(name, str) else wire_format.phrase_query(op.mark)
        for hit in self._api.hits("model_groups", query):
            id_, description = str(hit["_id"]), bodies.description(hit)
            if wire_format.mark_of(description) == op.mark:
                return Reply(created={"group": id_})
            if wire_format.of_lineage(description, op.mark):
                return Reply(created={"group": id_}, memo={"taken": True, "surveyed": False})
            if isinstance(name, str):
                return Conflict(f"a model group named {name!r} exists ({id_}) without our mark", id=id_)
        return None

    def _find_connector(self, op: Operation) -> Reply | None:
        hits = self._api.hits("connectors", wire_format.phrase_query(op.mark))
        ours = sorted(str(hit["_id"]) for hit in hits if wire_format.mark_of(bodies.description(hit)) == op.mark)
        if not ours:
            return None
        return Reply(created={bodies.slot(op): ours[0]}, memo={"connector": ours[0], "strays": ours[1:]})

    def _find_model(self, op: Operation) -> Reply | None:
        """In our own group every model is ours; the oldest that is as declared counts, later ones are left over."""
        own = memory.made(op)
        if "group" not in own:
            return None
        members = [hit for hit in self._api.members(own["group"]) if str(hit["_id"]) not in bodies.kept(own)]
        for hit in members:
            live = wire_format.live_model(str(hit["_id"]), hit.get("_source") or {}, ())
            if bodies.agrees(op, live):
                found = bodies.registered(op, live.id)
                rest = [str(other["_id"]) for other in members if other is not hit]
                seen = {**found.memo["seen"], "state": live.status}
                return Reply(found.id, found.created, None, {**found.memo, "seen": seen, "leftovers": rest})
        return None

    def _find_deployed(self, op: Operation) -> Reply | None:
        """A deploy: the nodes hold the model, or its record says that it is under way."""
        model = memory.model_of(op)
        live = self._api.live(model) if model else None
        if live is None or (not live.computed["worker_nodes"] and live.status != "DEPLOYING"):
            return None
        memo: dict[str, Json] = {
            "deploy": {"found": True},
            "deploys": int(op.memo.get("deploys") or 0) + 1,
            "confirms": 0,
        }
        return Reply(id=live.id, live=live, memo=memo)

    def _text(self, answer: Json, name: str) -> str:
        value = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(value, str) or not value:
            raise BadAnswerError(f"an answer without {name}", provider=self._api.provider, effect="unknown")
        return value
