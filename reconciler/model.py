"""The values that a plan is made from: desired, live and prior state. Frozen, without behaviour; `plan` has the rest.

Places that hold user data use plain JSON values (`Json`). Two leaves may stand inside a desired `spec` instead of a
plain value: `Secret` (never printed, compared by digest) and `Unknown` (a reference that the plan can't resolve yet).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from reconciler.diagnostics import Diagnostic, Span

# None | bool | int | float | str | list[Json] | dict[str, Json]; where a docstring says "value tree", Secret and
# Unknown leaves may occur too.
Json: TypeAlias = Any

Health = Literal["pending", "updating", "ready", "degraded", "stopped", "failed", "deleting", "unknown"]
HealthKind = Literal["in", "steady", "out", "failed"]
Verb = Literal["deploy", "scale", "update", "undeploy"]
Presence = Literal["always", "on_demand"]

HEALTH_KIND: Mapping[Health, HealthKind] = {
    "pending": "in",
    "updating": "in",
    "unknown": "in",
    "ready": "steady",
    "degraded": "steady",
    "stopped": "steady",
    "failed": "failed",
    "deleting": "out",
}


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A sensitive value. `template` is the reference text it came from (`${env.HF_TOKEN}`), None for a literal."""

    value: Json
    template: str | None = None

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A string of the file with a `${deployments.…}` reference in it that is not resolved (yet).

    `template` is the text as written, `${…}` included; a template that is one reference keeps the value's type.
    """

    template: str
    sensitive: bool = False


# --- the desired side -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lifecycle:
    prevent_undeploy: bool = False
    create_before_undeploy: bool = False
    ignore_changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds an action of that verb may take before it is given up (the deployment stays in the state)."""

    deploy: float = 1800.0
    scale: float = 900.0
    update: float = 900.0
    undeploy: float = 900.0


# What most deployments have. Shared, so that two of them are found equal without a look inside.
DEFAULT_LIFECYCLE = Lifecycle()
DEFAULT_TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class Probe:
    """The request that a deployment must answer before its deploy is done; None stands for the provider type's default.

    `path` begins with a slash and continues the place where inference goes; `{id}` in it is the deployment's id.
    `expect_status` empty: any 2xx. `timeout` is how long it is tried, `interval` the pause between two tries: seconds.
    """

    path: str | None = None
    method: Literal["GET", "POST"] | None = None
    body: Json = None
    expect_status: tuple[int, ...] = ()
    timeout: float = 120.0
    interval: float = 5.0


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One entry of `providers:`, resolved. `settings` holds no credentials; `scope` is what its ids live in."""

    key: str
    type: str
    settings: Mapping[str, Json]
    scope: str
    credentials: Mapping[str, Secret] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """One declared deployment after variables, `for_each` and defaults.

    `spec` is a value tree with schema defaults filled in. `derived` names the attributes of `spec` that were not
    written but derived from the address: they take the recorded value once the address is in the state, so that a
    move changes nothing. `references` are the `${deployments.…}` it contains as (address, attribute path).
    `depends_on` is complete: explicit and implicit, instances expanded, sorted. `spans` maps attribute paths of
    `spec` (dotted, `a.b[0]`) to places; the empty path is the address itself.
    """

    address: str
    provider: str
    type: str
    spec: Mapping[str, Json]
    derived: frozenset[str] = frozenset()
    references: tuple[tuple[str, str], ...] = ()
    depends_on: tuple[str, ...] = ()
    lifecycle: Lifecycle = DEFAULT_LIFECYCLE
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    adopt: bool = False
    presence: Presence = "always"
    probe: Probe | None = None
    spans: Mapping[str, Span] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_undeploys` is a number or a text like `20%`; `max_hourly_cost` maps currency to amount ("*": any)."""

    max_undeploys: int | str | None = None
    max_hourly_cost: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moved:
    source: str
    target: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    address: str
    action: Literal["forget", "undeploy"] = "undeploy"
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole desired-state file, loaded, interpolated, validated and expanded. `outputs` are value trees."""

    name: str
    providers: Mapping[str, ProviderConfig]
    deployments: Mapping[str, Desired]
    moved: tuple[Moved, ...] = ()
    removed: tuple[Removed, ...] = ()
    outputs: Mapping[str, Json] = field(default_factory=dict)
    limits: Limits = Limits()
    warnings: tuple[Diagnostic, ...] = ()


# --- the live side ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Live:
    """One object at a provider, in canonical form.

    `identities` are the strings by which a declared deployment may recognise it (`ProviderType.identity` gives the
    desired side). `attributes` holds the spec attributes that the provider returned, by the schema's names and types;
    an attribute that it did not return is absent. `computed` holds what can be referenced beside those. A `dormant`
    object exists but serves nothing (an aligned model that is switched off, a registered model): not live, never
    unmanaged. `status` and `reason` are the provider's own words: untrusted text. `extra` is the adapter's own, but
    for two members that a file made of it may need: `declare` (the spec to write down), `missing` (names it lacks).
    """

    id: str
    identities: tuple[str, ...]
    name: str
    attributes: Mapping[str, Json]
    computed: Mapping[str, Json]
    status: str
    health: Health
    dormant: bool = False
    reason: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """What one provider answered: everything it has, and one by-id look for what the state knows but the list lacks.

    `gone` are recorded ids that a read by id confirmed as absent. `unreadable` maps recorded ids to the reason why
    they could not be read (403 or anything but "not found").
    """

    objects: tuple[Live, ...] = ()
    gone: frozenset[str] = frozenset()
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Live state of every provider looked at, by provider key; `failed` maps keys to why they could not be read."""

    listings: Mapping[str, Listing] = field(default_factory=dict)
    failed: Mapping[str, Diagnostic] = field(default_factory=dict)


# --- the prior side ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pending:
    """What an earlier run left unfinished on a recorded deployment: the verb, since when (RFC 3339), and why."""

    verb: Verb
    since: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One deployment as the state knows it.

    `spec` is what was applied, sensitive values as `{"$digest": "…"}`. `id` is None while only things beside it
    (`created`: e.g. a model group) exist. `trusted` are attribute paths taken on trust at an import. Times are RFC 3339
    in UTC; `deployed_at` is the last known deploy.
    """

    address: str
    provider: str
    type: str
    id: str | None
    identity: str
    name: str
    spec: Mapping[str, Json]
    computed: Mapping[str, Json] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    lifecycle: Lifecycle = DEFAULT_LIFECYCLE
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    retain: bool = False
    presence: Presence = "always"
    probe: Probe | None = None
    created: Mapping[str, str] = field(default_factory=dict)
    health: Health = "unknown"
    status: str = ""
    pending: Pending | None = None
    trusted: tuple[str, ...] = ()
    generation: int = 0
    created_at: str = ""
    updated_at: str = ""
    deployed_at: str = ""


@dataclass(frozen=True, slots=True)
class RecordedProvider:
    type: str
    scope: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """The state of one stack: snapshot plus replayed journal. `digest_key` is 64 hex digits, never in a plan."""

    stack: str
    lineage: str
    serial: int
    digest_key: str
    providers: Mapping[str, RecordedProvider] = field(default_factory=dict)
    outputs: Mapping[str, Json] = field(default_factory=dict)
    deployments: Mapping[str, Recorded] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Writer:
    """Which run wrote something down: its id and command, who ran it where, and when it began (RFC 3339, UTC)."""

    run: str
    command: str
    user: str
    host: str
    at: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A creating request that was about to be sent, on disk before it was.

    `id` is unique; `step` is the adapter's name for the call; `entry` is the record that stands once the call is known
    to have worked (its `id` is filled in by the outcome); `answered` says whether an outcome followed. `by` is the run
    that wrote it, None while that run goes on; who wrote it does not make it another intent.
    """

    id: str
    address: str
    verb: Verb
    step: str
    entry: Recorded
    memo: Mapping[str, Json] = field(default_factory=dict)
    by: Writer | None = field(default=None, compare=False)
