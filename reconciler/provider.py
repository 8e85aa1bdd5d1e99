"""The port: what the engine may ask of a provider, and nothing else about any of them.

A provider type is a pure object (`ProviderType`) plus `connect`, which gives a `Provider` that talks. An action on one
deployment is an `Operation`; the adapter's pure `next` says what to do with it next (a call, a wait, done, failed), the
engine does it: one HTTP request per `send`, one look for all waiters per `look`. Adapters never sleep, never retry a
request that creates something, never write state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from reconciler.diagnostics import Diagnostic, ReconcilerError
from reconciler.model import Json, Live, Probe, ProviderConfig, Recorded, Verb


# --- errors, named by what the caller can do ----------------------------------------------------------------------
class ProviderError(ReconcilerError):
    """A provider refused, failed or could not be reached.

    `effect` says whether the request can have done something: "none" (refused or never sent) or "unknown" (the answer
    was lost, unreadable, or a 5xx). `retry_after` is in seconds.
    """

    def __init__(
        self,
        summary: str,
        *,
        provider: str,
        effect: Literal["none", "unknown"] = "none",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        detail: str = "",
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            Diagnostic(summary=summary, provider=provider, request_id=request_id, detail=detail, hint=hint)
        )
        self.provider = provider
        self.effect = effect
        self.status = status
        self.code = code
        self.request_id = request_id
        self.message = summary
        self.retry_after = retry_after


class NotFoundError(ProviderError):
    """404: the object (or the path) is not there."""


class RejectedError(ProviderError):
    """Any other 4xx: sending it again gives the same answer."""


class AccessError(ProviderError):
    """401 or 403: credentials are wrong, missing or lack a right. Never means absent."""


class ThrottledError(ProviderError):
    """429, or a provider's own throttling code: nothing was done, send it later."""


class UnavailableError(ProviderError):
    """5xx or a lost answer after the retries that were allowed; see `effect`."""


class UnreachableError(ProviderError):
    """No connection, DNS, TLS: the request never left. `effect` is "none"."""


class BadAnswerError(ProviderError):
    """Not the JSON that was promised: HTML, an empty or cut body, a missing field."""


# --- one deployment's action --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Operation:
    """An action under way. `desired` is fully resolved, secrets in clear: it never leaves memory ({} on undeploy).

    `mark` is `reconciler:<lineage>/<address>/<intent>`; adapters put it where the provider has a text field of ours.
    `live` is the latest look, None before the first. `memo` is what earlier calls of this operation returned (merged
    `Reply.memo`, JSON, no secrets) and survives a kill; `prior` is the recorded deployment, with `created` holding what
    stands beside it. `changes` are the attribute paths that an update or scale must change. `removed` is what the same
    action has undeployed just before, by its id: a list that lags may show it still, and it is not what a call made.
    """

    verb: Verb
    address: str
    mark: str
    desired: Mapping[str, Json]
    prior: Recorded | None = None
    live: Live | None = None
    changes: tuple[str, ...] = ()
    memo: Mapping[str, Json] = field(default_factory=dict)
    id: str | None = None
    created: Mapping[str, str] = field(default_factory=dict)
    removed: str | None = None
    looks: int = 0  # looks since the last call, so that an adapter can allow a list some lag


@dataclass(frozen=True, slots=True)
class Call:
    """Send one request. `creates`: something (a deployment, a group, a running model) comes into being by it, so an
    intent is on disk first and a lost answer is looked up, never blindly repeated. `args` is the adapter's own."""

    step: str
    creates: bool = False
    args: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again later. `what` is for the reader ("until it is ready"); `status` is the provider's own word."""

    what: str
    status: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The deployment is as wanted: `live` as last seen, None when it is gone."""

    live: Live | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider says that it failed. The deployment stays in the state (as failed) when `exists`."""

    reason: str
    exists: bool = True
    live: Live | None = None


Next: TypeAlias = Call | Wait | Done | Failed


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call gave: the deployment's id once known, things made beside it, the object if the answer held it."""

    id: str | None = None
    created: Mapping[str, str] = field(default_factory=dict)
    live: Live | None = None
    memo: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conflict:
    """`find` saw something that fits but can't be shown to be ours; `choices` are commands to choose from."""

    message: str
    id: str | None = None


# --- a provider ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts as data; they feed code, docs and the contract suite."""

    page_size: int | None  # objects per list request at most; None: the list has no pages
    scales: bool
    updates: bool
    restartable: bool  # a call exists that starts a stopped or failed deployment again, under the same id
    create_first: bool  # two deployments that differ only in what is derived may stand side by side
    read_by_id: bool
    min_poll_interval: float = 0.5
    max_concurrency: int = 8
    found_by: str = "identity"  # what finds an interrupted create again: "identity" or "mark"
    probes: bool = False  # its connections are `Probing`: a deployment can be asked for an inference


@dataclass(frozen=True, slots=True)
class Wire:
    """What the outside gives to every client; `transport` is an httpx transport (the sandbox's), None for the network.

    `sleep` waits before a retry (None: a wait that ends when the client is closed). `secrets` are texts of the file,
    beside the credentials, that an answer may throw back and nobody may read. `throttled` hears of each wait that a
    provider (by its key) asked for, when it begins (True) and when it is over (False), on any thread.
    """

    transport: object | None = None
    log: Callable[[str], None] | None = None
    pool_size: int = 16
    sleep: Callable[[float], None] | None = None
    secrets: Sequence[str] = ()
    throttled: Callable[[str, bool], None] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A limit that a schema can't say, at one attribute path of `spec`."""

    path: str
    message: str
    hint: str = ""


@runtime_checkable
class Provider(Protocol):
    """A connected provider instance. Methods may be called from several threads at once."""

    def list(self) -> Sequence[Live]:
        """Everything in scope, all pages at the largest page size, dormant objects included.

        Raises ProviderError; a failed list is never an empty list.
        """

    def read(self, id: str) -> Live | None:  # noqa: A002 - the field's standard term
        """One object by its id; None only if the provider says that it is not there."""

    def send(self, op: Operation, call: Call) -> Reply:
        """Make the one request that `call` names. Raises ProviderError with a truthful `effect`."""

    def look(self, waiting: Sequence[Operation]) -> Mapping[str, Live | None]:
        """One look for all waiters: address -> live, None where it is absent. A constant number of requests."""

    def find(self, op: Operation, call: Call) -> Reply | Conflict | None:
        """After a lost answer: what `call` made (recognised by identity or mark), a conflict, or None if absent."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Probed:
    """What came back for one probe, whatever it was. `request` is `METHOD path` for the reader; `text` is the beginning
    of the body, without our credentials and otherwise untrusted; `seconds` is how long the answer took."""

    request: str
    status: int
    text: str
    seconds: float


@runtime_checkable
class Probing(Protocol):
    """What a `Provider` can do beside, where its type has `capabilities.probes`."""

    def probe_problem(self) -> Problem | None:
        """Why no deployment can be probed over this connection (a credential is missing); None where it can."""

    def probe(self, op: Operation, probe: Probe) -> Probed:
        """Ask the deployment `op.live`, which is ready, once, with this probe. Never retries, never judges the answer.

        Raises ProviderError where none came.
        """


class ProviderType(Protocol):
    """The pure side of a provider type; a module `reconciler.providers.<type>` exports one as `PROVIDER`."""

    type: str
    capabilities: Capabilities

    def scope(self, settings: Mapping[str, Json]) -> str:
        """What ids live in, as one string for people (endpoint, org and project, workspace and region, cluster)."""

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        """The string that one of a matching `Live.identities` equals; None while it can't be known."""

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:
        """Values for the attributes with `x-default: derived` that `spec` lacks."""

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:
        """Limits that the schema can't say. `spec` may hold Secret and Unknown leaves: skip those."""

    def next(self, op: Operation) -> Next:
        """Pure: what to do next with this operation."""

    def connect(self, config: ProviderConfig, credentials: Mapping[str, str], wire: Wire) -> Provider:
        """A provider that talks. Raises AccessError where credentials are missing or plainly wrong."""
