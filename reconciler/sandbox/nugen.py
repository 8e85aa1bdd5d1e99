"""Nugen, simulated: aligned models that are switched on and off on the world's clock, in both path styles.

Strict where the provider's pages say that something is refused, and awkward where they say that it is: an empty list is
a 404, a missing key a 403, answers are bare strings, and a model's id gains `-deployed` while it is on. It knows
nothing of the adapter.

Each model is a list of versions, some of them in the future; what is shown is the fold of those that have begun, so
reading changes nothing, and a list that lags is the same fold a little earlier.

Knobs beside the common ones (`lag`, `shuffle`, `deploy_seconds`, `undeploy_seconds`, `fail_deploys`, `never_ready`,
`instant`): `revert_deploys` and `silent_reverts` (so many deploys, or those of a list of ids, fall back to READY; the
silent ones never show DEPLOYING), `fail_undeploys` (likewise: back to DEPLOYED), `suffix_ids` (default true),
`object_answers` (`{"model_id": …}` for the bare string), `null_status` (`deployment_status` null, only `status`
filled), `lower_tasks` (task states in lower case), `spelling` ("new": the newer field names), `api_style` (the one
style that is known; default both), `path_ids` ("current", "alignment" or "bare": the one id that a path accepts),
`probe_fails_for` (inference.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from reconciler.model import Json
from reconciler.sandbox.base import Request, Response, Simulator
from reconciler.sandbox.inference import UnfitError, asked_model, completion, still_fails

KEY = "sandbox-nugen-key"
SUFFIX = "-deployed"
BASE = "https://api.nugen.in/api/v3/inference/completions"
_METRICS = {"accuracy": 0.88, "uncertainty": 0.18, "domain_violations": 3, "average_response_time": 0}
_CAN_DEPLOY = ("READY", "UNDEPLOYED", "FAILED", "EVALUATED")
_REVERTED = "Redeployment failed and was reverted to READY status"


class Refused(Exception):
    """An error answer: HTTP status and `detail`."""

    def __init__(self, status: int, detail: Json) -> None:
        super().__init__(str(detail))
        self.status = status
        self.detail = detail


class Nugen(Simulator):
    """The aligned models of one account."""

    type: ClassVar[str] = "nugen"
    credentials: ClassVar[Mapping[str, str]] = {"api_key": KEY}

    def handle(self, request: Request) -> Response:
        """Answer one request as the FastAPI service does."""
        try:
            return self._answer(request)
        except Refused as refused:
            return Response(refused.status, {"detail": refused.detail})

    def presuppose(self, specs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]) -> list[str]:  # noqa: ARG002 - the base's signature
        """Create the aligned models that the specs name, switched off."""
        made = []
        for spec in specs:
            alignment = spec.get("alignment_id") if isinstance(spec.get("alignment_id"), str) else None
            model = spec.get("model_id") if isinstance(spec.get("model_id"), str) else None
            bare = (model or alignment or "").removesuffix(SUFFIX)
            if not bare or self._known(bare) or (alignment and self._known(alignment)):
                continue
            self.add(bare, alignment_id=alignment)
            made.append(f"aligned model {bare}, switched off")
        return made

    def add(self, model_id: str, *, alignment_id: str | None = None, status: str = "READY") -> None:
        """Put an aligned model into the world; alignment itself is outside the simulation."""
        now = self.world.now()
        self.world.table("models")[model_id] = {
            "id": model_id,
            "alignment_id": alignment_id,
            "name": model_id.replace("-", "_"),
            "base_model": "nugen-flash-instruct",
            "created_date": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "task": {},
            "versions": [{"at": 0.0, "status": status}],
        }

    # --- routing

    def _answer(self, request: Request) -> Response:
        self._authorize(request.headers.get("authorization"))
        style = self.world.knob("api_style", None)
        match request.path.strip("/").split("/"):
            case ["models", "aligned"]:
                return self._allow(request, GET=lambda: self._list(request.query))
            case ["inference", "chat", "completions"]:
                return self._allow(request, POST=lambda: self._infer(request))
            case ["models", "deploy-model", ident] if style != "deployment":
                return self._allow(request, POST=lambda: self._deploy(ident, request))
            case ["models", "undeploy-model", ident] if style != "deployment":
                return self._allow(request, DELETE=lambda: self._undeploy(ident))
            case ["models", "deploy-model" | "undeploy-model" as kind, ident, "status"] if style != "deployment":
                return self._allow(request, GET=lambda: self._task(ident, kind.removesuffix("-model")))
            case ["models", ident, "deployment"] if style != "deploy-model":
                deploy, undeploy = (lambda: self._deploy(ident, request)), (lambda: self._undeploy(ident))
                return self._allow(request, POST=deploy, DELETE=undeploy)
            case ["models", ident, "deployment", "status"] if style != "deploy-model":
                return self._allow(request, GET=lambda: self._state(ident))
        raise Refused(404, "Not Found")

    def _allow(self, request: Request, **methods: Any) -> Response:
        if request.method not in methods:
            raise Refused(405, "Method Not Allowed")
        answer: Response = methods[request.method]()
        return answer

    def _authorize(self, header: str | None) -> None:
        scheme, _, key = (header or "").partition(" ")
        if not header:
            raise Refused(403, "Not authenticated")
        if scheme.lower() != "bearer":
            raise Refused(403, "Invalid authentication credentials")
        if key != KEY:
            raise Refused(401, "Invalid API key")

    # --- calls

    def _list(self, query: Mapping[str, str]) -> Response:
        models = self.world.table("models").values()
        moment = self.world.shown_moment(lambda at: [self._view(model, at) for model in models])
        items = [self._item(model, self._view(model, moment)) for model in models]
        if not items:
            raise Refused(404, "No aligned models found")
        paged = "limit" in query or "offset" in query
        limit = min(_number(query, "limit", 100, 1), int(self.world.knob("most_per_page", 100)))
        self.world.shuffle(items, limit if paged else len(items))
        if paged:
            offset = _number(query, "offset", 0, 0)
            items = items[offset : offset + limit]
        return Response(200, {"domain_aligned_models": items})

    def _deploy(self, ident: str, request: Request) -> Response:
        model = self._model(ident)
        early = request.query.get("early", "false").lower()
        if early not in ("true", "false", "1", "0"):
            raise Refused(
                422, [{"loc": ["query", "early"], "msg": "value could not be parsed to a boolean", "type": "bool"}]
            )
        status = self._view(model)["status"]
        unfinished = early in ("true", "1") and status == "PROCESSING"
        if status not in _CAN_DEPLOY and not unfinished:
            raise Refused(400, f"Model cannot be redeployed. Current status: {status}")
        model["provider"], model["early"] = request.headers.get("x-provider"), early in ("true", "1")
        bare, now = str(model["id"]), self.world.now()
        done = now if self.world.knob("instant", False) else now + float(self.world.knob("deploy_seconds", 2.0))
        silent = self._chosen("silent_reverts", bare)
        reverts = silent or self._chosen("revert_deploys", bare)
        fails = self._chosen("fail_deploys", bare)
        end = {"status": "READY" if reverts else "FAILED" if fails else "DEPLOYED"}
        error = _REVERTED if reverts else "no capacity for this model" if fails else None
        first = {"status": status if silent else "DEPLOYING"}
        self._go_on(model, "deploy", first, end, done, error)
        return self._id_answer(model)

    def _undeploy(self, ident: str) -> Response:
        model = self._model(ident)
        status = self._view(model)["status"]
        if status != "DEPLOYED":
            raise Refused(400, f"Model cannot be UNDEPLOYED. Current status: {status}.")
        answer = self._id_answer(model)
        fails = self._chosen("fail_undeploys", str(model["id"]))
        done = self.world.now() + float(self.world.knob("undeploy_seconds", 2.0))
        end = {"status": "DEPLOYED" if fails else "UNDEPLOYED"}
        self._go_on(model, "undeploy", {"status": "UNDEPLOYING"}, end, done, "the model is in use" if fails else None)
        return answer

    def _task(self, ident: str, kind: str) -> Response:
        """The documented form; its times are those of the question, as observed."""
        model = self._model(ident)
        task = model["task"]
        if task.get("kind") != kind:
            raise Refused(404, f"No {kind} task found")
        state, result = self._progress(task)
        moment = datetime.fromtimestamp(self.world.now(), UTC).isoformat()
        return Response(
            200,
            {
                "model_id": self._shown_id(model, self._view(model)),
                "status": state.lower() if self.world.knob("lower_tasks", False) else state,
                "result": result,
                "start_time": moment,
                "end_time": None if state == "PENDING" else moment,
            },
        )

    def _state(self, ident: str) -> Response:
        """The newer form: the model's state; a failure settles at UNDEPLOYED with an error."""
        model = self._model(ident)
        task = model["task"]
        state, result = self._progress(task) if task else ("COMPLETED", {})
        status = self._view(model)["status"]
        if state == "PENDING":
            status = "DEPLOYING" if task["kind"] == "deploy" else "UNDEPLOYING"
        elif status in ("READY", "EVALUATED", "FAILED"):
            status = "UNDEPLOYED"
        return Response(200, {"status": status, "error": result.get("error")})

    def _infer(self, request: Request) -> Response:
        """A chat completion by the model of that id, while it is on."""
        try:
            asked, body = asked_model(request)
        except UnfitError as error:
            raise Refused(422, [{"loc": ["body"], "msg": str(error), "type": "value_error"}]) from None
        view = self._view(self._model(asked))
        if view["status"] != "DEPLOYED":
            raise Refused(400, f"Model is not deployed. Current status: {view['status']}")
        if still_fails(self.world, view["at"]):
            raise Refused(500, "Inference failed: the model is still loading")
        return Response(200, completion(self.world, asked, body))

    def _progress(self, task: Mapping[str, Any]) -> tuple[str, dict[str, Json]]:
        if task["until"] is None or self.world.now() < task["until"]:
            return "PENDING", {}
        if task["error"]:
            return "FAILED", {"error": task["error"]}
        if task["kind"] == "undeploy":
            return "COMPLETED", {"message": "Model successfully undeployed"}
        return "COMPLETED", {"deployment_status": "DEPLOYED"}

    # --- models

    def _known(self, name: str) -> bool:
        models = self.world.table("models").values()
        return any(name in (model["id"], model["alignment_id"]) for model in models)

    def _model(self, ident: str) -> dict[str, Any]:
        only = self.world.knob("path_ids", None)
        for model in self.world.table("models").values():
            spellings = {
                "current": self._shown_id(model, self._view(model)),
                "alignment": model["alignment_id"],
                "bare": model["id"],
                "suffixed": f"{model['id']}{SUFFIX}",
            }
            if ident in ([spellings[only]] if only else (spellings["bare"], spellings["suffixed"])):
                found: dict[str, Any] = model
                return found
        raise Refused(404, "Model not found")

    def _go_on(
        self,
        model: dict[str, Any],
        kind: str,
        first: Mapping[str, Json],
        end: Mapping[str, Json],
        done: float,
        error: Json,
    ) -> None:
        now, never = self.world.now(), bool(self.world.knob("never_ready", False)) and kind == "deploy"
        past = [version for version in model["versions"] if version["at"] <= now]
        model["versions"] = [*past, {"at": now, **first}] + ([] if never else [{"at": done, **end}])
        model["task"] = {"kind": kind, "until": None if never else done, "error": error}

    def _view(self, model: Mapping[str, Any], moment: float | None = None) -> dict[str, Any]:
        moment = self.world.now() if moment is None else moment
        view: dict[str, Any] = dict(model["versions"][0])
        for version in model["versions"]:
            if version["at"] <= moment:
                view |= version
        return view

    def _shown_id(self, model: Mapping[str, Any], view: Mapping[str, Any]) -> str:
        suffixed = view["status"] == "DEPLOYED" and self.world.knob("suffix_ids", True)
        return f"{model['id']}{SUFFIX}" if suffixed else str(model["id"])

    def _item(self, model: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Json]:
        ident, status = self._shown_id(model, view), view["status"]
        states = {"status": status, "deployment_status": None if self.world.knob("null_status", False) else status}
        endpoint = f"{BASE}/{ident}" if status == "DEPLOYED" else ""
        if self.world.knob("spelling", "old") == "new":
            return {
                "model_id": ident,
                "model_name": model["name"],
                "base_model_id": model["base_model"],
                "alignment_id": model["alignment_id"],
                "created_at": model["created_date"],
                "endpoint": endpoint,
                **states,
            }
        return {
            "id": ident,
            "alignment_id": model["alignment_id"],
            "name": model["name"],
            "base_model": model["base_model"],
            "alignment_project": "Sandbox Alignment",
            "created_date": model["created_date"],
            "endpoint": endpoint,
            "creator": "user@example.com",
            "usage_count": 0,
            "last_used": None,
            "performance_metrics": _METRICS,
            "downloadable": False,
            "evaluation_data": None,
            "conversation_saving_enabled": False,
            **states,
        }

    def _id_answer(self, model: Mapping[str, Any]) -> Response:
        ident = str(model["id"])
        if self.world.knob("object_answers", False):
            return Response(200, {"model_id": ident})
        return Response(200, f'"{ident}"', {"content-type": "application/json"})

    def _chosen(self, knob: str, ident: str) -> bool:
        chosen = self.world.knob(knob, 0)
        if isinstance(chosen, list):
            return ident in chosen
        if int(chosen) > 0:
            self.world.knobs[knob] = int(chosen) - 1
        return int(chosen) > 0


def _number(query: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < least or (name == "limit" and int(text) > 100):
        raise Refused(422, [{"loc": ["query", name], "msg": "value is not a valid number here", "type": "value_error"}])
    return int(text)


SIMULATOR = Nugen
