"""Model Studio, simulated: deployments that become ready, scale and go away on the world's clock.

Strict where the provider's pages say that something is refused, and awkward where they say that it is: a page holds 10
unless asked, `rpm_limit` comes back as a string, a reserved-throughput plan as `ptu_v2` with `…_quota` figures, an
update answers PENDING. It knows nothing of the adapter.

Each deployment is a list of versions, some of them in the future; what is shown is the fold of those that have begun,
so reading changes nothing, and a list that lags is the same fold a little earlier.

Knobs beside the common ones (`lag`, `shuffle`, `deploy_seconds`, `scale_seconds`, `undeploy_seconds`, `fail_deploys`,
`never_ready`, `instant`): `throttle` (so many answers are 429), `create_500` (so many creates take effect and answer
500), `code_in_200` (so many answers are a 200 with an error code, nothing done), `mu_needs_stop` (DELETE of a RUNNING
mu deployment is refused), `stopped` (ids stopped by hand in the console), `data_envelope` (lists under `data`),
`short_ids` (model and suffix without a hash between them), `overflow_path` (the one spelling that is known),
`probe_fails_for` (inference.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from reconciler.model import Json
from reconciler.sandbox.base import Request, Response, Simulator
from reconciler.sandbox.inference import UnfitError, asked_model, completion, still_fails
from reconciler.sandbox.modelstudio_rules import Refused, capacity_error, check_create, check_ptu, is_count

KEY = "sk-sandbox-modelstudio"
WORKSPACE = "llm-sandbox"
_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RETURNED = (
    "name",
    "model_name",
    "charge_type",
    "enable_thinking",
    "max_context_length",
    "tpm_limit",
    "fail_reason",
    "overflow_strategy",
    "capacity",
    "ready_capacity",
)
_AT_REST = ("RUNNING", "STOPPED", "FAILED")


class ModelStudio(Simulator):
    """The deployments API of one region; a workspace header selects what is seen."""

    type: ClassVar[str] = "modelstudio"
    credentials: ClassVar[Mapping[str, str]] = {"api_key": KEY}

    def handle(self, request: Request) -> Response:
        """Answer one request in the provider's envelopes."""
        try:
            return self._answer(request)
        except Refused as refused:
            return self._error(refused.status, refused.code, refused.message)

    def presuppose(self, specs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]) -> list[str]:  # noqa: ARG002 - the base's signature
        """Make the models known that the specs name, with a base capacity of 1."""
        models = self.world.table("models")
        made = []
        for name in (spec.get("model_name") for spec in specs):
            if isinstance(name, str) and name not in models:
                models[name] = {"base_capacity": 1}
                made.append(f"deployable model {name} (base_capacity 1)")
        return made

    # --- routing

    def _answer(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            raise Refused(401, "InvalidApiKey", "Invalid API-key provided.")
        if self._count_down("throttle"):
            raise Refused(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")
        if self._count_down("code_in_200"):
            return self._error(200, "InternalError", "An internal error has occurred, please try again later.")
        workspace = request.headers.get("x-dashscope-workspace", WORKSPACE)
        if not _WORKSPACE.fullmatch(workspace):
            raise Refused(404, "WorkSpaceNotFound", f"WorkSpace: {workspace} not found!")
        match request.path.strip("/").split("/"):
            case ["compatible-mode", "v1", "chat", "completions"] if request.method == "POST":
                return self._infer(request, workspace)
            case ["deployments"] if request.method == "POST":
                return self._create(self._body(request), workspace)
            case ["deployments"] if request.method == "GET":
                return self._list(request.query, workspace)
            case ["deployments", "models"] if request.method == "GET":
                return self._models(request.query)
            case ["deployments", ident] if request.method == "GET":
                return self._one(self._held(ident, workspace))
            case ["deployments", ident] if request.method == "DELETE":
                return self._delete(self._held(ident, workspace))
            case ["deployments", ident, "scale"] if request.method == "PUT":
                return self._scale(self._held(ident, workspace), self._body(request))
            case ["deployments", ident, "update"] if request.method == "PUT":
                return self._update(self._held(ident, workspace), self._body(request))
            case ["deployments", ident, word] if request.method == "PUT" and word in self._overflow_paths():
                return self._overflow(self._held(ident, workspace), self._body(request))
        raise Refused(404, "InvalidURL", "url error, please check url!")

    def _overflow_paths(self) -> Sequence[str]:
        only = self.world.knob("overflow_path", None)
        return (str(only),) if only else ("updateOverflowStrategy", "update-overflowstrategy")

    # --- calls

    def _create(self, body: dict[str, Any], workspace: str) -> Response:
        model, suffix = str(body.get("model_name")), body.get("suffix")
        known = self.world.table("models")
        check_create(body, known)
        for held in self.world.table("deployments").values():
            taken = (held["model_name"], held["suffix"], held["workspace"]) == (model, suffix, workspace)
            if taken and self._view(held) is not None:
                full = f"{model}-{suffix}" if suffix else model
                raise Refused(409, "Conflict", f"Deployed model {full} already exists, please specify a suffix.")
        now = self.world.now()
        parts = [model] + ([] if suffix and self.world.knob("short_ids", False) else [self.world.new_id("", 8)])
        ident = "-".join([*parts, suffix] if suffix else parts)
        held = {
            "id": ident,
            "model_name": model,
            "suffix": suffix,
            "workspace": workspace,
            "base_capacity": known[model].get("base_capacity", 1),
            "versions": [self._version(now, {**body, "status": "PENDING", "ready_capacity": 0, "created": now})],
        }
        ready = {"status": "RUNNING", "ready_capacity": body.get("capacity", 0)}
        if self._fails(model, ident, str(suffix)):
            ready = {"status": "FAILED", "fail_reason": "no resources left for this model"}
        if self.world.knob("instant", False):
            held["versions"][0].update(ready)
        elif not self.world.knob("never_ready", False):
            held["versions"].append(self._version(now + self._seconds("deploy_seconds"), ready))
        self.world.table("deployments")[ident] = held
        if self._count_down("create_500"):
            raise Refused(500, "InternalError", "An internal error has occurred, please try again later.")
        return self._one(held)

    def _list(self, query: Mapping[str, str], workspace: str) -> Response:
        number, size = self._paging(query)
        here = [held for held in self.world.table("deployments").values() if held["workspace"] == workspace]
        moment = self.world.shown_moment(lambda at: [self._view(held, at) for held in here])
        shown = []
        for held in here:
            view = self._view(held, moment)
            if view is not None and query.get("plan", view["plan"]) == view["plan"]:
                shown.append(self._object(held, view))
        self.world.shuffle(shown, size)
        page = shown[(number - 1) * size : number * size]
        return self._ok({"page_no": number, "page_size": size, "total": len(shown), "deployments": page}, many=True)

    def _models(self, query: Mapping[str, str]) -> Response:
        number, size = self._paging(query)
        models = [{"model_name": name, **facts} for name, facts in sorted(self.world.table("models").items())]
        page = models[(number - 1) * size : number * size]
        return self._ok({"page_no": number, "page_size": size, "total": len(models), "models": page}, many=True)

    def _delete(self, held: dict[str, Any]) -> Response:
        view = self._current(held)
        if view.get("charge_type") == "pre_paid":
            raise Refused(400, "PREPAID_UNSUBSCRIBE_REQUIRED", "A pre-paid deployment must be unsubscribed first.")
        if view["plan"] == "mu" and view["status"] == "RUNNING" and self.world.knob("mu_needs_stop", False):
            raise Refused(400, "UnsupportedOperation", "Only a STOPPED or FAILED deployment can be deleted.")
        if view["status"] != "DELETING":
            now = self.world.now()
            later = {"at": now + self._seconds("undeploy_seconds"), "gone": True}
            self._go_on(held, self._version(now, {"status": "DELETING"}), later)
        return self._one(held)

    def _scale(self, held: dict[str, Any], body: dict[str, Any]) -> Response:
        view, now = self._current(held), self.world.now()
        if view["plan"] == "lora":
            raise Refused(400, "UnsupportedOperation", "A lora deployment can not be scaled.")
        self._refuse_unless_at_rest(view)
        wanted = "ptu_capacity" if view["plan"] == "ptu" else "capacity"
        if set(body) != {wanted}:
            raise Refused(400, "InvalidParameter", f"scale takes {wanted} alone")
        if wanted == "ptu_capacity":
            check_ptu(body[wanted])
            old = view[wanted]
            steps = [body[wanted].get(key, 0) - old.get(key, 0) for key in {*body[wanted], *old}]
            if any(step > 0 for step in steps) and any(step < 0 for step in steps):
                raise Refused(400, "InvalidParameter", "all figures of ptu_capacity must grow, or all must shrink")
        elif not is_count(body["capacity"], held["base_capacity"]):
            raise capacity_error(body["capacity"], held["base_capacity"])
        done = {"status": "RUNNING", "ready_capacity": body.get("capacity", 0)}
        transit = "SCALING" if wanted == "ptu_capacity" else "UPDATING"
        later = (
            [] if self.world.knob("never_ready", False) else [self._version(now + self._seconds("scale_seconds"), done)]
        )
        self._go_on(held, self._version(now, {**body, "status": transit}), *later)
        return self._one(held)

    def _update(self, held: dict[str, Any], body: dict[str, Any]) -> Response:
        view, now = self._current(held), self.world.now()
        if not body or set(body) - {"rpm_limit", "tpm_limit"}:
            raise Refused(400, "InvalidParameter", "update takes rpm_limit, tpm_limit, at least one of them")
        if view["plan"] not in ("mu", "cu") or not all(is_count(value, 1, most=None) for value in body.values()):
            raise Refused(400, "InvalidParameter", "rpm_limit and tpm_limit can't be set to that on this deployment")
        self._refuse_unless_at_rest(view)
        # An update's answer shows PENDING again, although it serves on.
        later = self._version(now + self._seconds("update_seconds"), {"status": view["status"]})
        self._go_on(held, self._version(now, {**body, "status": "PENDING"}), later)
        return self._one(held)

    def _overflow(self, held: dict[str, Any], body: dict[str, Any]) -> Response:
        if self._current(held)["plan"] != "ptu" or body.get("overflow_strategy") not in ("enable", "disable"):
            raise Refused(400, "InvalidParameter", "overflow_strategy is enable or disable, on a ptu deployment")
        self._go_on(held, self._version(self.world.now(), {"overflow_strategy": body["overflow_strategy"]}))
        return self._one(held)

    def _infer(self, request: Request, workspace: str) -> Response:
        """A chat completion by the deployment of that id; right after RUNNING it is not known there yet."""
        try:
            asked, body = asked_model(request)
        except UnfitError as error:
            return self._refuse_inference(400, "invalid_parameter_error", str(error))
        held = self.world.table("deployments").get(asked)
        view = self._view(held) if held is not None and held["workspace"] == workspace else None
        if view is None or view["status"] not in ("RUNNING", "UPDATING", "SCALING"):
            return self._refuse_inference(404, "model_not_found", f"The model `{asked}` does not exist.")
        if still_fails(self.world, view["at"]):
            return self._refuse_inference(404, "model_not_found", "Model not exist.")
        return Response(200, completion(self.world, asked, body))

    def _refuse_inference(self, status: int, code: str, message: str) -> Response:
        error = {"message": message, "type": "invalid_request_error", "code": code}
        return Response(status, {"error": error, "request_id": self.world.new_id("req-")})

    # --- versions

    def _version(self, at: float, fields: Mapping[str, Json]) -> dict[str, Json]:
        return {"at": at, "modified": at, **fields}

    def _go_on(self, held: dict[str, Any], *versions: dict[str, Json]) -> None:
        """From now on these versions; what was still to come is dropped."""
        now = self.world.now()
        held["versions"] = [version for version in held["versions"] if version["at"] <= now] + list(versions)

    def _view(self, held: Mapping[str, Any], moment: float | None = None) -> dict[str, Any] | None:
        """What stands at a moment (default: now); None before it was made and once it has gone."""
        moment = self.world.now() if moment is None else moment
        view: dict[str, Any] = {}
        for version in held["versions"]:
            if version["at"] <= moment:
                view |= version
        if not view or view.get("gone"):
            return None
        if held["id"] in self.world.knob("stopped", ()) and view["status"] == "RUNNING":
            view |= {"status": "STOPPED", "ready_capacity": 0}
        return view

    def _current(self, held: Mapping[str, Any]) -> dict[str, Any]:
        view = self._view(held)
        if view is None:
            raise Refused(404, "NotFound", f"Model: {held['id']} not found!")
        return view

    def _held(self, ident: str, workspace: str) -> dict[str, Any]:
        held: dict[str, Any] | None = self.world.table("deployments").get(ident)
        if held is None or held["workspace"] != workspace or self._view(held) is None:
            raise Refused(404, "NotFound", f"Model: {ident} not found!")
        return held

    def _refuse_unless_at_rest(self, view: Mapping[str, Any]) -> None:
        if view["status"] not in _AT_REST:
            raise Refused(400, "UnsupportedOperation", f"not possible while it is {view['status']}")

    # --- answers

    def _object(self, held: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Json]:
        shown = {key: view[key] for key in _RETURNED if key in view}
        if "rpm_limit" in view:
            shown["rpm_limit"] = str(view["rpm_limit"])
        if view["plan"] == "ptu":
            shown["ptu_capacity"] = {f"{key}_quota": value for key, value in view["ptu_capacity"].items()}
            shown["ptu_service_tier"] = view.get("service_tier", "ptu_fast")
            shown.pop("ready_capacity", None)
        return {
            "deployed_model": held["id"],
            "gmt_create": _time(view["created"]),
            "gmt_modified": _time(view["modified"]),
            "status": view["status"],
            "plan": "ptu_v2" if view["plan"] == "ptu" else view["plan"],
            "base_model": held["model_name"],
            "base_capacity": held["base_capacity"],
            "workspace_id": held["workspace"],
            "creator": "175805416000",
            "modifier": "175805416000",
            "charge_type": "post_paid",
            **shown,
        }

    def _one(self, held: Mapping[str, Any]) -> Response:
        return self._ok(self._object(held, self._current(held)))

    def _ok(self, output: Mapping[str, Json], *, many: bool = False) -> Response:
        key = "data" if many and self.world.knob("data_envelope", False) else "output"
        return Response(200, {"request_id": self.world.new_id("req-"), key: output})

    def _error(self, status: int, code: str, message: str) -> Response:
        return Response(status, {"request_id": self.world.new_id("req-"), "code": code, "message": message})

    # --- small parts

    def _body(self, request: Request) -> dict[str, Any]:
        try:
            body = request.json()
        except ValueError:
            raise Refused(400, "InvalidParameter", "the body is not JSON") from None
        if not isinstance(body, dict):
            raise Refused(400, "InvalidParameter", "the body is not an object")
        return body

    def _paging(self, query: Mapping[str, str]) -> tuple[int, int]:
        number, size = query.get("page_no", "1"), query.get("page_size", "10")
        if not (number.isdecimal() and size.isdecimal() and int(number) >= 1 and 1 <= int(size) <= 100):
            raise Refused(400, "InvalidParameter", "page_no must be 1 or more, page_size from 1 to 100")
        return int(number), int(size)

    def _seconds(self, knob: str) -> float:
        return float(self.world.knob(knob, 2.0))

    def _count_down(self, knob: str) -> bool:
        left = int(self.world.knob(knob, 0))
        if left > 0:
            self.world.knobs[knob] = left - 1
        return left > 0

    def _fails(self, *names: str) -> bool:
        chosen = self.world.knob("fail_deploys", 0)
        return any(name in chosen for name in names) if isinstance(chosen, list) else self._count_down("fail_deploys")


def _time(moment: float) -> str:
    """The provider's times carry no zone."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


SIMULATOR = ModelStudio
