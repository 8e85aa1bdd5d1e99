"""NeevCloud AI, simulated: login, the five calls on dedicated model deployments of a project, and what these answer.

As strict as the provider's OpenAPI document, and stricter where that is silent: unknown fields of a body, and a scale
in the middle of another, are refused. Knows nothing of the adapter. Reading changes nothing: a deployment is a list of
phases, some of them in the future, and a list that lags is the same a little earlier.

Knobs beside the common ones (`lag`, `shuffle`, `deploy_seconds`, `scale_seconds`, `undeploy_seconds`, `fail_deploys`,
`never_ready`, `instant`, `latency`): `token_seconds` (how long a login is good for), `recover_seconds` (a failed
deployment becomes ready by itself after so long), `replicas_until_ready` (1), `probe_fails_for` (inference.py).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from reconciler.model import Json
from reconciler.sandbox.base import Request, Response, Simulator
from reconciler.sandbox.inference import UnfitError, asked_model, completion, still_fails

EMAIL, PASSWORD = "sandbox@example.invalid", "sandbox-password"
ACCESS_TOKEN = "sandbox-access-token"  # as a console would give one: never ends
INFERENCE_KEY = "sk-nc-sandbox-inference-key"
INFERENCE = re.compile(r"/inference/([^/]+)/v1/(chat/completions|models)")
COLLECTION = re.compile(r"/aimodels/api/v1beta1/orgs/([^/]+)/projects/([^/]+)/aimodels(?:/([^/]+)(/scale)?)?")
MOST_GPUS = 8
BOUNDS = {"max_model_len": (1, 1_048_576), "max_num_seqs": (1, 4096)}

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_CATALOG_ID = re.compile(r"[a-zA-Z0-9_\-.]+")
_REQUIRED = ("name", "catalog_id", "region", "gpu_config_id", "gpu_count", "plan_id")


class _Refused(Exception):
    """An error answer of the API; not a fault of ours."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message}


def _invalid(message: str) -> _Refused:
    return _Refused(400, "invalid_request", message)


class NeevCloud(Simulator):
    """One gateway with its tenant and aimodels services."""

    type: ClassVar[str] = "neevcloud"
    credentials: ClassVar[Mapping[str, str]] = {
        "email": EMAIL,
        "password": PASSWORD,
        "inference_key": INFERENCE_KEY,
    }

    def endpoints(self, base: str) -> dict[str, str]:
        """One prefix per service, as on the real gateway."""
        return {"endpoint": f"{base}/aimodels", "auth_endpoint": f"{base}/tenant"}

    def presuppose(self, specs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]) -> list[str]:
        """The project of the settings, and the catalog items and price plans that the specs name."""
        made = []
        place = f"{settings.get('org_id')}/{settings.get('project_id')}"
        wanted: list[tuple[str, str, Json]] = [("projects", "project", place)]
        for spec in specs:
            wanted += [
                ("catalog", "catalog item", spec.get("catalog_id")),
                ("plans", "price plan", spec.get("plan_id")),
            ]
        for table, word, name in wanted:
            if isinstance(name, str) and name not in self.world.table(table):
                self.world.table(table)[name] = {"since": self.world.now()}
                made.append(f"{word} {name}")
        return made

    def handle(self, request: Request) -> Response:
        """Answer one request below the gateway's root."""
        try:
            if request.path == "/tenant/api/v1/auth/login":
                return self._login(request)
            inference = INFERENCE.fullmatch(request.path)
            if inference is not None:
                return self._infer(request, inference[1], inference[2])
            match = COLLECTION.fullmatch(request.path)
            if match is None:
                raise _Refused(404, "not_found", "no such path")
            self._authorize(request, f"{match[1]}/{match[2]}")
            return self._call(request, f"{match[1]}/{match[2]}", match[3], scale=bool(match[4]))
        except _Refused as refused:
            return Response(refused.status, refused.body, {"x-request-id": self.world.new_id("req-", 8)})

    # --- who may -------------------------------------------------------------------------------------------------
    def _login(self, request: Request) -> Response:
        if request.method != "POST":
            raise _Refused(405, "invalid_request", "method not allowed")
        body = _body(request)
        email, password = body.get("email"), body.get("password")
        if not isinstance(email, str) or not isinstance(password, str) or "@" not in email:
            raise _invalid("email and password are required")
        if email != EMAIL:
            raise _Refused(404, "not_found", "user not found")
        if password != PASSWORD:
            raise _Refused(401, "unauthorized", "Invalid email or password")
        now, seconds = self.world.now(), float(self.world.knob("token_seconds", 3600.0))
        claims = json.dumps({"sub": EMAIL, "exp": int(now + seconds), "jti": self.world.new_id("t")})
        token = ".".join(_base64(part) for part in ('{"alg":"none","typ":"JWT"}', claims, "sandbox"))
        tokens = self.world.table("tokens")
        for old in [old for old, until in tokens.items() if until <= now]:
            self.world.effects["token_seconds"] += 1
            del tokens[old]
        tokens[token] = now + seconds
        fresh = {"access_token": token, "refresh_token": self.world.new_id("r-"), "token_type": "Bearer"}
        return Response(200, {**fresh, "expires_in": int(seconds)})

    def _authorize(self, request: Request, place: str) -> None:
        header = request.headers.get("authorization", "")
        scheme, _, token = header.partition(" ")
        if not header:
            raise _Refused(401, "unauthorized", "missing authorization header")
        known = token == ACCESS_TOKEN or self.world.table("tokens").get(token, 0.0) > self.world.now()
        if scheme != "Bearer" or not known:
            raise _Refused(401, "unauthorized", "invalid or expired token")
        projects = self.world.table("projects")
        if projects and place not in projects:
            raise _Refused(403, "forbidden", "no permission on this organization or project")

    def _infer(self, request: Request, host: str, what: str) -> Response:
        """A deployment's own endpoint: other credentials, OpenAI's form, and nobody at home unless it is ready."""
        if request.headers.get("authorization") != f"Bearer {INFERENCE_KEY}":
            return _openai(401, "invalid_api_key", "Incorrect API key provided.")
        now = self.world.now()
        found = [held for held in self.world.table("deployments").values() if _there(held, held["place"], now)]
        at_home = next((held for held in found if _host(held) == host and _phase(held, now)[1] == "ready"), None)
        if at_home is None:
            return _openai(404, "not_found", "no deployment answers here")
        if still_fails(self.world, _phase(at_home, now)[0]):
            return _openai(500, "internal_error", "the model is still loading")
        model = _slash_path(at_home["catalog_id"])
        if what == "models":
            return Response(200, {"object": "list", "data": [{"id": model, "object": "model"}]})
        try:
            asked, body = asked_model(request)
        except UnfitError as error:
            return _openai(400, "invalid_request_error", str(error))
        if request.method != "POST" or asked != model:
            return _openai(404, "model_not_found", f"The model `{asked}` does not exist.")
        return Response(200, completion(self.world, model, body))

    # --- deployments ---------------------------------------------------------------------------------------------
    def _call(self, request: Request, place: str, ident: str | None, *, scale: bool) -> Response:
        mount = request.mount
        calls: dict[tuple[str, bool, bool], Callable[[], Response]] = {
            ("GET", False, False): lambda: self._list(place, request.query, mount),
            ("POST", False, False): lambda: self._create(place, _body(request), mount),
            ("GET", True, False): lambda: Response(200, self._shown(self._held(place, ident), self.world.now(), mount)),
            ("DELETE", True, False): lambda: self._delete(self._held(place, ident)),
            ("PUT", True, True): lambda: self._scale(self._held(place, ident), _body(request), mount),
        }
        call = calls.get((request.method, ident is not None, scale))
        if call is None:
            raise _Refused(405, "invalid_request", "method not allowed")
        return call()

    def _list(self, place: str, query: Mapping[str, str], mount: str) -> Response:
        page, limit = _number(query, "page", 1, None), _number(query, "limit", 20, 100)
        everything = self.world.table("deployments").values()

        def look(at: float) -> list[Json]:
            return [[held["id"], *_phase(held, at)] for held in everything if _there(held, place, at)]

        moment = self.world.shown_moment(look)
        found = [held for held in everything if _there(held, place, moment)]
        self.world.shuffle(found, limit)
        items = [self._shown(held, moment, mount) for held in found[(page - 1) * limit : page * limit]]
        pagination = {
            "total_items": len(found),
            "total_pages": -(-len(found) // limit),
            "current_page": page,
            "items_per_page": limit,
        }
        return Response(200, {"items": items, "pagination": pagination})

    def _create(self, place: str, body: Mapping[str, Json], mount: str) -> Response:
        self._check(body)
        now, deployments = self.world.now(), self.world.table("deployments")
        if any(_there(held, place, now) and held["name"] == body["name"] for held in deployments.values()):
            raise _invalid(f"name: {body['name']} is already used in this project")
        ident = self.world.new_id("dep-")
        # Neither plan nor config is kept: they are never returned, and extra_args may hold a secret.
        kept = {field: body[field] for field in _REQUIRED if field != "plan_id"}
        held = {**kept, "id": ident, "place": place, "created": now, "gone": None}
        held["phases"] = self._start(now, str(body["name"]))
        deployments[ident] = held
        return Response(201, self._shown(held, now, mount))

    def _start(self, now: float, name: str) -> list[list[Json]]:
        """Phases of a new deployment: [since, status, replicas]."""
        if self.world.knob("instant", False):
            return [[now, "ready", 1]]
        phases: list[list[Json]] = [[now, "initializing", self.world.knob("replicas_until_ready", 1)]]
        if self.world.knob("never_ready", False):
            return phases
        then = now + float(self.world.knob("deploy_seconds", 1.0))
        if not self._fails(name):
            return [*phases, [then, "ready", 1]]
        recover = self.world.knob("recover_seconds", None)
        return [*phases, [then, "failed", 0], *([] if recover is None else [[then + float(recover), "ready", 1]])]

    def _fails(self, name: str) -> bool:
        wanted = self.world.knob("fail_deploys", 0)
        if isinstance(wanted, list):
            return name in wanted
        if wanted:
            self.world.knobs["fail_deploys"] = int(wanted) - 1
        return bool(wanted)

    def _scale(self, held: dict[str, Any], body: Mapping[str, Json], mount: str) -> Response:
        replicas = body.get("replicas")
        if set(body) != {"replicas"} or not _is_count(replicas):
            raise _invalid("replicas: an integer of at least 1 is required")
        now = self.world.now()
        _, status, running = _phase(held, now)
        coming = held["phases"][-1][2]
        if status != "ready" and not (status == "initializing" and coming == replicas):
            raise _invalid(f"the deployment is {status}")
        if status == "ready" and running != replicas:
            wait = 0.0 if self.world.knob("instant", False) else float(self.world.knob("scale_seconds", 0.5))
            past = [phase for phase in held["phases"] if phase[0] <= now]
            later = [] if self.world.knob("never_ready", False) else [[now + wait, "ready", replicas]]
            held["phases"] = [*past, [now, "initializing", running], *later]
        return Response(200, self._shown(held, now, mount))

    def _delete(self, held: dict[str, Any]) -> Response:
        now = self.world.now()
        if held["gone"] is None:
            past = [phase for phase in held["phases"] if phase[0] <= now]
            held["phases"] = [*past, [now, "terminating", 0]]
            held["gone"] = now + float(self.world.knob("undeploy_seconds", 0.5))
        return Response(204)

    def _held(self, place: str, ident: str | None) -> dict[str, Any]:
        held: dict[str, Any] | None = self.world.table("deployments").get(ident or "")
        if held is None or not _there(held, place, self.world.now()):
            raise _Refused(404, "not_found", "deployment not found")
        return held

    def _check(self, body: Mapping[str, Json]) -> None:
        for field in _REQUIRED:
            if field not in body:
                raise _invalid(f"{field}: is required")
            if field != "gpu_count" and (not isinstance(body[field], str) or not body[field]):
                raise _invalid(f"{field}: must be a string")
        for field in sorted(set(body) - {*_REQUIRED, "config"}):
            raise _invalid(f"{field}: unknown field")
        if not 3 <= len(body["name"]) <= 30 or not _NAME.fullmatch(body["name"]):
            raise _invalid("name: 3 to 30 lowercase letters, digits and hyphens")
        if not _is_count(body["gpu_count"]) or body["gpu_count"] > MOST_GPUS:
            raise _invalid(f"gpu_count: must be between 1 and {MOST_GPUS}")
        if not _CATALOG_ID.fullmatch(body["catalog_id"]):
            raise _invalid("catalog_id: must be url-safe")
        for field, table in (("catalog_id", "catalog"), ("plan_id", "plans")):
            known = self.world.table(table)
            if known and body[field] not in known:
                raise _invalid(f"{field}: {body[field]} does not exist")
        _check_config(body.get("config", {}))

    def _shown(self, held: Mapping[str, Any], moment: float, mount: str) -> dict[str, Json]:
        """An AIModelResponse: without catalog_id, plan_id and config, which are never returned."""
        since, status, replicas = _phase(held, moment)
        _, _, project = held["place"].partition("/")
        catalog_id, ready = held["catalog_id"], status == "ready"
        base = mount or "https://sandbox.invalid"
        return {
            "id": held["id"],
            "name": held["name"],
            "project_id": project,
            "model_id": _slash_path(catalog_id),
            "model_name": catalog_id.replace("-", " "),
            "region": held["region"],
            "status": status,
            "endpoint_url": f"{base}/inference/{_host(held)}/v1" if ready else None,
            "gpu_config_id": held["gpu_config_id"],
            "gpu_count": held["gpu_count"],
            "replicas": replicas,
            "created_at": _time(held["created"]),
            "updated_at": _time(since),
            "uptime_seconds": max(0, int(moment - since)) if ready else 0,
        }


def _host(held: Mapping[str, Any]) -> str:
    """As the first labels of the real service's host name."""
    org, _, project = held["place"].partition("/")
    return f"{held['name']}.{project}.{org}.{held['region']}"


def _there(held: Mapping[str, Any], place: str, moment: float) -> bool:
    gone = held["gone"]
    return bool(held["created"] <= moment and (gone is None or moment < gone) and held["place"] == place)


def _phase(held: Mapping[str, Any], moment: float) -> tuple[float, str, int]:
    current = held["phases"][0]
    for phase in held["phases"]:
        if phase[0] <= moment:
            current = phase
    since, status, replicas = current
    return since, status, replicas


def _openai(status: int, code: str, message: str) -> Response:
    return Response(status, {"error": {"message": message, "type": "error", "code": code}})


def _check_config(config: Json) -> None:
    if not isinstance(config, dict):
        raise _invalid("config: must be an object")
    for field, (least, most) in BOUNDS.items():
        if field in config and not (_is_count(config[field]) and least <= config[field] <= most):
            raise _invalid(f"config.{field}: must be an integer between {least} and {most}")
    extra = config.get("extra_args", [])
    if not isinstance(extra, list) or not all(isinstance(word, str) for word in extra):
        raise _invalid("config.extra_args: must be a list of strings")


def _body(request: Request) -> dict[str, Json]:
    try:
        body = request.json()
    except ValueError as error:
        raise _invalid("the body is not JSON") from error
    if not isinstance(body, dict) or "application/json" not in request.headers.get("content-type", ""):
        raise _invalid("the body must be a JSON object with its content type")
    return body


def _number(query: Mapping[str, str], name: str, default: int, most: int | None) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1 or (most is not None and int(text) > most):
        raise _invalid(f"{name}: must be an integer of at least 1" + (f" and at most {most}" if most else ""))
    return int(text)


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _slash_path(catalog_id: str) -> str:
    """The model's path: the organization ends at the first hyphen, but for one well-known name."""
    head = "meta-llama" if catalog_id.startswith("meta-llama-") else catalog_id.partition("-")[0]
    return f"{head}/{catalog_id[len(head) + 1 :]}" if catalog_id != head else catalog_id


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SIMULATOR = NeevCloud
