"""The journal as text and as meaning: record types, one checked line each, and what they add to a snapshot.

Pure: `edge/store.py` has the files. A line is `<crc32> <batch> <json>`: the checksum tells damage, the batch
(what one sync wrote, named by the number of its first line) tells a torn tail from it. Only the last batch can be torn,
because it began after the one before had been synced; what it loses was never acknowledged, so nothing was done on the
strength of it.

Facts are absolute ("this entry is now so"), so replaying twice says nothing new. The effective serial is the
snapshot's, plus one if the journal says something new; folding the journal into a snapshot of that serial therefore
makes no plan stale. Facts written on top of an older serial than the snapshot's have been folded already and are
skipped; open intents never are, because nothing but their closing closes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import ClassVar, Literal, TypeAlias
from zlib import crc32

from reconciler.core.state.state_codec import (
    provider_to_json,
    providers_from_json,
    recorded_from_json,
    recorded_to_json,
)
from reconciler.diagnostics import Diagnostic, StateError
from reconciler.model import Intent, Json, Recorded, RecordedProvider, State, Writer

JOURNAL_VERSION = 1


# --- records ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RunStarted:
    """A command begins to write. `serial` and `lineage` are those of the snapshot that it builds on, `at` is RFC 3339
    in UTC, `actions` is how many it is going to take, `command` holds no values of options. `reached` is how far a run
    came that did not end, that nobody was told of yet, and whose records have been folded (see `LastRun.step`)."""

    kind: ClassVar[str] = "run_started"
    run: str
    command: str
    user: str
    host: str
    at: str
    serial: int
    lineage: str
    actions: int = 0
    reached: str = ""

    @property
    def writer(self) -> Writer:
        """The run as what it writes is signed with."""
        return Writer(self.run, self.command, self.user, self.host, self.at)


@dataclass(frozen=True, slots=True)
class IntentWritten:
    kind: ClassVar[str] = "intent"
    intent: Intent


@dataclass(frozen=True, slots=True)
class IntentClosed:
    """How a creating request ended: answered, proven absent, or refused by the provider."""

    kind: ClassVar[str] = "intent_closed"
    id: str
    result: Literal["answered", "absent", "refused"]


@dataclass(frozen=True, slots=True)
class EntrySet:
    kind: ClassVar[str] = "entry"
    entry: Recorded


@dataclass(frozen=True, slots=True)
class EntryRemoved:
    kind: ClassVar[str] = "entry_removed"
    address: str


@dataclass(frozen=True, slots=True)
class OutputsSet:
    kind: ClassVar[str] = "outputs"
    outputs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ProvidersSet:
    kind: ClassVar[str] = "providers"
    providers: Mapping[str, RecordedProvider]


@dataclass(frozen=True, slots=True)
class RunEnded:
    kind: ClassVar[str] = "run_ended"
    run: str
    result: str


Record: TypeAlias = (
    RunStarted | IntentWritten | IntentClosed | EntrySet | EntryRemoved | OutputsSet | ProvidersSet | RunEnded
)


_RUN = tuple(item.name for item in fields(RunStarted) if item.name != "reached")


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last command that wrote. `result` is None while it runs, and for ever if it was killed; `step` is the last
    thing it wrote down (`deploy chat: create`, `chat is ready`), for the reader."""

    started: RunStarted
    result: str | None = None
    step: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """`state` has the effective serial. `untold` is a run that did not end and that nobody has been told of: the last
    one, or one before it where the last wrote without telling. `torn` says that an unfinished tail was left out;
    `pending` that the journal holds more than a fresh one would (facts or intents), so that a fold has something to
    do."""

    state: State | None
    intents: tuple[Intent, ...] = ()
    last_run: LastRun | None = None
    untold: LastRun | None = None
    torn: bool = False
    pending: bool = False


# --- one line a record --------------------------------------------------------------------------------------------
def encode(record: Record, batch: int) -> bytes:
    """One line with its end; `batch` is the number (from 1) of the first line that its sync writes.

    Raises TypeError or ValueError for anything that is not JSON (a Secret, say).
    """
    body = json.dumps({"record": record.kind, **_fields(record)}, sort_keys=True, allow_nan=False)
    text = f"{batch} {body}".encode("ascii")
    return b"%08x %b\n" % (crc32(text), text)


def decode(line: bytes) -> tuple[int, dict[str, Json]] | None:
    """Batch and fields of a line without its end; None where the line is not whole."""
    checksum, _, text = line.partition(b" ")
    if len(checksum) != 8 or checksum != b"%08x" % crc32(text):
        return None
    batch, _, body = text.partition(b" ")
    try:
        fields = json.loads(body)
        return (int(batch), fields) if type(fields) is dict else None
    except (ValueError, RecursionError):
        return None


def _fields(record: Record) -> dict[str, Json]:
    match record:
        case IntentWritten(intent):
            return {
                "id": intent.id,
                "address": intent.address,
                "verb": intent.verb,
                "step": intent.step,
                "memo": intent.memo,
                "entry": recorded_to_json(intent.entry),
                "entry_address": intent.entry.address,
                **({} if intent.by is None else {"by": asdict(intent.by)}),
            }
        case EntrySet(entry):
            return {"address": entry.address, "entry": recorded_to_json(entry)}
        case OutputsSet(outputs):
            return {"outputs": outputs}
        case ProvidersSet(providers):
            return {"providers": {key: provider_to_json(providers[key]) for key in sorted(providers)}}
        case RunStarted():
            return {"version": JOURNAL_VERSION, **asdict(record)}
        case IntentClosed(id, result):
            return {"id": id, "result": result}
        case EntryRemoved(address):
            return {"address": address}
        case RunEnded(run, result):
            return {"run": run, "result": result}


# --- replay -------------------------------------------------------------------------------------------------------
def read_lines(data: bytes, *, file: str = "the journal") -> tuple[list[dict[str, Json]], bool]:
    """The records of a journal up to the first damaged line, and whether its tail is torn.

    Whole lines of the same batch may follow a damaged one: a later page may reach the disk before an earlier one.
    Raises StateError where a later batch follows it, for then it had been synced and was damaged afterwards.
    """
    lines = data.split(b"\n")
    unfinished = lines.pop() != b""
    records: list[dict[str, Json]] = []
    damaged = 0
    for number, line in enumerate(lines, start=1):
        decoded = decode(line)
        if decoded is None:
            damaged = damaged or number
        elif not damaged:
            records.append(decoded[1])
        elif decoded[0] > damaged:
            raise _unusable(file, f"line {damaged} is damaged, and whole lines follow it")
    return records, bool(damaged or unfinished)


def replay(state: State | None, data: bytes | Sequence[bytes], *, file: str = "the journal") -> Replayed:
    """What snapshot and journal say together. `data` is the journal's bytes, or its lines without their ends.

    Raises StateError: damaged, written by a newer version, or facts that belong to another state or to none.
    """
    raw = data if isinstance(data, bytes) else b"".join(line.rstrip(b"\n") + b"\n" for line in data)
    records, torn = read_lines(raw, file=file)
    folding = _Folding(state, file)
    for record in records:
        try:
            folding.take(record)
        except (KeyError, TypeError) as error:
            raise _unusable(file, f"a {record.get('record')!s:.40} record lacks or misuses {error!s:.80}") from None
    return folding.result(torn)


@dataclass(slots=True)
class _Folding:
    """Takes one record after the other; mutable and local to one `replay`."""

    snapshot: State | None
    file: str
    deployments: dict[str, Recorded] = field(default_factory=dict)
    outputs: Mapping[str, Json] = field(default_factory=dict)
    providers: Mapping[str, RecordedProvider] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    run: RunStarted | None = None
    untold: LastRun | None = None
    ended: str | None = None
    step: str = ""
    serial: int = 0
    facts: bool = False

    def __post_init__(self) -> None:
        if self.snapshot is not None:
            self.deployments = dict(self.snapshot.deployments)
            self.outputs, self.providers = self.snapshot.outputs, self.snapshot.providers
            self.serial = self.snapshot.serial

    def take(self, record: dict[str, Json]) -> None:
        match record["record"]:
            case RunStarted.kind:
                self._start(record)
            case RunEnded.kind:
                self.ended = str(record["result"])
            case IntentWritten.kind:
                entry = recorded_from_json(record["entry_address"], record["entry"], file=self.file)
                names = ("id", "address", "verb", "step")
                by = self._writer(record)
                intent = Intent(**{name: record[name] for name in names}, entry=entry, memo=record["memo"], by=by)
                self.intents[intent.id] = intent
                if "by" not in record:
                    self.step = f"{intent.verb} {intent.address}: {intent.step}"
            case IntentClosed.kind:
                self.intents.pop(record["id"], None)
            case EntrySet.kind:
                entry = recorded_from_json(record["address"], record["entry"], file=self.file)
                if self._counts():
                    self.deployments[entry.address] = entry
                self.step = _told(entry)
            case EntryRemoved.kind:
                if self._counts():
                    self.deployments.pop(record["address"], None)
                self.step = f"{record['address']} is removed from the state"
            case OutputsSet.kind:
                if self._counts():
                    self.outputs = dict(record["outputs"])
            case ProvidersSet.kind:
                if self._counts():
                    self.providers = providers_from_json(record["providers"], file=self.file)
            case other:
                raise _newer(self.file, f"it holds a record of kind {other!s:.40}")

    def _start(self, record: dict[str, Json]) -> None:
        if record["version"] > JOURNAL_VERSION:
            raise _newer(self.file, f"it has journal version {record['version']}")
        if self.run is not None and self.ended is None:
            self.untold = LastRun(self.run, None, self.step)
        self.run = RunStarted(**{name: record[name] for name in _RUN})
        self.ended, self.step = None, record.get("reached", "")

    def _writer(self, record: dict[str, Json]) -> Writer | None:
        """The run that an intent belongs to: one that was carried on says so, any other was written by the run above
        it. Journals of earlier releases carry on intents without saying whose they are."""
        if "by" in record:
            return Writer(**record["by"])
        return None if self.run is None else self.run.writer

    def _counts(self) -> bool:
        """Whether the facts of this run are newer than the snapshot."""
        if self.run is None:
            raise _unusable(self.file, "it begins without the run that wrote it")
        if self.snapshot is None:
            raise _unusable(self.file, "the state that it belongs to is missing")
        if self.run.lineage != self.snapshot.lineage:
            raise _unusable(self.file, "it belongs to a state of another lineage")
        if self.run.serial < self.snapshot.serial:
            return False
        self.facts = True
        self.serial = max(self.serial, self.run.serial)
        return True

    def result(self, torn: bool) -> Replayed:
        state = self.snapshot
        if state is None and self.intents:
            raise _unusable(self.file, "the state that it belongs to is missing")
        if state is not None and self.facts:
            new = replace(state, deployments=self.deployments, outputs=self.outputs, providers=self.providers)
            state = state if new == state else replace(new, serial=self.serial + 1)
        last = None if self.run is None else LastRun(self.run, self.ended, self.step)
        intents = tuple(self.intents.values())
        untold = last if last is not None and last.result is None else self.untold
        return Replayed(state, intents, last, untold, torn, pending=bool(self.facts or intents or torn))


def _told(entry: Recorded) -> str:
    pending = entry.pending
    return f"{entry.address} is {entry.health}" if pending is None else f"{entry.address}: {pending.verb} not finished"


def carried(replayed: Replayed) -> Iterable[Record]:
    """What a journal holds right after a fold: who wrote last, the intents that are still open, and the run that nobody
    has been told of; that one has no end here either."""
    last = replayed.last_run if replayed.last_run is not None and replayed.last_run.result is not None else None
    if replayed.untold is not None:
        yield unended(replayed.untold)
    if last is not None:
        yield last.started
    for intent in replayed.intents:
        yield IntentWritten(intent)
    if last is not None:
        yield RunEnded(last.started.run, last.result or "")


def unended(run: LastRun) -> RunStarted:
    """The record that keeps a run which did not end for a command that tells of it."""
    return replace(run.started, reached=run.step)


def once_told(replayed: Replayed) -> Replayed:
    """The same once the run that did not end has been told of. Whoever says so holds the lock: what has not ended by
    then never will."""
    last = replayed.last_run
    if last is not None and last.result is None:
        last = replace(last, result="killed")
    return replace(replayed, last_run=last, untold=None)


def _unusable(file: str, problem: str) -> StateError:
    return StateError(
        Diagnostic(
            summary=f"{file} can't be used: {problem}",
            detail="It may hold what an interrupted run deployed, so it is not passed over. Nothing was changed.",
            hint="put back the state and journal that belong together (the backup lies beside them), or, to go on "
            "without what it recorded, move the journal away and look at the plan's unmanaged deployments",
        )
    )


def _newer(file: str, problem: str) -> StateError:
    return StateError(
        Diagnostic(
            summary=f"{file} was written by a newer reconciler",
            detail=f"{problem[:1].upper()}{problem[1:]}; this release reads versions up to {JOURNAL_VERSION}.",
            hint="install the newer release: pip install --upgrade reconciler",
        )
    )
