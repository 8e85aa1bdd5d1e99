"""The sections beside providers and deployments: moved, removed, outputs, limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.expand import PLAIN_VARIABLE
from reconciler.core.load.interpolation import Interpolator
from reconciler.core.load.linking import base_of
from reconciler.core.load.source import Document
from reconciler.core.load.structure import Broken
from reconciler.core.schemas.validate import violations
from reconciler.core.values.paths import Part
from reconciler.core.values.sensitive import hides_secret
from reconciler.core.values.words import did_you_mean
from reconciler.diagnostics import Span
from reconciler.model import Desired, Json, Limits, Moved, Removed, Unknown


@dataclass(slots=True)
class Sections:
    """Reads the small sections of one document. `broken` is what the file's schema refused."""

    document: Document
    interpolator: Interpolator
    complaints: Complaints
    broken: Broken

    def moved(self, built: Mapping[str, Desired], declared: Iterable[str]) -> tuple[Moved, ...]:
        """Renames, checked against what is declared; whether the state still needs them is the planner's business."""
        keys = set(declared)
        found: list[Moved] = []
        sources: dict[str, Span] = {}
        for number, entry in enumerate(self._list("moved")):
            source, target = entry["from"], entry["to"]
            span = self.document.spans.at(("moved", number))
            place = self.document.spans.at(("moved", number, "to"))
            if source == target:
                self.complaints.error(f"moved: {source} and {target} are the same address", span, address=target)
            elif source in built or (source in keys and "[" not in target):
                self.complaints.error(
                    f"moved: {source} is still declared",
                    self.document.spans.at(("moved", number, "from")),
                    address=source,
                    hint="remove its block under `deployments:`, or this entry",
                )
            elif target not in built and target not in keys and not self._failed(target, built, keys):
                self.complaints.error(
                    f"moved: there is no deployment {target} to move {source} to",
                    place,
                    address=target,
                    hint=did_you_mean(target, {*built, *keys}, what="declared"),
                )
            elif source in sources:
                self.complaints.error(
                    f"moved: {source} is moved twice", span, address=source, related=(("first here", sources[source]),)
                )
            else:
                found.append(Moved(source, target, span))
            sources.setdefault(source, span)
        return tuple(sorted(found, key=lambda move: (move.source, move.target)))

    def removed(self, built: Mapping[str, Desired], declared: Iterable[str]) -> tuple[Removed, ...]:
        """Addresses that are declared no more and what becomes of them."""
        keys = set(declared)
        found: dict[str, Removed] = {}
        for number, entry in enumerate(self._list("removed")):
            where = entry["address"]
            span = self.document.spans.at(("removed", number))
            if where in built or where in keys:
                self.complaints.error(
                    f"removed: {where} is still declared",
                    span,
                    address=where,
                    hint="remove its block under `deployments:`, or this entry",
                )
            elif where in found:
                self.complaints.error(f"removed: {where} is given twice", span, address=where)
            else:
                found[where] = Removed(where, entry.get("action", "undeploy"), span)
        return tuple(found[where] for where in sorted(found))

    def outputs(self) -> dict[str, Json]:
        """Outputs as value trees, by name; references to deployments stay Unknown leaves."""
        section = self.document.data.get("outputs")
        if self.broken.section("outputs") or not isinstance(section, dict):
            return {}

        def place(path: Iterable[Part]) -> Span:
            return self.document.spans.at(("outputs", *path))

        found: dict[str, Json] = self.interpolator.tree(dict(section), place)
        return {name: found[name] for name in sorted(found)}

    def refuse_sensitive_outputs(self, outputs: Mapping[str, Json]) -> None:
        """Outputs are printed and kept in the state, so nothing sensitive may be in them."""
        for name, value in outputs.items():
            if hides_secret(value):
                self.complaints.error(
                    f"the output `{name}` is sensitive, and outputs are printed and written down",
                    self.document.spans.at(("outputs", name)),
                    hint=PLAIN_VARIABLE,
                )

    def limits(self) -> Limits:
        """The limits, a bare cost under the currency "*"."""
        section = self.document.data.get("limits")
        if self.broken.section("limits") or not isinstance(section, dict):
            return Limits()

        def place(path: Iterable[Part]) -> Span:
            return self.document.spans.at(("limits", *path))

        values: dict[str, Json] = self.interpolator.tree(dict(section), place, no_deployments="`limits`")
        schema = {"$defs": self.document.schema.get("$defs", {}), **self.document.schema["properties"]["limits"]}
        for name, value in values.items():
            if hides_secret(value):
                self.complaints.error(f"the limit `{name}` is sensitive", place((name,)), hint=PLAIN_VARIABLE)
        if values != section:
            for finding in violations(values, schema):
                self.complaints.finding(finding, place(finding.path), prefix=("limits",))
        cost = values.get("max_hourly_cost")
        undeploys = values.get("max_undeploys")
        if isinstance(cost, Unknown) or isinstance(undeploys, Unknown):
            return Limits()
        by_currency = cost if isinstance(cost, dict) else {} if cost is None else {"*": cost}
        return Limits(max_undeploys=undeploys, max_hourly_cost=by_currency)

    def _list(self, name: str) -> list[dict[str, Json]]:
        section = self.document.data.get(name)
        return section if isinstance(section, list) and not self.broken.section(name) else []

    def _failed(self, target: str, built: Mapping[str, Desired], keys: set[str]) -> bool:
        """Whether `target` would be declared, had its block been right."""
        return base_of(target) in keys and not any(base_of(where) == base_of(target) for where in built)
