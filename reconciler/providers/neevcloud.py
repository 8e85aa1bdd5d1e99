"""NeevCloud AI, dedicated model deployments: what to do next with one, and the requests that do it.

Source of every provider fact: the provider's OpenAPI document "Dedicated Model Deployment API" 0.1.0 and its pages on
authentication. Where those are silent the comment says "assumed". Never sleeps, never repeats a create, keeps no state
but the login's token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal
from urllib.parse import urlsplit

from reconciler.core.values.digest import is_sealed
from reconciler.edge.client import Client, Dialect, common_options, segment
from reconciler.edge.pages import Page, all_pages
from reconciler.model import Health, Json, Live, Probe, ProviderConfig
from reconciler.provider import (
    BadAnswerError,
    Call,
    Capabilities,
    Conflict,
    Done,
    Failed,
    Next,
    NotFoundError,
    Operation,
    Probed,
    Problem,
    Provider,
    ProviderError,
    ProviderType,
    RejectedError,
    Reply,
    UnavailableError,
    Wait,
    Wire,
)
from reconciler.providers.neevcloud_inference import Inference
from reconciler.providers.neevcloud_login import authorization

ENDPOINT = "https://api.ai.neevcloud.com/aimodels"
PAGE_SIZE = 100  # the API's maximum
LAG_LOOKS = 3  # looks that may lack a new deployment before it is read by its id
CONCURRENCY = 8  # no limit is published

_CREATE = ("name", "catalog_id", "region", "gpu_config_id", "gpu_count", "plan_id", "config")
_RETURNED = ("name", "region", "gpu_config_id", "gpu_count", "replicas")
_COMPUTED = ("id", "endpoint_url", "model_id", "model_name", "status", "created_at")
_CONFIG = ("max_model_len", "max_num_seqs", "extra_args")
_HEALTH: Mapping[str, Health] = {
    "initializing": "pending",
    "ready": "ready",
    "failed": "failed",
    "terminating": "deleting",
}


class NeevCloud:
    """The pure side."""

    type = "neevcloud"
    capabilities = Capabilities(
        page_size=PAGE_SIZE,
        scales=True,
        updates=False,  # there is no update call
        restartable=False,  # nor one that stops or starts
        create_first=False,  # the name is taken until the old deployment is gone
        read_by_id=True,
        max_concurrency=CONCURRENCY,
        found_by="identity",  # the name is unique in its project
        probes=True,
    )

    def scope(self, settings: Mapping[str, Json]) -> str:
        """Gateway, organization and project: ids and names live in a project."""
        endpoint = str(settings.get("endpoint") or ENDPOINT).rstrip("/")
        return f"{endpoint} {settings.get('org_id')}/{settings.get('project_id')}"

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        """The name."""
        name = spec.get("name")
        return name if isinstance(name, str) else None

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:  # noqa: ARG002 - the port's signature
        """Nothing is derived: the name is the address itself."""
        return {}

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:  # noqa: ARG002 - the port's signature
        """A misspelt key of `config` would be stored without effect and never be seen again: refused."""
        config = spec.get("config")
        found = []
        for key in config if isinstance(config, Mapping) else ():
            near = get_close_matches(key, _CONFIG, n=1, cutoff=0.7) if key not in _CONFIG else []
            if near:
                found.append(
                    Problem(f"config.{key}", f"the provider heeds no key {key!r}", f"did you mean {near[0]!r}?")
                )
        return found

    def next(self, op: Operation) -> Next:
        """A deploy creates, waits, scales where more than one replica is wanted, and waits.

        An undeploy deletes, waits until the list lacks it, and takes a 404 to a read by id as the proof.
        """
        if op.verb == "undeploy":
            return _undeploy(op)
        if op.id is None:
            return Call("create", creates=True)
        if op.memo.get("gone"):
            return Failed("it has gone while we waited for it", exists=False)
        live = op.live
        if live is None and (op.verb == "deploy" or "scaled" in op.memo):
            return Call("confirm") if op.looks >= LAG_LOOKS else Wait("until the list shows it")
        if live is not None and live.health == "deleting":
            return Failed("somebody else is deleting it", live=live)
        if live is not None and live.health == "failed":
            return Failed(live.reason or "its status is failed", live=live)
        if live is not None and live.health != "ready":
            return Wait("until it is ready", live.status)
        wanted = op.desired.get("replicas", 1)
        if live is not None and live.attributes.get("replicas", wanted) == wanted:
            return Done(live)
        # A list that trails behind, or a scale under way, still shows the old number: the next looks will tell.
        return Wait(f"until {wanted} replicas run", live.status) if live and "scaled" in op.memo else Call("scale")

    def connect(self, config: ProviderConfig, credentials: Mapping[str, str], wire: Wire) -> Provider:
        """Nothing is sent yet. Raises AccessError where credentials are missing or are an inference key."""
        return _Connection(config, credentials, wire)


def _undeploy(op: Operation) -> Next:
    if op.id is None or op.memo.get("gone"):
        return Done(None)
    if not op.memo.get("deleted"):
        return Call("delete")
    if op.live is None and op.looks:
        return Call("confirm")
    return Wait("until it is gone", op.live.status if op.live else "")


def normalize(raw: Json, provider: str, effect: Literal["none", "unknown"] = "none") -> Live:
    """One AIModelResponse as a `Live`. No field of it is promised, but without an id nothing can be done.

    `replicas` is the number that run now, not the number wanted. Raises BadAnswerError with that `effect`.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("id"), str) or not raw["id"]:
        raise BadAnswerError(f"{provider} gave a deployment without an id", provider=provider, effect=effect)
    name = str(raw.get("name") or "")
    status = str(raw.get("status") or "")
    return Live(
        id=raw["id"],
        identities=(name,) if name else (),
        name=name,
        attributes={key: raw[key] for key in _RETURNED if raw.get(key) is not None},
        computed={key: raw[key] for key in _COMPUTED if key in raw},
        status=status,
        health=_HEALTH.get(status, "unknown"),
    )


class _Connection:
    """The side that talks: one project of one organization."""

    def __init__(self, config: ProviderConfig, credentials: Mapping[str, str], wire: Wire) -> None:
        settings = config.settings
        self._key = config.key
        endpoint = str(settings.get("endpoint") or ENDPOINT).rstrip("/")
        options = common_options(settings, CONCURRENCY)
        dialect = Dialect()
        tenant = str(settings.get("auth_endpoint") or _tenant(endpoint))
        authorize, self._login = authorization(config.key, tenant, credentials, dialect, wire, options)
        self._client = Client(
            provider=config.key,
            base_url=endpoint,
            dialect=dialect,
            wire=wire,
            authorize=authorize,
            secrets=tuple(value for name, value in credentials.items() if name != "email"),
            **options,
        )
        self._inference = Inference(config.key, credentials, endpoint, wire, options)
        # The path has /aimodels twice: once as the gateway's prefix (in the endpoint), once as the collection.
        org, project = segment(str(settings.get("org_id"))), segment(str(settings.get("project_id")))
        self._path = f"/api/v1beta1/orgs/{org}/projects/{project}/aimodels"
        self._workers = options["max_concurrency"]
        self._unanswered: set[str] = set()

    def list(self) -> Sequence[Live]:
        """All deployments of the project, those on their way out included."""
        return all_pages(self._page, key=lambda live: live.id, provider=self._key, workers=self._workers)

    def read(self, id: str) -> Live | None:  # noqa: A002 - the port's name
        """One deployment; None only for the provider's own 404."""
        try:
            return normalize(self._client.request("GET", self._of(id)).data, self._key)
        except NotFoundError:
            return None

    def send(self, op: Operation, call: Call) -> Reply:
        """Make one of the requests create, scale, delete, confirm."""
        if call.step == "create":
            return self._create(op)
        if op.id is None:
            raise RejectedError(f"{self._key}: nothing to {call.step}: no id is known", provider=self._key)
        if call.step == "scale":
            body = {"replicas": op.desired.get("replicas", 1)}
            answer = self._client.request("PUT", f"{self._of(op.id)}/scale", json=body, empty_ok=True)
            live = normalize(answer.data, self._key) if answer.data is not None else None
            return Reply(id=op.id, live=live, memo={"scaled": True})
        if call.step == "delete":
            try:
                self._client.request("DELETE", self._of(op.id), empty_ok=True)
            except NotFoundError:
                return Reply(id=op.id, memo={"deleted": True, "gone": True})
            return Reply(id=op.id, memo={"deleted": True})
        live = self.read(op.id)
        return Reply(id=op.id, live=live, memo={"gone": True} if live is None else {})

    def look(self, waiting: Sequence[Operation]) -> Mapping[str, Live | None]:
        """One list for all waiters."""
        found = {live.id: live for live in self.list()}
        return {op.address: found.get(op.id) if op.id else None for op in waiting}

    def find(self, op: Operation, call: Call) -> Reply | Conflict | None:  # noqa: ARG002 - only creates are looked for
        """The deployment of that name, unless it is on its way out: such a one was there before us.

        After a kill sensitive values are digests: the engine compares those.
        """
        fit = [live for live in self.list() if live.name == op.desired.get("name") and live.id != op.removed]
        named = [live for live in fit if live.health != "deleting"]
        if not named:
            return None
        live = named[0]
        differing = [
            key
            for key, value in live.attributes.items()
            if key != "replicas" and key in op.desired and op.desired[key] != value and not is_sealed(op.desired[key])
        ]
        if differing or len(named) > 1:
            why = f"differs in {', '.join(differing)}" if differing else "is not the only one"
            return Conflict(f"{live.id} is named {live.name} but {why}", id=live.id)
        self._unanswered.discard(live.name)
        return Reply(id=live.id, live=live)

    def probe_problem(self) -> Problem | None:
        """An inference key is another credential than the one of this API."""
        return self._inference.problem()

    def probe(self, op: Operation, probe: Probe) -> Probed:
        """One inference call to the deployment's own endpoint."""
        live = op.live
        if op.id is not None and (live is None or not live.computed.get("endpoint_url")):
            live = self.read(op.id)
        return self._inference.ask(live, probe)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._login is not None:
            self._login.close()

    def _create(self, op: Operation) -> Reply:
        """Create it. Without `replicas`, which the call does not take: a deployment starts with one (assumed)."""
        name = str(op.desired.get("name"))
        body = {key: op.desired[key] for key in _CREATE if op.desired.get(key) is not None}
        try:
            answer = self._client.request("POST", self._path, json=body)
            live = normalize(answer.data, self._key, effect="unknown")
        except RejectedError as error:
            if name not in self._unanswered:
                raise
            # An earlier create of this run may have got through after all, and its name be what is refused now: it
            # has to be looked up, not given up.
            raise UnavailableError(
                f"{error.message} (after an earlier create whose answer was lost)",
                provider=self._key,
                effect="unknown",
                status=error.status,
                code=error.code,
                request_id=error.request_id,
            ) from error
        except ProviderError as error:
            if error.effect == "unknown":
                self._unanswered.add(name)
            raise
        self._unanswered.discard(name)
        return Reply(id=live.id, live=live)

    def _page(self, number: int) -> Page[Live]:
        data = self._client.request("GET", self._path, params={"page": number, "limit": PAGE_SIZE}).data
        if not isinstance(data, Mapping) or not isinstance(data.get("items"), list):
            raise BadAnswerError(f"{self._key} gave a list without items", provider=self._key)
        pagination = data.get("pagination")
        counts = pagination if isinstance(pagination, Mapping) else {}
        return Page(
            items=tuple(normalize(item, self._key) for item in data["items"]),
            total=_count(counts.get("total_items")),
            pages=_count(counts.get("total_pages")),
            full=len(data["items"]) >= PAGE_SIZE,
        )

    def _of(self, id_: str) -> str:
        return f"{self._path}/{segment(id_)}"


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _tenant(endpoint: str) -> str:
    """The tenant service on the same gateway (one prefix per service), so that a password stays with its gateway."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/aimodels')}/tenant"


PROVIDER: ProviderType = NeevCloud()
