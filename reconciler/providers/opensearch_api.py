"""Requests to one cluster's ML Commons plugin: paths, paging, and errors by what they really mean.

Decides nothing and keeps nothing; each method is one request unless it says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from reconciler.edge.client import Client, segment
from reconciler.model import Json, Live
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    NotFoundError,
    ProviderError,
    RejectedError,
    UnavailableError,
)
from reconciler.providers import opensearch_wire as wire_format

_CONFLICT = "version_conflict_engine_exception"
# Answered with 500, though nothing was done: what the request named is not there.
_ABSENT_CODES = ("index_not_found_exception", "m_l_resource_not_found_exception")
_HINTS = (
    (
        "trusted connector endpoint",
        "let plugins.ml_commons.trusted_connector_endpoints_regex of the cluster match the URL",
    ),
    (
        "no eligible node found",
        "are the node ids right? Local models need nodes of the role ml, or plugins.ml_commons.only_run_on_ml_node off",
    ),
    (
        "custom deployment plan",
        "set plugins.ml_commons.allow_custom_deployment_plan: true in the cluster, or take node_ids out",
    ),
    ("allow_registering_model_via_url", "set plugins.ml_commons.allow_registering_model_via_url: true in the cluster"),
)


class Api:
    """One cluster. May be used from several threads at once."""

    def __init__(self, client: Client, provider: str) -> None:
        self._client, self.provider = client, provider

    def close(self) -> None:
        self._client.close()

    # --- one object -----------------------------------------------------------------------------------------------
    def get(self, kind: str, id_: str) -> Mapping[str, Json] | None:
        """A document (`models`, `model_groups`, `connectors`, `tasks`) by its id; None only where it is not there."""
        try:
            found = self.request("GET", f"/{kind}/{segment(id_)}")
        except NotFoundError:
            return None
        return self._object(found, f"/{kind}/{id_}")

    def live(self, model: str) -> Live | None:
        """A model as it is this moment, which no search shows: four requests at most."""
        source = self.get("models", model)
        if source is None:
            return None
        nodes = self.holders(model).get(model, ())
        group = self._beside("model_groups", source.get("model_group_id"))
        connector = self._beside("connectors", source.get("connector_id"))
        return wire_format.live_model(model, source, nodes, group=group, connector=connector)

    def cleaned(self, live: Live) -> Live:
        """The same with a reason that may be shown: a task's error is the service's own text."""
        return replace(live, reason=self._client.scrub.clean(live.reason)) if live.reason else live

    def _beside(self, kind: str, id_: Json) -> Mapping[str, Json] | None:
        """A group or connector of a model; None also where we may not see it."""
        try:
            return self.get(kind, id_) if isinstance(id_, str) else None
        except AccessError:
            return None

    def holders(self, model: str = "") -> dict[str, tuple[str, ...]]:
        """Which nodes hold which models (or the one given), by the nodes' own word."""
        profile = self.request("GET", f"/profile/models/{segment(model)}" if model else "/profile/models")
        return wire_format.holders(self._object(profile, "/profile/models"))

    def delete(self, kind: str, id_: str) -> bool:
        """Whether it was there. Groups and connectors answer 200 `not_found` for an unknown id, models 404."""
        try:
            answer = self._object(self.request("DELETE", f"/{kind}/{segment(id_)}"), f"/{kind}/{id_}")
        except NotFoundError:
            return False
        return answer.get("result") != "not_found"

    def undeploy(self, model: str) -> None:
        """From all nodes, one model a call: lists of several are refused under access control. Raises NotFoundError.

        The same as https://docs.opensearch.org/latest/ml-commons-plugin/api/model-apis/undeploy-model/ has it first.
        """
        self.request("POST", f"/models/{segment(model)}/_undeploy", {}, repeatable=True)

    # --- searches -------------------------------------------------------------------------------------------------
    def hits(self, kind: str, body: Mapping[str, Json]) -> list[Mapping[str, Json]]:
        """One page of a search. An answer of only some shards is no answer."""
        found = self._object(self.request("POST", f"/{kind}/_search", body, repeatable=True), f"/{kind}/_search")
        inner = found.get("hits")
        hits = inner.get("hits") if isinstance(inner, dict) else None
        if not isinstance(hits, list) or not all(isinstance(hit, dict) and "_id" in hit for hit in hits):
            raise BadAnswerError(f"{self.provider}: a search of {kind} without hits", provider=self.provider)
        shards = found.get("_shards")
        if found.get("timed_out") or (isinstance(shards, dict) and shards.get("failed")):
            raise UnavailableError(
                f"{self.provider}: the search of {kind} gave only a part of them",
                provider=self.provider,
                detail="it timed out, or some shards failed",
                hint="is the cluster's health green or yellow?",
            )
        return hits

    def by_id(self, kind: str, ids: Sequence[str]) -> dict[str, Mapping[str, Json]]:
        """Search hits by id, for any number of ids: one request for each 200."""
        wanted = sorted(set(ids))
        found: dict[str, Mapping[str, Json]] = {}
        for start in range(0, len(wanted), wire_format.PAGE_SIZE):
            body = wire_format.ids_query(wanted[start : start + wire_format.PAGE_SIZE])
            found.update((str(hit["_id"]), hit) for hit in self.hits(kind, body))
        return found

    def all_models(self) -> Iterator[Mapping[str, Json]]:
        """Every model's hit, page by page."""
        yield from self._pages(None)

    def members(self, group: str) -> list[Mapping[str, Json]]:
        """The hits of a group's models, oldest first."""
        return list(self._pages(group))

    def _pages(self, group: str | None) -> Iterator[Mapping[str, Json]]:
        after: Json = None
        by_id = True
        while True:
            body = wire_format.page_query(group, after, by_id=by_id)
            try:
                page = self.hits("models", body)
            except (RejectedError, UnavailableError) as error:
                if after is None and by_id and "_id field" in error.message:
                    by_id = False  # indices.id_field_data.enabled is false
                    continue
                raise
            yield from page
            if len(page) < wire_format.PAGE_SIZE:
                return
            after = page[-1].get("sort")
            if not isinstance(after, list):
                raise BadAnswerError(f"{self.provider}: a full page without sort values", provider=self.provider)

    # --- the wire -------------------------------------------------------------------------------------------------
    def request(self, method: str, path: str, body: Json = None, *, repeatable: bool | None = None) -> Json:
        """Any request below `/_plugins/_ml`; its JSON. Raises ProviderError by what the answer means."""
        try:
            if body is None:
                return self._client.request(method, wire_format.PATH + path, repeatable=repeatable).data
            return self._client.request(method, wire_format.PATH + path, json=body, repeatable=repeatable).data
        except ProviderError as error:
            raise self._meaning(error) from error

    def _meaning(self, error: ProviderError) -> ProviderError:
        """The same error by its real class: several of this API's statuses say something else than they mean."""
        told = error.message
        if "no handler found for uri" in told:
            return self._as(
                RejectedError,
                error,
                f"{self.provider}: the cluster has no ML Commons plugin",
                "is opensearch-ml installed on it?",
            )
        if error.code in _ABSENT_CODES and error.status == 500:
            return self._as(NotFoundError, error, told)
        if isinstance(error, AccessError) and "function category" in told:
            hint = "models of this kind are changed by registering them anew: --replace ADDRESS"
            return self._as(RejectedError, error, told, hint)
        if isinstance(error, RejectedError) and re.search("no permission|don't have permission", told, re.IGNORECASE):
            return self._as(AccessError, error, told, "the user lacks a right on this model or its group")
        if isinstance(error, AccessError) and error.status == 401:
            hint = "are OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD set, and right? The cluster asks for them"
            return self._as(AccessError, error, told, hint)
        if isinstance(error, RejectedError):
            hint = next((hint for words, hint in _HINTS if words in told), "")
            return self._as(RejectedError, error, told, hint) if hint else error
        return error

    def _as(self, kind: type[ProviderError], error: ProviderError, summary: str, hint: str = "") -> ProviderError:
        return kind(
            summary,
            provider=self.provider,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            detail=error.diagnostics[0].detail,
            hint=hint or error.diagnostics[0].hint,
        )

    def _object(self, data: Json, what: str) -> Mapping[str, Json]:
        if not isinstance(data, dict):
            raise BadAnswerError(f"{self.provider}: {what} is not a JSON object", provider=self.provider)
        return data


def raced(error: ProviderError) -> bool:
    """Whether somebody else is changing or deploying the same model: 409, on 2.19.1 also 500."""
    return error.status == 409 or error.code == _CONFLICT
