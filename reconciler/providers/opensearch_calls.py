"""The calls of an operation on an ML Commons model, each short; and how each creating one is found again by our mark.

What to call when is decided in opensearch_steps.py. Nothing here waits, and no creating request is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from reconciler.edge.client import segment
from reconciler.model import Json
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
from reconciler.providers.opensearch_looks import Looks

MOST_BLOCKED = 10
_TAKEN = re.compile(r"already being used by a model group with ID: ([A-Za-z0-9_-]+)")


class Calls:
    """Carries out the calls that `steps.next_step` names."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._looks = looks = Looks(api)
        self._known: Mapping[str, Callable[[Operation, Call], Reply]] = {
            "survey": looks.survey,
            "group": self._group,
            "connector": self._connector,
            "register": self._register,
            "registered": self._registered,
            "put": self._put,
            "hold": self._hold,
            "deploy": self._deploy,
            "release": self._release,
            "undeploy": self._undeploy,
            "confirm": looks.confirm,
            "delete": self._delete,
            "sweep": looks.sweep,
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
        looks = self._looks
        finders = {"group": looks.find_group, "connector": looks.find_connector, "register": looks.find_model}
        found = finders.get(call.step, looks.find_deployed)(op)
        if not isinstance(found, Reply):
            return found
        return Reply(found.id, found.created, found.live, {"fresh": False, **found.memo, "last": call.step})

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
        task = self._text(answer, "task_id")
        return Reply(created={"task": task}, memo={"task": task, "other": False})

    def _registered(self, op: Operation, _call: Call) -> Reply:
        task = self._api.get("tasks", str(op.memo["task"])) or {}
        reply = bodies.registered(op, self._text(task, "model_id"))
        return Reply(reply.id, {**reply.created, "task": ""}, memo=reply.memo)

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
        reply = self._change(op, memory.put_body(op), lambda version: {"put": version or True, "confirms": 0})
        return replace(reply, created={"held": ""}) if "held" in memory.made(op) and reply.memo.get("put") else reply

    def _hold(self, op: Operation, _call: Call) -> Reply:
        """Keep a predict from deploying it while it is changed: with the TTL of before, the new one would not be in
        force. That auto-deploy was on is on record until it is again."""
        seen = op.memo["seen"]
        setting = {**seen["attributes"]["deploy_setting"], "is_auto_deploy_enabled": False}
        ttl = setting["model_ttl_minutes"]
        body = {"deploy_setting": {**setting, "model_ttl_minutes": -1 if ttl is None else ttl}}
        after = {**seen, "attributes": {**seen["attributes"], "deploy_setting": setting}}
        reply = self._change(op, body, lambda _version: {"seen": after})
        return replace(reply, created={"held": "auto-deploy"}) if "seen" in reply.memo else reply

    def _change(self, op: Operation, body: Json, told: Callable[[Json], Mapping[str, Json]]) -> Reply:
        """PUT; `told` gives what to remember of it, from the record's new version."""
        model = str(memory.model_of(op))
        try:
            answer = self._api.request("PUT", f"/models/{segment(model)}", body)
        except NotFoundError:
            return Reply(memo={"vanished": True})
        except ProviderError as error:
            if not raced(error):
                raise
            return Reply(id=model, memo={"busy": True})
        version = answer.get("_version") if isinstance(answer, dict) else None
        return Reply(id=model, memo={**told(version), "busy": False})

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

    def _text(self, answer: Json, name: str) -> str:
        value = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(value, str) or not value:
            raise BadAnswerError(f"an answer without {name}", provider=self._api.provider, effect="unknown")
        return value
