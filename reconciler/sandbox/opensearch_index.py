"""The simulated cluster's documents and the searches over them.

A document is a list of events, some of them in the future; what is shown is the fold of those that have begun, so
reading changes nothing. A search shows late events (a PUT, the end of a deploy) up to `put_lag` seconds late, and
everything `lag` seconds late, as the real one does until its index is refreshed; a read by id is never late.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.model import Json
from reconciler.sandbox.base import World

MOST = 10_000
_TEXTS = ("name", "description")
_WORD = re.compile(r"\w+(?:[:.'](?=[^\W\d])\w+)*")
_BODY = ("size", "from", "query", "sort", "search_after", "_source", "track_total_hits", "version")


class Refused(Exception):
    """An error answer: status, the root cause's type, and the reason."""

    def __init__(self, status: int, kind: str, reason: str, *, outer: str = "") -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason, self.outer = status, kind, reason, outer


class Index:
    """One system index: documents by id in the order of their making."""

    def __init__(self, world: World, name: str) -> None:
        self._world, self.name = world, name
        self._table = world.table(name)

    def add(self, id_: str, source: Mapping[str, Json], *, at: float | None = None, **extra: Json) -> None:
        """A new document, from now or from `at` on."""
        now = self._world.now()
        first = {"at": now if at is None else at, "late": False, "set": dict(source), **extra}
        self._table[id_] = {"events": [first], "deleted": None, "seq": len(self._table)}

    def change(
        self, id_: str, values: Mapping[str, Json], *, at: float | None = None, late: bool = True, **extra: Json
    ) -> None:
        """Change fields from now or from `at` on; None removes one."""
        event = {"at": self._world.now() if at is None else at, "late": late, "set": dict(values), **extra}
        events = self._table[id_]["events"]
        events.append(event)
        events.sort(key=lambda one: one["at"])

    def forget_future(self, id_: str) -> None:
        """What was to happen by itself does not."""
        now, document = self._world.now(), self._table[id_]
        document["events"] = [event for event in document["events"] if event["at"] <= now]

    def delete(self, id_: str) -> bool:
        """Whether it was there."""
        if self.get(id_) is None:
            return False
        self._table[id_]["deleted"] = self._world.now()
        return True

    def known(self, id_: str) -> bool:
        """Whether it is or ever was there."""
        return id_ in self._table

    def get(self, id_: str) -> dict[str, Json] | None:
        """The document as it is this moment."""
        document = self._table.get(id_)
        if document is None or document["deleted"] is not None:
            return None
        folded = self._fold(document, 0.0, 0.0)
        return folded[0] if folded else None

    def version(self, id_: str) -> int:
        """How many writes it has seen."""
        folded = self._fold(self._table[id_], 0.0, 0.0)
        return folded[1] if folded else 0

    def extra(self, id_: str, name: str) -> Json:
        """The latest value that an event gave to `name` beside the document's fields."""
        now = self._world.now()
        events = [event for event in self._table[id_]["events"] if event["at"] <= now and name in event]
        return events[-1][name] if events else None

    def items(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """All documents as they are this moment."""
        for id_ in list(self._table):
            source = self.get(id_)
            if source is not None:
                yield id_, source

    def search(self, body: Json, *, hidden: Sequence[str] = ()) -> dict[str, Json]:
        """An answer to `_search`. Raises Refused as the real one does."""
        try:
            return self._search(body, hidden)
        except (TypeError, AttributeError, ValueError, LookupError, StopIteration, OverflowError) as error:
            # A value of a type that its place does not take: the real one answers all of them alike.
            raise Refused(400, "parsing_exception", "the search request is malformed") from error

    def _search(self, body: Json, hidden: Sequence[str]) -> dict[str, Json]:
        if not isinstance(body, dict):
            raise Refused(400, "parse_exception", "request body or source parameter is required")
        unknown = next((name for name in body if name not in _BODY), None)
        if unknown is not None:
            raise Refused(400, "parsing_exception", f"Unknown key for a VALUE_STRING in [{unknown}].")
        size, start = body.get("size", 10), body.get("from", 0)
        if size + start > MOST:
            reason = f"Result window is too large, from + size must be less than or equal to: [{MOST}] "
            reason += (
                f"but was [{size + start}]. See the scroll api for a more efficient way to request large data sets. "
            )
            reason += "This limit can be set by changing the [index.max_result_window] index level setting."
            raise Refused(500, "status_exception", reason)
        matches = _compile(body.get("query", {"match_all": {}}))
        found = [
            hit
            for hit in self._hits(_only(body.get("query")))
            if hit["_id"] not in hidden and matches(hit["_id"], hit["_source"])
        ]
        keys = _sort_keys(body.get("sort"), self._world)
        total = len(found)
        if keys:
            found = _sorted(found, keys, body.get("search_after"))
        else:
            self._world.shuffle(found, size)
        page = found[start : start + size]
        for hit in page:
            hit["_source"] = _filtered(hit["_source"], body.get("_source"))
        return {
            "took": 2,
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {"total": {"value": total, "relation": "eq"}, "max_score": None if keys else 1.0, "hits": page},
        }

    def _hits(self, only: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        lag, put_lag = float(self._world.knob("lag", 0.0)), float(self._world.knob("put_lag", 0.0))
        for id_ in self._table if only is None else [id_ for id_ in only if id_ in self._table]:
            document = self._table[id_]
            now = self._world.now()
            if document["deleted"] is not None and document["deleted"] <= now - lag:
                continue
            folded = self._fold(document, lag, put_lag)
            if lag and (document["deleted"] is not None or folded != self._fold(document, 0.0, put_lag)):
                self._world.effects["lag"] += 1
            if folded is not None:
                source, version = folded
                head = {"_index": self.name, "_id": id_, "_version": version, "_seq_no": document["seq"]}
                yield {**head, "_primary_term": 1, "_score": 1.0, "_source": source}

    def _fold(self, document: Mapping[str, Any], lag: float, put_lag: float) -> tuple[dict[str, Json], int] | None:
        now = self._world.now()
        source: dict[str, Json] = {}
        version = 0
        for event in document["events"]:
            if event["at"] + lag + (put_lag if event["late"] else 0.0) > now:
                continue
            version += 1
            source.update(event["set"])
        return ({name: value for name, value in source.items() if value is not None}, version) if version else None


# --- queries ------------------------------------------------------------------------------------------------------


def _only(query: Json) -> Sequence[str] | None:
    """The ids that a query for ids asks for: no need to look at others."""
    terms = query.get("terms") if isinstance(query, dict) else None
    ids = terms.get("_id") if isinstance(terms, dict) else None
    return list(dict.fromkeys(ids)) if isinstance(ids, list) else None


Match = Callable[[str, Mapping[str, Json]], bool]


def words(text: Json) -> list[str]:
    """The tokens of an analysed text field."""
    return [word.lower() for word in _WORD.findall(text)] if isinstance(text, str) else []


def _compile(query: Json) -> Match:
    """One query clause as a predicate of id and source."""
    if not isinstance(query, dict) or len(query) != 1:
        raise Refused(400, "parsing_exception", "[bool] query malformed, no start_object after query name")
    ((kind, about),) = query.items()
    if kind == "match_all":
        return lambda _id, _source: True
    if kind == "bool":
        return _bool(about)
    if kind == "ids":
        return lambda id_, _source: id_ in about.get("values", ())
    if kind == "exists":
        return lambda _id, source: source.get(about["field"]) is not None
    if kind in ("term", "terms", "match_phrase", "match", "prefix"):
        ((field, asked),) = about.items()
        asked = asked.get("value", asked.get("query")) if isinstance(asked, dict) else asked
        return _on_field(kind, field, asked)
    raise Refused(400, "parsing_exception", f"unknown query [{kind}]")


def _bool(about: Mapping[str, Json]) -> Match:
    def clauses(name: str) -> list[Match]:
        given = about.get(name, [])
        return [_compile(clause) for clause in (given if isinstance(given, list) else [given])]

    unknown = next(
        (n for n in about if n not in ("must", "filter", "should", "must_not", "minimum_should_match")), None
    )
    if unknown is not None:
        raise Refused(400, "parsing_exception", f"[bool] query does not support [{unknown}]")
    needed, some, none = [*clauses("must"), *clauses("filter")], clauses("should"), clauses("must_not")

    def matches(id_: str, source: Mapping[str, Json]) -> bool:
        return (
            all(clause(id_, source) for clause in needed)
            and not any(clause(id_, source) for clause in none)
            and (not some or bool(needed) or any(clause(id_, source) for clause in some))
        )

    return matches


def _on_field(kind: str, field: str, asked: Json) -> Match:
    """Exact fields hold one value; `name` and `description` are analysed, `name.keyword` ends at 256 characters."""
    if field == "_id":
        wanted = asked if isinstance(asked, list) else [asked]
        return lambda id_, _source: id_ in wanted
    if field in _TEXTS:
        if kind in ("term", "terms"):
            tokens = asked if isinstance(asked, list) else [asked]
            return lambda _id, source: any(token in words(source.get(field)) for token in tokens)
        return lambda _id, source: _phrase(words(asked), words(source.get(field)), together=kind != "match")

    def value_of(source: Mapping[str, Json]) -> Json:
        if field == "name.keyword":
            name = source.get("name")
            return name if isinstance(name, str) and len(name) <= 256 else None
        return source.get(field)

    if kind == "prefix":
        return lambda _id, source: str(value_of(source) or "").startswith(str(asked))
    wanted = asked if isinstance(asked, list) else [asked]
    return lambda _id, source: value_of(source) in wanted and value_of(source) is not None


def _phrase(asked: list[str], text: list[str], *, together: bool) -> bool:
    if not together:
        return any(word in text for word in asked)
    return bool(asked) and any(text[at : at + len(asked)] == asked for at in range(len(text)))


def _sort_keys(sort: Json, world: World) -> list[tuple[str, bool]]:
    """(field, descending) of each sort clause."""
    keys = []
    for clause in sort if isinstance(sort, list) else [sort] if sort else []:
        field, order = next(iter(clause.items())) if isinstance(clause, dict) else (clause, "asc")
        order = order.get("order", "asc") if isinstance(order, dict) else order
        if field in _TEXTS:
            raise Refused(
                500,
                "status_exception",
                "Text fields are not optimised for operations that require per-document field data",
            )
        if field == "_id" and not world.knob("id_sort", True):
            reason = "Fielddata access on the _id field is disallowed, you can re-enable it by updating the dynamic "
            reason += "cluster setting: indices.id_field_data.enabled"
            raise Refused(500, "status_exception", reason)
        keys.append((field, order == "desc"))
    return keys


def _sorted(hits: list[dict[str, Any]], keys: Sequence[tuple[str, bool]], after: Json) -> list[dict[str, Any]]:
    for hit in hits:
        hit["sort"] = [hit[field] if field.startswith("_") else hit["_source"].get(field) for field, _ in keys]
        hit["_score"] = None
    for position in reversed(range(len(keys))):
        hits.sort(key=lambda hit: (hit["sort"][position] is None, hit["sort"][position]), reverse=keys[position][1])
    if after is None:
        return hits
    if not isinstance(after, list) or len(after) != len(keys):
        reason = f"search_after has {len(after or ())} value(s) but sort has {len(keys)}."
        raise Refused(400, "illegal_argument_exception", reason)
    return [hit for hit in hits if _is_after(hit["sort"], after, keys)]


def _is_after(values: Sequence[Json], after: Sequence[Json], keys: Sequence[tuple[str, bool]]) -> bool:
    for value, limit, (_, descending) in zip(values, after, keys, strict=True):
        if value != limit:
            return bool(value < limit) if descending else bool(value > limit)
    return False


def _filtered(source: dict[str, Json], asked: Json) -> dict[str, Json]:
    if asked is False:
        return {}
    if isinstance(asked, list):
        return {name: value for name, value in source.items() if name in asked}
    if isinstance(asked, dict):
        without = asked.get("excludes", ())
        only = asked.get("includes")
        return {n: v for n, v in source.items() if n not in without and (only is None or n in only)}
    return source
