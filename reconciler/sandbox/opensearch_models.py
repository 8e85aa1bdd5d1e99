"""The simulated cluster's models: registered, deployed to nodes, changed, undeployed by request or by a TTL, deleted.

Statuses, bodies and refusals are those of OpenSearch 2.19.1 with ML Commons 2.19.1.0. Events that happen by themselves
(the end of a deploy, the expiry of a TTL) are written down when they are set off and show when their time has come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.model import Json
from reconciler.sandbox.base import World
from reconciler.sandbox.inference import still_fails
from reconciler.sandbox.opensearch_index import Index, Refused
from reconciler.sandbox.opensearch_values import FUNCTIONS, UNDEPLOYED, limiter, no_model, setting, text

_LOADED = ("DEPLOYED", "PARTIALLY_DEPLOYED")
_BUSY = "Model cannot be deleted in deploying or deployed state. Try undeploy model first then delete"
_FOREVER = 10.0**12


class Models:
    """All models of the cluster and the nodes that hold them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.index = Index(world, ".plugins-ml-model")
        self.tasks = Index(world, ".plugins-ml-task")
        self.groups = Index(world, ".plugins-ml-model-group")
        self.connectors = Index(world, ".plugins-ml-connector")

    # --- what stands ------------------------------------------------------------------------------------------------
    def nodes(self) -> list[str]:
        """Ids of the live nodes."""
        own = self._world.data.setdefault("nodes", ["sandboxNode1", "sandboxNode2"])
        return list(self._world.knob("nodes", own))

    def get(self, id_: str) -> dict[str, Json]:
        """The model's record. Raises Refused where there is none, or where we may not see it."""
        if id_ in self._world.knob("forbidden", []):
            raise Refused(
                403, "status_exception", "User doesn't have privilege to perform this operation on this model"
            )
        source = self.index.get(id_)
        if source is None or "chunk_number" in source:
            raise no_model(f"Failed to find model with the provided model id: {id_}")
        return source

    def held(self, id_: str) -> dict[str, str]:
        """Node to what it says of the model."""
        said = self.index.extra(id_, "profile")
        return {node: state for node, state in (said or {}).items() if node in self.nodes()}

    def holders(self, id_: str) -> list[str]:
        """The nodes that hold it."""
        return [node for node, state in self.held(id_).items() if state == "DEPLOYED"]

    def profile(self, only: str | None) -> dict[str, Json]:
        """`profile/models`: what each node says; nothing at all where no node says anything."""
        nodes: dict[str, Any] = {}
        for id_ in dict(self.index.items()):
            held = self.held(id_) if only in (None, id_) else {}
            names = sorted(held)
            for node, state in held.items():
                entry = {"model_state": state, "target_worker_nodes": names, "worker_nodes": self.holders(id_)}
                if state == "DEPLOYED":
                    entry["predictor"] = "org.opensearch.ml.engine.algorithms.remote.RemoteModel@10ad1265"
                nodes.setdefault(node, {"models": {}})["models"][id_] = entry
        return {"nodes": nodes} if nodes else {}

    def uses(self, field: str, id_: str) -> list[str]:
        """Ids of the models whose `field` is `id_`, as a search shows them: a model that was switched over to another
        connector holds the old one for a second more."""
        found = self.index.search({"size": 1000, "query": {"term": {field: id_}}})
        return [hit["_id"] for hit in found["hits"]["hits"]]

    # --- registering ------------------------------------------------------------------------------------------------
    def register(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """POST models/_register. Unknown fields are ignored, and so are `is_enabled`, a remote model's version and the
        description of a pretrained one."""
        name, function = body.get("name"), str(body.get("function_name") or "text_embedding").lower()
        if not isinstance(name, str):
            raise Refused(400, "illegal_argument_exception", "model name is null")
        if function not in FUNCTIONS:
            raise Refused(400, "illegal_argument_exception", "Wrong function name")
        now = self._world.now()
        source: dict[str, Json] = {
            "name": name,
            "algorithm": function.upper(),
            "model_state": "REGISTERED",
            "created_time": int(now * 1000),
            "last_updated_time": int(now * 1000),
            "is_hidden": False,
            "description": text(body, "description") if function == "remote" or body.get("url") else None,
            "rate_limiter": limiter(body.get("rate_limiter")),
            "deploy_setting": setting({}, body["deploy_setting"]) if body.get("deploy_setting") else None,
        }
        remote = function == "remote"
        self._check_remote(body) if remote else self._check_local(body)
        source |= self._in_group(body, name)
        model, task = self._world.new_id("", 20), self._world.new_id("", 20)
        told = {"task_type": "REGISTER_MODEL", "function_name": function.upper(), "is_async": not remote}
        if remote:
            source["connector_id"] = body.get("connector_id") or self._inline(body["connector"])
            self.index.add(model, source)
            self._task(task, {**told, "model_id": model}, now)
            return {"task_id": task, "status": "CREATED", "model_id": model}
        self._register_local(model, source, body, task, told)
        return {"task_id": task, "status": "CREATED"}

    def _inline(self, connector: Json) -> str:
        id_ = self._world.new_id("", 20)
        self.connectors.add(id_, {name: value for name, value in connector.items() if name != "credential"})
        return id_

    def _check_remote(self, body: Mapping[str, Json]) -> None:
        connector = body.get("connector_id")
        if not connector and not body.get("connector"):
            reason = "You must provide connector content when creating a remote model without connector id!"
            raise Refused(400, "illegal_argument_exception", reason)
        if connector and self.connectors.get(str(connector)) is None:
            raise Refused(404, "status_exception", f"Failed to find connector:{connector}")

    def _check_local(self, body: Mapping[str, Json]) -> None:
        if not body.get("model_format"):
            raise Refused(400, "illegal_argument_exception", "model format is null")
        if body.get("url") and not self._world.data.get("by_url"):
            reason = (
                "To upload custom model user needs to enable allow_registering_model_via_url settings. "
                "Otherwise please use OpenSearch pre-trained models."
            )
            raise Refused(400, "illegal_argument_exception", reason)

    def _register_local(
        self, model: str, source: dict[str, Json], body: Mapping[str, Json], task: str, told: dict[str, Json]
    ) -> None:
        """The nodes fetch it first; until then there is a task and nothing else. Its content is in chunk documents."""
        done = self._world.now() + float(self._world.knob("register_seconds", 1.0))
        if self._fails("fail_registers", model, source["name"]):
            self._task(task, told, done, state="FAILED", error=json.dumps({self.nodes()[0]: "model content changed"}))
            return
        for name in ("model_format", "model_content_hash_value"):
            source[name] = body.get(name)
        source |= {"total_chunks": 1, "model_content_size_in_bytes": 1024, "last_registered_time": int(done * 1000)}
        self.index.add(model, source, at=done)
        chunk = {"chunk_number": 0, "model_id": model, "name": source["name"], "created_time": source["created_time"]}
        self.index.add(f"{model}_0", chunk, at=done)
        self._task(task, told, done, model_id=model)

    def _in_group(self, body: Mapping[str, Json], name: str) -> dict[str, Json]:
        """Group and version: the given one, the one named like the model, or a new one."""
        group = body.get("model_group_id")
        if group is None:
            same = [id_ for id_, found in self.groups.items() if found["name"] == name]
            group = same[0] if same else self.add_group(name, None)
        found = self.groups.get(str(group))
        if found is None:
            reason = f"Model Group Response is empty for {group}"
            raise Refused(500, "m_l_resource_not_found_exception", reason)
        version = int(found["latest_version"]) + 1
        self.groups.change(str(group), {"latest_version": version}, late=False)
        return {"model_group_id": group, "model_version": str(version)}

    def add_group(self, name: str, description: Json) -> str:
        """A new model group."""
        id_, now = self._world.new_id("", 20), int(self._world.now() * 1000)
        about = {"name": name, "description": description, "access": "public", "latest_version": 0}
        self.groups.add(id_, {**about, "created_time": now, "last_updated_time": now})
        return id_

    # --- deploying --------------------------------------------------------------------------------------------------
    def deploy(self, id_: str, body: Mapping[str, Json]) -> dict[str, Json]:
        """POST models/{id}/_deploy. The answer's status says nothing: it is sent before anything happened."""
        source = self.index.get(id_)
        if source is None:
            raise no_model()
        asked = body.get("node_ids")
        nodes = self._planned(asked, self.holders(id_))
        last = self.index.extra(id_, "deploy_at")
        now = self._world.now()
        if source["model_state"] == "DEPLOYING" and isinstance(last, float) and now - last < 0.05:
            self._conflict(id_)
        task = self._world.new_id("", 20)
        self._begin(id_, source, nodes, task, everywhere=not asked)
        remote = source["algorithm"] == "REMOTE"
        return {"task_id": task, "task_type": "DEPLOY_MODEL", "status": "COMPLETED" if remote else "CREATED"}

    def _planned(self, asked: Json, holding: Sequence[str]) -> list[str]:
        if not asked:
            return self.nodes()
        if not self._world.data.get("custom_plan") and not self._world.knob("custom_plan", False):
            raise Refused(400, "illegal_argument_exception", "Don't allow custom deployment plan")
        nodes = [node for node in self.nodes() if node in asked]
        if not nodes:
            raise Refused(400, "illegal_argument_exception", "no eligible node found")
        left_out = sorted(set(holding) - set(nodes))
        if left_out:
            reason = (
                f"Model already deployed to these nodes: {','.join(holding)}, but they are not included in target node "
                f"ids: {','.join(nodes)}. Undeploy from old nodes first if try to deploy model on new nodes."
            )
            raise Refused(400, "illegal_argument_exception", reason)
        return nodes

    def _conflict(self, id_: str) -> None:
        """The loser of two deploys at the same instant: 500 on 2.19.1, 409 on 3.4.0."""
        reason = f"[{id_}]: version conflict, required seqNo [26], primary term [1]. current document has seqNo [27]"
        status = int(self._world.knob("conflict_status", 500))
        outer = "Failed to update data object in index .plugins-ml-model" if status == 500 else ""
        raise Refused(status, "version_conflict_engine_exception", reason, outer=outer)

    def _begin(self, id_: str, source: Mapping[str, Json], nodes: list[str], task: str, *, everywhere: bool) -> None:
        """Deploying now; deployed, failed or never done in a while; then, with a TTL, undeployed after it.

        A node that is deploying it, or keeps a failed try, refuses another until the model has been undeployed.
        """
        now, holding, said = self._world.now(), self.holders(id_), self.held(id_)
        errors = {node: "Duplicate deploy model task" for node in nodes if said.get(node) == "DEPLOYING"}
        refused = len(errors) == len(nodes)
        if not (refused and source["model_state"] == "DEPLOYING"):  # else the try that is under way goes on
            self.index.forget_future(id_)
        plan: dict[str, Json] = {
            "planning_worker_node_count": len(nodes),
            "planning_worker_nodes": nodes,
            "deploy_to_all_nodes": everywhere or None,
        }
        deploying = {**dict.fromkeys(nodes, "DEPLOYING"), **dict.fromkeys(holding, "DEPLOYED")}
        started = {**plan, "model_state": "DEPLOYING", "current_worker_node_count": len(holding)}
        self.index.change(id_, started, at=now, profile=deploying, deploy_at=now)
        about = {"task_type": "DEPLOY_MODEL", "function_name": source["algorithm"], "model_id": id_, "is_async": True}
        if self._world.knob("never_ready", False) and not refused:
            self._task(task, about, _FOREVER)
            return
        at_once = refused or self._world.knob("instant", False)
        done = now if at_once else now + float(self._world.knob("deploy_seconds", 2.0))
        errors = {**self._failure(id_, source, nodes), **errors}
        if len(errors) == len(nodes):
            self.index.change(id_, {"model_state": "DEPLOY_FAILED"}, at=done, profile=deploying)
            if holding:  # the next sync-up sees that nodes hold it all the same
                state = "DEPLOYED" if set(nodes) <= set(holding) else "PARTIALLY_DEPLOYED"
                at = done + float(self._world.knob("sync_seconds", 2.0))
                self.index.change(id_, {"model_state": state}, at=at, profile=dict.fromkeys(holding, "DEPLOYED"))
            self._task(task, about, done, state="FAILED", error=json.dumps(errors))
            return
        ready = {
            "model_state": "PARTIALLY_DEPLOYED" if errors else "DEPLOYED",
            "current_worker_node_count": len(nodes) - len(errors),
            "last_deployed_time": int(done * 1000),
        }
        profile = {node: "DEPLOYING" if node in errors else "DEPLOYED" for node in nodes}
        self.index.change(id_, ready, at=done, profile=profile)
        told = {"state": "COMPLETED_WITH_ERROR", "error": json.dumps(errors)} if errors else {}
        self._task(task, about, done, **told)
        in_force = (
            self.index.extra(id_, "ttl") if holding else (source.get("deploy_setting") or {}).get("model_ttl_minutes")
        )
        self.index.change(id_, {}, at=now, ttl=in_force)
        self._expire(id_, done, in_force)

    def _failure(self, id_: str, source: Mapping[str, Json], nodes: Sequence[str]) -> dict[str, str]:
        """Node to why a deploy fails there; nothing where it does not."""
        connector = source.get("connector_id")
        if connector is not None and self.connectors.get(str(connector)) is None:
            return dict.fromkeys(nodes, f"Failed to find connector:{connector}")
        if self._fails("fail_deploys", id_, source["name"]):
            return dict.fromkeys(nodes, "the service refused the connection")
        return {}

    def _expire(self, id_: str, used: float, minutes: Json) -> None:
        """The TTL that was in the record when it was last undeployed and deployed; a later PUT changes nothing."""
        if isinstance(minutes, int) and minutes >= 0:
            at = used + 60.0 * minutes + float(self._world.knob("sync_seconds", 2.0))
            self.index.change(id_, UNDEPLOYED, at=at, late=False, profile={})

    def _fails(self, knob: str, *names: Json) -> bool:
        """Whether the knob asks for a failure: of so many, or of those named."""
        asked = self._world.knob(knob, 0)
        if isinstance(asked, list):
            return any(name in asked for name in names)
        if asked:
            self._world.knobs[knob] = asked - 1
        return bool(asked)

    def _task(
        self,
        id_: str,
        about: Mapping[str, Json],
        done: float,
        *,
        state: str = "COMPLETED",
        error: str = "",
        model_id: str = "",
    ) -> None:
        now = self._world.now()
        made = {**about, "state": "CREATED", "create_time": int(now * 1000), "last_update_time": int(now * 1000)}
        self.tasks.add(id_, {**made, "worker_node": self.nodes()})
        if done > now:
            self.tasks.change(id_, {"state": "RUNNING"})
        end = {"state": state, "error": error or None, "last_update_time": int(done * 1000)}
        if done < _FOREVER:
            self.tasks.change(id_, {**end, "model_id": model_id or about.get("model_id")}, at=done)

    # --- undeploying ------------------------------------------------------------------------------------------------
    def undeploy(self, ids: Sequence[str], nodes: Sequence[str] | None = None) -> dict[str, Json]:
        """The words are lower-case on the wire. Nodes that do not hold it turn the record UNDEPLOYED all the same."""
        if len(ids) == 1 and self.index.get(ids[0]) is None:
            raise no_model()
        answer: dict[str, Any] = {}
        for id_ in ids:
            known = self.index.get(id_) is not None
            held = self.holders(id_) if known else []
            asked = [node for node in self.nodes() if nodes is None or node in nodes]
            for node in asked:
                word = "undeployed" if node in held else "not_found"
                answer.setdefault(node, {"stats": {}})["stats"][id_] = word
            if known:
                self._leave(
                    id_, [node for node in held if node not in asked], whole=nodes is None or not set(asked) & set(held)
                )
        return answer

    def _leave(self, id_: str, rest: list[str], *, whole: bool) -> None:
        source = self.index.get(id_) or {}
        self.index.forget_future(id_)
        profile = dict.fromkeys(rest, "DEPLOYED")
        if whole or not rest:
            self.index.change(id_, UNDEPLOYED, late=False, profile=profile)
            return
        counts = {"planning_worker_node_count": len(rest), "planning_worker_nodes": rest}
        self.index.change(id_, {**counts, "current_worker_node_count": len(rest)}, late=False, profile=profile)
        if source.get("deploy_to_all_nodes"):
            at = self._world.now() + float(self._world.knob("sync_seconds", 2.0))
            self.index.change(id_, {"model_state": "PARTIALLY_DEPLOYED"}, at=at, profile=profile)

    # --- changing and deleting --------------------------------------------------------------------------------------
    def put(self, id_: str, body: Mapping[str, Json]) -> dict[str, Json]:
        """PUT models/{id}: hardly validated, and `deploy_setting` loses a TTL that is not sent again."""
        source = self.index.get(id_)
        if source is None:
            raise no_model(f"Failed to find model to update with the provided model id: {id_}")
        if source["algorithm"] not in ("REMOTE", "TEXT_EMBEDDING"):
            reason = f"The function category {source['algorithm']} is not supported at this time."
            raise Refused(403, "status_exception", reason)
        if source["model_state"] == "DEPLOYING":
            raise Refused(
                409,
                "status_exception",
                f"Model is deploying. Please wait for the model to complete deployment. model ID {id_}",
            )
        for name, value in body.items():
            if value is None:
                raise Refused(
                    400,
                    "parsing_exception",
                    "Failed to parse object: expecting token of type [START_OBJECT] but found [VALUE_NULL]",
                )
            if name == "model_group_id" and self.groups.get(str(value)) is None:
                raise Refused(
                    404, "status_exception", f"Failed to find the model group with the provided model group id: {value}"
                )
        plain = ("name", "description", "connector_id", "is_enabled", "model_group_id")
        values = {name: body[name] for name in plain if name in body}
        if "rate_limiter" in body:
            values["rate_limiter"] = {**(source.get("rate_limiter") or {}), **(limiter(body["rate_limiter"]) or {})}
        if "deploy_setting" in body:
            values["deploy_setting"] = setting(source.get("deploy_setting") or {}, body["deploy_setting"])
        self.index.change(id_, {**values, "model_id": id_, "last_updated_time": int(self._world.now() * 1000)})
        head = {"_index": self.index.name, "_id": id_, "_version": self.index.version(id_)}
        return {**head, "result": "updated", "_shards": {"total": 1, "successful": 1, "failed": 0}}

    def delete(self, id_: str) -> dict[str, Json]:
        """DELETE models/{id}: refused while it is deployed; its chunks go too."""
        source = self.index.get(id_)
        if source is None:
            raise no_model()
        if source["model_state"] in (*_LOADED, "DEPLOYING"):
            raise Refused(400, "status_exception", _BUSY)
        self.index.delete(id_)
        self.index.delete(f"{id_}_0")
        return {"_index": self.index.name, "_id": id_, "result": "deleted", "forced_refresh": True}

    # --- using ------------------------------------------------------------------------------------------------------
    def predict(self, id_: str, body: Mapping[str, Json]) -> dict[str, Json]:
        """POST models/{id}/_predict: a use, which pushes a TTL on. Where nothing holds the model, it deploys it.

        A remote model takes `parameters`.
        """
        source = self.index.get(id_)
        if source is None:
            raise no_model()
        if source.get("is_enabled") is False:
            raise Refused(403, "status_exception", "Model is disabled.")
        if not self.holders(id_):
            if not self._world.knob("auto_deploy", True):
                raise Refused(400, "illegal_argument_exception", "Model not ready yet. Please deploy the model first.")
            if (source.get("deploy_setting") or {}).get("is_auto_deploy_enabled") is False:
                raise Refused(400, "illegal_argument_exception", "Auto deployment disabled for this model.")
            self.deploy(id_, {})
        elif still_fails(self._world, float(source.get("last_deployed_time") or 0) / 1000):
            raise Refused(500, "status_exception", "Error from remote service: the model is still loading")
        elif source["algorithm"] == "REMOTE" and not isinstance(body.get("parameters"), dict):
            raise Refused(400, "illegal_argument_exception", "Invalid payload: no parameters")
        else:
            self.index.forget_future(id_)
            self._expire(id_, self._world.now(), self.index.extra(id_, "ttl"))
        return {"inference_results": [{"output": [{"name": "response", "dataAsMap": {}}], "status_code": 200}]}
