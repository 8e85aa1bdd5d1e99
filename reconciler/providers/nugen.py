"""Nugen Intelligence: aligned models that exist already, switched on (deploy) and off (undeploy).

The pure rules of the type, and a connection that makes one request a call (a refused id is tried in its other
spellings). It never sleeps, never makes or deletes a model, never takes a 404 of an unknown path for "gone".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reconciler.core.schemas.probe import chat
from reconciler.core.values.duration import seconds
from reconciler.edge.client import Client, Dialect, segment
from reconciler.model import Json, Live, Probe, ProviderConfig
from reconciler.provider import (
    AccessError,
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
    RejectedError,
    Reply,
    Wait,
    Wire,
)
from reconciler.providers import nugen_wire as wire_format
from reconciler.providers.nugen_wire import bare

SHORT_LAG = 3  # looks that may still show the state before our call
LONG_LAG = 20  # looks after which a task is asked about again
PAGE = 100  # newer list only; the answer decides how many there are

_PATHS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "deploy-model": {
        "deploy": ("POST", "/models/deploy-model/{}"),
        "undeploy": ("DELETE", "/models/undeploy-model/{}"),
        "deploy status": ("GET", "/models/deploy-model/{}/status"),
        "undeploy status": ("GET", "/models/undeploy-model/{}/status"),
    },
    "deployment": {
        "deploy": ("POST", "/models/{}/deployment"),
        "undeploy": ("DELETE", "/models/{}/deployment"),  # documented nowhere: the deploy's path with the other verb
        "deploy status": ("GET", "/models/{}/deployment/status"),
        "undeploy status": ("GET", "/models/{}/deployment/status"),
    },
}


class Nugen:
    """The pure side of the provider type."""

    type = "nugen"
    capabilities = Capabilities(
        page_size=None,
        scales=False,
        updates=False,
        restartable=False,
        create_first=False,  # one model is on or off: nothing to stand beside it
        read_by_id=False,  # the documented API has no read by id: its list is the read
        probes=True,
    )

    def scope(self, settings: Mapping[str, Json]) -> str:
        """The endpoint; whose models are seen depends on the key alone."""
        return endpoint_of(settings)

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        """The alignment id, else the model id without `-deployed`; both where both are declared."""
        alignment, model = spec.get("alignment_id"), spec.get("model_id")
        if any(value is not None and not isinstance(value, str) for value in (alignment, model)):
            return None
        parts = [alignment] if alignment else []
        return " ".join([*parts, bare(model)] if model else parts) or None

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:  # noqa: ARG002 - the port's signature
        """Nothing: a model's identity is the provider's."""
        return {}

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:  # noqa: ARG002 - the port's signature
        """One of the two ids is needed."""
        if spec.get("alignment_id") is None and spec.get("model_id") is None:
            hint = "alignment_id: <the alignment's id, as the list of aligned models gives it>"
            return (Problem("", "needs alignment_id or model_id", hint),)
        return ()

    def next(self, op: Operation) -> Next:
        """What to do next with this operation."""
        if op.verb == "deploy":
            return _next_deploy(op)
        if op.verb == "undeploy":
            return _next_undeploy(op)
        return Failed(f"an aligned model is on or off: there is no {op.verb}", live=op.live)

    def connect(self, config: ProviderConfig, credentials: Mapping[str, str], wire: Wire) -> Provider:
        """A connection with one API key. Raises AccessError where there is none."""
        key = credentials.get("api_key", "").strip()
        if not key:
            hint = "export NUGEN_API_KEY=… (made at platform.nugen.in)"
            raise AccessError("no API key for Nugen", provider=config.key, hint=hint)
        return Connection(config, key, wire)


def endpoint_of(settings: Mapping[str, Json]) -> str:
    """The base URL, with its path prefix."""
    return str(settings.get("endpoint") or wire_format.BASE_URL).rstrip("/")


# --- what to do next ----------------------------------------------------------------------------------------------


def _next_deploy(op: Operation) -> Next:
    live = op.live
    waited_for = op.id is not None and live is not None and live.health in ("pending", "ready")
    if "deploy" not in op.memo and not waited_for:
        if op.memo.get("busy") and not op.looks:
            return Wait("until the undeploy under way is over", str(op.memo["busy"]))
        if live is not None and live.health == "deleting":
            return Wait("until it is switched off", live.status)
        return Call("deploy", creates=True)
    if op.memo.get("asked") == "FAILED":
        return Failed(str(op.memo.get("error") or "the deploy failed"), live=live)
    if live is None:
        if op.looks >= LONG_LAG:
            return Failed("the model is no longer in the list of aligned models", exists=False)
        return Wait("until the list shows it")
    if live.health == "ready":
        return Done(live)
    if live.health == "failed" or live.dormant:
        return _off_again(op, live)
    return Wait("until it is ready", live.status)


def _off_again(op: Operation, live: Live) -> Next:
    """Not on after our deploy: the list trails behind, or the provider went back without a word (it reverts a failed
    deploy to READY). Its task tells which; it is asked once, and rarely again while it says PENDING."""
    asks = int(op.memo.get("asks", 0))
    if op.looks < (LONG_LAG if asks else SHORT_LAG):
        return Wait("until the list shows the deploy", live.status)
    if live.health == "failed" and asks:
        return Failed(live.reason or f"status is {live.status}", live=live)
    if asks > 1 and op.memo.get("asked") != "PENDING":
        return Failed(f"the deploy is over, and the model is {live.status}", live=live)
    return Call("deploy status")


def _next_undeploy(op: Operation) -> Next:
    live = op.live
    if op.memo.get("off"):
        return Done(None)
    if "undeploy" not in op.memo:
        if op.memo.get("busy") and not op.looks:
            return Wait("until the deploy under way is over", str(op.memo["busy"]))
        if live is not None and (live.health == "deleting" or (live.health == "pending" and op.memo.get("busy"))):
            return Wait("until what is under way is over", live.status)
        return Call("undeploy")
    if op.memo.get("asked") == "FAILED":
        return Failed(str(op.memo.get("error") or "the undeploy failed"), live=live)
    if live is None or live.dormant:  # undeployed models stay in the list; one that left it serves nothing either
        patience = 1 if live is not None else SHORT_LAG
        return Done(None) if op.looks >= patience else Wait("until it is switched off", live.status if live else "")
    if live.health == "deleting" or op.looks < LONG_LAG:
        return Wait("until it is switched off", live.status)
    return Call("undeploy status")


# --- the connection -----------------------------------------------------------------------------------------------


class Connection:
    """Requests with one API key. May be used from several threads at once."""

    def __init__(self, config: ProviderConfig, key: str, wire: Wire) -> None:
        settings = config.settings
        rate = settings.get("requests_per_second")
        self._name = config.key
        self._style = str(settings.get("api_style") or "deploy-model")
        self._client = Client(
            provider=config.key,
            base_url=endpoint_of(settings),
            dialect=Dialect(request_id=wire_format.request_id, explain=wire_format.explain),
            wire=wire,
            authorize={"Authorization": f"Bearer {key}"},
            timeout=seconds(settings.get("timeout", 30)),
            max_concurrency=int(settings.get("max_concurrency", PROVIDER.capabilities.max_concurrency)),
            requests_per_second=None if rate is None else float(rate),
            ca_cert=settings.get("ca_cert"),
            secrets=(key,),
        )
        self._unanswered: set[str] = set()  # identities of deploys whose answer was lost in this run

    def list(self) -> Sequence[Live]:
        """All aligned models, switched off ones included. A 404 `No aligned models found` is an empty list.

        A newer list has pages but no count: several are read again until a pass shows nothing new.
        """
        found: dict[str, Live] = {}
        while True:
            known = len(found)
            if self._pass(found) <= 1 or len(found) == known:
                return tuple(found.values())

    def read(self, id: str) -> Live | None:  # noqa: A002 - the port's name
        """One model out of the list, by any spelling of its id; None where the list lacks it."""
        return _pick(self.list(), ids=(id,))

    def send(self, op: Operation, call: Call) -> Reply:
        """Make the request that `call` names."""
        if call.step == "deploy":
            return self._deploy(op)
        if call.step == "undeploy":
            return self._undeploy(op)
        return self._ask(op, call.step)

    def look(self, waiting: Sequence[Operation]) -> Mapping[str, Live | None]:
        """One list for all waiters; models that are switched off are given too."""
        objects = self.list()
        return {op.address: _match(objects, op) for op in waiting}

    def find(self, op: Operation, call: Call) -> Reply | Conflict | None:
        """Whether a deploy whose answer was lost took effect: the model is on, or on its way."""
        live = _match(self.list(), op)
        if live is None or live.health not in ("pending", "ready"):
            return None
        return Reply(id=live.id, live=live, memo={call.step: True})

    def probe_problem(self) -> None:
        """None: the key that switches models on also asks them."""

    def probe(self, op: Operation, probe: Probe) -> Probed:
        """One inference call, as the pages and the cookbook have it; `model` is the id that the model has now."""
        model = str(op.live.computed.get("id") or op.live.id) if op.live is not None else op.id or ""
        asked = chat(probe, path="/inference/chat/completions", model=model, id_=model)
        return self._client.ask(asked.method, asked.path, asked.body)

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()

    # --- calls

    def _pass(self, found: dict[str, Live]) -> int:
        """Read all pages into `found` (by id, the one that is on first); how many pages held something."""
        pages, seen = 0, set[str]()
        while True:
            page = self._page(len(seen))
            if not {live.id for live in page} - seen:  # how many fit on a page is documented nowhere
                return pages
            pages += 1
            seen |= {live.id for live in page}
            found.update((live.id, live) for live in page if not live.dormant or live.id not in found)
            if self._style != "deployment":
                return pages

    def _page(self, offset: int) -> Sequence[Live]:
        params = {"limit": str(PAGE), "offset": str(offset)} if self._style == "deployment" else None
        try:
            data = self._client.request("GET", "/models/aligned", params=params).data
        except ProviderError as error:
            if wire_format.is_empty_list(error):
                return ()
            raise self._told(error) from error
        found = (wire_format.normalize(item, self._name) for item in wire_format.items_of(data, self._name))
        return [replace(live, reason=self._client.scrub.clean(live.reason)) if live.reason else live for live in found]

    def _deploy(self, op: Operation) -> Reply:
        identity = PROVIDER.identity(op.desired) or op.address
        provider = op.desired.get("inference_provider")
        headers = {"X-Provider": str(provider)} if provider else None
        params = {"early": "true"} if op.desired.get("early") else None
        live = op.live if op.live is not None else _match(self.list(), op)
        known = live.id if live is not None else op.id
        try:
            answered, model_id = self._try("deploy", _ids(op, live), params=params, headers=headers)
        except ProviderError as error:
            if error.effect == "unknown":
                self._unanswered.add(identity)
            status = wire_format.current_status(error)
            if status == "UNDEPLOYING":
                return Reply(memo={"busy": status})
            if status in ("DEPLOYED", "DEPLOYING"):
                begun = op.prior is not None and op.prior.pending is not None and op.prior.pending.verb == "deploy"
                if identity in self._unanswered or begun:  # ours: its answer was lost, or an earlier run left it
                    return Reply(id=known, memo={"deploy": True})
                raise self._by_another(op, error, status) from error
            raise
        return Reply(id=known or bare(wire_format.answered_id(answered, model_id)), memo={"deploy": True})

    def _undeploy(self, op: Operation) -> Reply:
        try:
            self._try("undeploy", self._known_ids(op))
        except NotFoundError:
            return Reply(id=op.id, memo={"undeploy": True, "off": True})
        except ProviderError as error:
            status = wire_format.current_status(error)
            if status == "UNDEPLOYING":
                return Reply(id=op.id, memo={"undeploy": True})
            if status == "DEPLOYING":
                return Reply(id=op.id, memo={"busy": status})
            if status in wire_format.OFF or status == "FAILED":
                return Reply(id=op.id, memo={"undeploy": True, "off": True})  # nothing to switch off
            raise
        return Reply(id=op.id, memo={"undeploy": True})

    def _ask(self, op: Operation, step: str) -> Reply:
        """What the provider says of the task; a task that it does not know is NONE."""
        try:
            data, _ = self._try(step, self._known_ids(op))
            asked, error = wire_format.task_of(data)
        except NotFoundError:
            asked, error = "NONE", ""
        if step == "undeploy status" and asked == "FAILED" and not error:
            error = "the undeploy failed"
        memo = {"asked": asked, "error": self._client.scrub.clean(error), "asks": int(op.memo.get("asks", 0)) + 1}
        return Reply(id=op.id, memo=memo)

    def _try(
        self,
        step: str,
        ids: Sequence[str],
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Json, str]:
        """The answer and the id that was known: the first of `ids` that does not give `Model not found`."""
        method, path = _PATHS[self._style][step]
        for last, model_id in ((number == len(ids) - 1, model_id) for number, model_id in enumerate(ids)):
            try:
                answer = self._client.request(method, path.format(segment(model_id)), params=params, headers=headers)
            except ProviderError as error:
                told = self._told(error, step)
                if isinstance(told, NotFoundError) and not last:
                    continue
                raise told from error
            return answer.data, model_id
        raise RejectedError(f"no id to {step}", provider=self._name)

    def _known_ids(self, op: Operation) -> Sequence[str]:
        return _ids(op, op.live if op.live is not None else _match(self.list(), op))

    def _told(self, error: ProviderError, step: str = "") -> ProviderError:
        """The same error, with what it means here."""
        if error.code == wire_format.NO_PATH:
            return wire_format.wrong_path(error, self._style, step)
        if error.status == 403 and "not authenticated" in error.message.lower():
            return wire_format.no_key(error)
        return error

    def _by_another(self, op: Operation, error: ProviderError, status: str) -> ProviderError:
        return RejectedError(
            f"{error.message}: somebody else switched it on since the plan ({status})",
            provider=self._name,
            status=error.status,
            request_id=error.request_id,
            hint=f"take it over (`adopt: true`, or `reconciler import {op.address} ID`), then plan again",
        )


def _ids(op: Operation, live: Live | None) -> Sequence[str]:
    """The ids that may stand for the model in a path: the list's current one, the alignment's, then bare ones."""
    prior = op.prior.spec if op.prior is not None else {}
    named = (
        live.computed.get("id") if live is not None else None,
        live.attributes.get("alignment_id") if live is not None else None,
        *(spec.get(name) for spec in (op.desired, prior) for name in ("model_id", "alignment_id")),
        op.id,
    )
    known = [name for name in named if isinstance(name, str) and name]
    return tuple(dict.fromkeys([*known, *map(bare, known)]))


def _match(objects: Iterable[Live], op: Operation) -> Live | None:
    """The waiter's model in a list: by its identity, or by an id of it."""
    identity = PROVIDER.identity(op.desired) or (op.prior.identity if op.prior is not None else None)
    return _pick(objects, identity=identity, ids=(op.id, op.prior.id if op.prior is not None else None))


def _pick(objects: Iterable[Live], *, identity: str | None = None, ids: Iterable[str | None] = ()) -> Live | None:
    """The model of that identity (of several: the one with the id, then one that is on), else the one with the id."""
    wanted = {bare(one) for one in ids if one}
    fitting = [live for live in objects if identity in live.identities or bare(live.id) in wanted]
    ranked = sorted(
        fitting,
        key=lambda live: (identity not in live.identities, bare(live.id) not in wanted, live.dormant, live.id),
    )
    return ranked[0] if ranked else None


PROVIDER = Nugen()
