"""Alibaba Cloud Model Studio (DashScope): deployments of foundation and fine-tuned models.

The pure rules of the type, and a connection that makes one request a call. It never sleeps, never repeats a create,
never builds an id (the server chooses it; a create is found again by model name and suffix).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from reconciler.core.schemas.probe import chat
from reconciler.core.values.duration import seconds
from reconciler.edge.client import Client, Dialect, segment
from reconciler.edge.pages import Page, all_pages
from reconciler.model import Json, Live, Probe, ProviderConfig
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    Call,
    Capabilities,
    Conflict,
    Next,
    NotFoundError,
    Operation,
    Probed,
    Problem,
    Provider,
    ProviderError,
    RejectedError,
    Reply,
    UnavailableError,
    Wire,
)
from reconciler.providers import modelstudio_wire as wire_format
from reconciler.providers.modelstudio_steps import next_step, shown, wanted

MOST = 1_000_000  # deployments that a list may count before it is not believed


class ModelStudio:
    """The pure side of the provider type."""

    type = "modelstudio"
    capabilities = Capabilities(
        page_size=wire_format.PAGE_SIZE,
        scales=True,
        updates=True,
        restartable=False,  # stop and start exist in the console's own gateway only
        create_first=True,
        read_by_id=True,
        probes=True,
    )

    def scope(self, settings: Mapping[str, Json]) -> str:
        """Endpoint and workspace: ids live in a workspace of a region."""
        return f"{wire_format.endpoint_of(settings)} workspace {settings.get('workspace') or '(of the key)'}"

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        """`model_name/suffix`; None while one of them can't be known."""
        model, suffix = spec.get("model_name"), spec.get("suffix")
        if isinstance(model, str) and isinstance(suffix, str):
            return wire_format.identity_of(model, suffix)
        return None

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:
        """A suffix from stack, address and generation, which makes every create findable."""
        if "suffix" in spec:
            return {}
        digest = hashlib.sha256("\0".join((stack, address, str(generation))).encode()).digest()
        return {"suffix": base64.b32encode(digest).decode().lower()[:8]}

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:
        """What plans need and refuse, and where they are offered (docs of 2026: mu and dtu in Beijing alone)."""
        plan = spec.get("plan")
        if not isinstance(plan, str):
            return ()
        return (*wire_format.check_shape(plan, spec), *wire_format.check_region(plan, settings))

    def next(self, op: Operation) -> Next:
        """What to do next with this operation."""
        return next_step(op)

    def connect(self, config: ProviderConfig, credentials: Mapping[str, str], wire: Wire) -> Provider:
        """A connection with one API key. Raises AccessError where there is none."""
        key = credentials.get("api_key", "").strip()
        if not key:
            hint = "export DASHSCOPE_API_KEY=… (a key belongs to one region)"
            raise AccessError("no API key for Model Studio", provider=config.key, hint=hint)
        return Connection(config, key, wire)


# --- the connection -----------------------------------------------------------------------------------------------


class Connection:
    """Requests to one workspace of one region. May be used from several threads at once."""

    def __init__(self, config: ProviderConfig, key: str, wire: Wire) -> None:
        settings = config.settings
        headers = {"Authorization": f"Bearer {key}"}
        if settings.get("workspace"):
            headers["X-DashScope-WorkSpace"] = str(settings["workspace"])
        rate = settings.get("requests_per_second")
        self._name = config.key
        self._at_once = int(settings.get("max_concurrency", PROVIDER.capabilities.max_concurrency))
        client = partial(
            Client,
            provider=config.key,
            dialect=Dialect(
                request_id=wire_format.request_id,
                explain=wire_format.explain,
                error_in=wire_format.error_in,
                throttled=wire_format.throttled,
            ),
            wire=wire,
            authorize=headers,
            timeout=seconds(settings.get("timeout", 30)),
            max_concurrency=self._at_once,
            requests_per_second=None if rate is None else float(rate),
            ca_cert=settings.get("ca_cert"),
            secrets=(key,),
        )
        self._client = client(base_url=wire_format.endpoint_of(settings))
        self._inference = client(base_url=wire_format.inference_of(settings))
        self._unanswered: set[str] = set()  # identities of creates whose answer was lost in this run

    def list(self) -> Sequence[Live]:
        """All deployments of the workspace; read again while there are fewer than it counts (its order may change)."""
        return all_pages(self._page, key=lambda live: live.id, provider=self._name, workers=self._at_once)

    def read(self, id: str) -> Live | None:  # noqa: A002 - the port's name
        """One deployment; None only for the provider's own `NotFound`."""
        try:
            return self._object("GET", f"/deployments/{segment(id)}")
        except NotFoundError:
            return None

    def send(self, op: Operation, call: Call) -> Reply:
        """Make the request that `call` names."""
        if call.step == "create":
            return self._create(op)
        if op.id is None:
            raise RejectedError(f"no id to {call.step}", provider=self._name)
        path = f"/deployments/{segment(op.id)}"
        memo = {call.step: True, "last": call.step}
        if call.step == "confirm":
            live = self.read(op.id)
            return Reply(id=op.id, live=live, memo={"last": "confirm", "gone": live is None})
        if call.step == "delete":
            try:
                return Reply(id=op.id, live=self._object("DELETE", path), memo=memo)
            except NotFoundError:
                return Reply(id=op.id, memo={**memo, "gone": True})
        body = wanted(op, call.step)
        if call.step == "scale":
            self._refuse_mixed(op, body)
        if call.step == "overflow":
            return Reply(id=op.id, live=self._overflow(path, body), memo=memo)
        try:
            return Reply(id=op.id, live=self._object("PUT", f"{path}/{call.step}", body), memo=memo)
        except RejectedError as error:
            live = self.read(op.id) if error.code == wire_format.WRONG_STATE else None
            if live is None or live.health not in ("pending", "updating"):
                raise
            # A change is under way: most likely this one, whose first answer was lost. It is looked at when it is over.
            return Reply(id=op.id, live=live, memo={"last": "refused"})

    def look(self, waiting: Sequence[Operation]) -> Mapping[str, Live | None]:
        """One list for all waiters."""
        by_id = {live.id: live for live in self.list()}
        return {op.address: by_id.get(op.id) if op.id is not None else None for op in waiting}

    def find(self, op: Operation, call: Call) -> Reply | Conflict | None:
        """A create whose answer was lost: same model name, same suffix, and all that it sent and is returned agrees."""
        identity = PROVIDER.identity(op.desired)
        fit = [live for live in self.list() if identity in live.identities and live.id != op.removed]
        alive = [live for live in fit if live.health != "deleting"]
        if not alive:
            return None
        live = alive[0]
        if len(alive) > 1:
            ids = ", ".join(one.id for one in alive)
            return Conflict(f"several deployments fit {identity}: {ids}", id=live.id)
        differing = wire_format.differences(wire_format.create_body(op.desired), live.attributes)
        if differing:
            return Conflict(f"{live.id} has that model and suffix, but differs in {', '.join(differing)}", id=live.id)
        return Reply(id=live.id, live=live, memo={"gone": False, "last": call.step})

    def probe_problem(self) -> None:
        """None: one key is for both."""

    def probe(self, op: Operation, probe: Probe) -> Probed:
        """One inference call to the OpenAI-compatible endpoint, which knows the deployment by its id as the model.

        For about a minute after RUNNING it may answer 404 `Model not exist` (the provider's page on deployments).
        """
        model = (op.live.id if op.live is not None else op.id) or ""
        asked = chat(probe, path="/chat/completions", model=model, id_=model)
        return self._inference.ask(asked.method, asked.path, asked.body)

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()
        self._inference.close()

    def _page(self, number: int) -> Page[Live]:
        params = {"page_no": str(number), "page_size": str(wire_format.PAGE_SIZE)}
        page = self._output(self._request("GET", "/deployments", params=params))
        items, total = page.get("deployments"), wire_format.whole_number(page.get("total"))
        if not isinstance(items, list) or (total is not None and total > MOST):
            raise BadAnswerError(
                "a list of deployments without `deployments`, or of no sane length", provider=self._name
            )
        pages = None if total is None else -(-total // wire_format.PAGE_SIZE)
        # A list that does not count ends with an empty page: the server may give fewer a page than were asked for.
        return Page(tuple(map(self._live, items)), total=total, pages=pages, full=bool(items))

    def _create(self, op: Operation) -> Reply:
        identity = PROVIDER.identity(op.desired) or ""
        try:
            live = self._object("POST", "/deployments", wire_format.create_body(op.desired))
        except ProviderError as error:
            if error.effect == "unknown":
                self._unanswered.add(identity)
            elif error.code == "Conflict" and identity in self._unanswered:
                # An earlier create of this run got through after all: it is there, to be looked up, not refused.
                summary = f"{error.message} (an earlier create, whose answer was lost, got through)"
                raise UnavailableError(
                    summary, provider=self._name, effect="unknown", status=error.status, code=error.code
                ) from error
            raise
        return Reply(id=live.id, live=live, memo={"gone": False, "last": "create"})

    def _overflow(self, path: str, body: Mapping[str, Json]) -> Live | None:
        """The documented spelling of the path, then the newer one, where the server does not know the first."""
        try:
            answer = self._request("PUT", f"{path}/updateOverflowStrategy", body=body)
        except RejectedError as error:
            if error.status not in (404, 405):
                raise
            answer = self._request("PUT", f"{path}/update-overflowstrategy", body=body)
        inner = wire_format.output(answer)
        full = isinstance(inner, Mapping) and "deployed_model" in inner and "status" in inner
        return self._live(inner) if full else None

    def _refuse_mixed(self, op: Operation, body: Mapping[str, Json]) -> None:
        want, have = body.get("ptu_capacity"), shown(op, op.live).get("ptu_capacity") if op.live else None
        if isinstance(want, Mapping) and isinstance(have, Mapping) and wire_format.mixed_directions(want, have):
            raise RejectedError(
                "one figure of ptu_capacity would grow while another shrinks, which the provider refuses",
                provider=self._name,
                hint="let all of them grow first, apply, then let all of them shrink (or the other way round)",
            )

    def _object(self, method: str, path: str, body: Mapping[str, Json] | None = None) -> Live:
        return self._live(self._output(self._request(method, path, body=body)))

    def _live(self, raw: Json) -> Live:
        live = wire_format.normalize(raw, self._name)
        return replace(live, reason=self._client.scrub.clean(live.reason)) if live.reason else live

    def _output(self, data: Json) -> Mapping[str, Json]:
        inner = wire_format.output(data)
        if not isinstance(inner, Mapping):
            raise BadAnswerError("an answer without `output`", provider=self._name, effect="unknown")
        return inner

    def _request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Mapping[str, Json] | None = None
    ) -> Json:
        try:
            if body is None:
                return self._client.request(method, path, params=params).data
            return self._client.request(method, path, params=params, json=body).data
        except ProviderError as error:
            raise wire_format.translate(error, method) from error


PROVIDER = ModelStudio()
