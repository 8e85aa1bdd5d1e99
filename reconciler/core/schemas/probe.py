"""The `probe` of a deployment: read from the file, written as JSON, made a request, held against a status. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.digest import canonical
from reconciler.core.values.duration import seconds
from reconciler.core.values.paths import split
from reconciler.core.values.tree import get, same
from reconciler.model import Json, Probe

ID = "{id}"
PATH = re.compile(r"/[!-\"$-~]*")  # as in the schema: what a request line can hold, without a fragment


class Complain(Protocol):
    """Tells an error at a path below `probe`."""

    def __call__(self, summary: str, *path: str, hint: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The request of a probe; `body` is None where it has none."""

    method: str
    path: str
    body: Json

    @property
    def line(self) -> str:
        """`METHOD path`, for the reader."""
        return f"{self.method} {self.path}"


def read_probe(
    body: Mapping[str, Json],
    defaults: Mapping[str, Json],
    spec: Mapping[str, Json],
    schema: ProviderSchema,
    *,
    probes: bool,
    complain: Complain,
) -> Probe | None:
    """The probe that an entry of `deployments:` asks for, with what `defaults:` says below it; None where it asks none.

    An entry's own `probe:` (null) switches off what the defaults ask for. `probes`: the provider type can be probed.
    """
    under, own = defaults.get("probe"), body.get("probe")
    if ("probe" in body and own is None) or (own is None and under is None):
        return None
    words: dict[str, Json] = {**(under or {}), **(own or {})}
    if not probes:
        complain(f"deployments of {schema.type} can't be probed", hint="take `probe` out")
        return None
    if words.get("body") is not None and words.get("method") == "GET":
        complain("`body` goes with the method POST alone", "body")
    times: dict[str, float] = {}
    for name in ("timeout", "interval"):
        if words.get(name) is None:
            continue
        try:
            times[name] = seconds(words[name])
        except (ValueError, TypeError):
            continue  # a reference that was complained about
        if times[name] <= 0:
            complain(f"`{name}` of a probe must be longer than nothing", name)
    probe = Probe(
        words.get("path"), words.get("method"), words.get("body"), _statuses(words.get("expect_status")), **times
    )
    for path, value in schema.silent.items():
        if same(get(spec, split(path)), value) and _expects_inference(probe):
            hint = "take `probe` out (`probe: null` where the defaults ask for one), or set this otherwise"
            complain(f"no probe is ever answered while {path} is {canonical(value)}", hint=hint)
    return probe


def _expects_inference(probe: Probe) -> bool:
    """Whether it asks what the provider type asks by default, and wants a success; anything else is its owner's."""
    return probe.path is None and all(200 <= status < 300 for status in probe.expect_status)


def _statuses(value: Json) -> tuple[int, ...]:
    found = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(status for status in found if isinstance(status, int))


def probe_to_json(probe: Probe | None) -> dict[str, Json] | None:
    """The probe as state, plan and reader see it: what it leaves to the provider type is left out; times in seconds."""
    if probe is None:
        return None
    out: dict[str, Json] = {
        name: value for name in ("path", "method", "body") if (value := getattr(probe, name)) is not None
    }
    if probe.expect_status:
        out["expect_status"] = list(probe.expect_status)
    return {**out, "timeout": probe.timeout, "interval": probe.interval}


def probe_from_json(data: Json) -> Probe:
    """The probe that `probe_to_json` wrote. Raises ValueError, saying which member is wrong, for anything else."""
    if not isinstance(data, dict):
        raise ValueError("it is not an object")
    unknown = sorted({*data} - {"path", "method", "body", "expect_status", "timeout", "interval"})
    if unknown:
        raise ValueError(f"{unknown[0]} is no member of a probe")
    path, method, statuses = data.get("path"), data.get("method"), data.get("expect_status", [])
    if path is not None and not (isinstance(path, str) and PATH.fullmatch(path)):
        raise ValueError("path is no path")
    if method not in (None, "GET", "POST"):
        raise ValueError("method is neither GET nor POST")
    if data.get("body") is not None and not isinstance(data["body"], dict):
        raise ValueError("body is not an object")
    if not isinstance(statuses, list) or not all(type(status) is int for status in statuses):
        raise ValueError("expect_status is no list of whole numbers")
    times = {name: data[name] for name in ("timeout", "interval") if name in data}
    for name, value in times.items():
        if type(value) not in (int, float) or not 0 < value < 1e9:
            raise ValueError(f"{name} is not a number of seconds above 0")
    times = {name: float(value) for name, value in times.items()}
    return Probe(path, method, data.get("body"), tuple(statuses), **times)


def request_of(probe: Probe, *, path: str, body: Mapping[str, Json], id_: str, **filled: Json) -> Asked:
    """The request: `path` and `body` are the provider type's defaults, `filled` what every body of it needs (`model`).

    A path of one's own is asked with GET unless a body or POST is said. In a body that is said, `filled` adds what
    is missing.
    """
    method = probe.method or ("GET" if probe.path is not None and probe.body is None else "POST")
    where = (probe.path if probe.path is not None else path).replace(ID, quote(id_, safe=""))
    if method == "GET":
        return Asked(method, where, None)
    said: Json = probe.body if probe.body is not None else body if probe.path is None else {}
    return Asked(method, where, {**filled, **said} if isinstance(said, Mapping) else said)


def chat(probe: Probe, *, path: str, model: str, id_: str) -> Asked:
    """The same for an endpoint that speaks OpenAI's form: by default one message, and one token as the answer."""
    body: dict[str, Json] = {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
    return request_of(probe, path=path, body=body, id_=id_, model=model)


def answers(probe: Probe, status: int) -> bool:
    """Whether this status counts as an answer."""
    return status in probe.expect_status if probe.expect_status else 200 <= status < 300


def expected(probe: Probe) -> str:
    """The statuses that count, for the reader."""
    return " or ".join(map(str, probe.expect_status)) or "2xx"
