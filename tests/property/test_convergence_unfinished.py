"""A change of an OpenSearch model that a killed run left half done: the next run ends it, whatever shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from reconciler.model import Json
from tests.support.casts import OPENSEARCH
from tests.support.rehearsal import Party, Place, differences


def file_of(**spec: Json) -> dict[str, Json]:
    """The file with one model that is registered from here; `spec` beside what it needs."""
    block = {"provider": "opensearch", "spec": {**OPENSEARCH.spec(0, "chat"), **spec}}
    return {"providers": {"opensearch": dict(OPENSEARCH.settings)}, "deployments": {"chat": block}}


def deployed(file: Mapping[str, Json]) -> Party:
    """Somebody whose file was applied, in a place where nothing else is."""
    party = Party(Place())
    party.place.knobs(party.stack(file).providers, **OPENSEARCH.knobs)
    party.run(file)
    return party


def killed(party: Party, file: Mapping[str, Json]) -> Iterator[Party]:
    """The party once for each moment at which the apply of this file can be killed."""
    for sent in (False, True):
        at, died = 0, True
        while died:
            at += 1
            other = party.fork()
            died = other.killed(other.plan(file, locked=True), at, sent=sent)
            if died:
                yield other


def model(party: Party) -> Any:
    """The live model of chat."""
    (found,) = party.refreshed.listings["opensearch"].objects
    return found


@pytest.mark.parametrize("presence", ["always", "on_demand"])
def test_a_model_that_was_undeployed_for_a_new_ttl_is_deployed_again(presence: str) -> None:
    """A TTL is taken over by undeploy, PUT, deploy. Killed in between, the model is off by our hand: it has not
    expired, so the next run deploys it also where its absence is no difference."""
    late = file_of(deploy_setting={"model_ttl_minutes": 30})
    late["deployments"]["chat"]["presence"] = presence
    for party in killed(deployed(file_of()), late):
        party.run(late)
        assert differences(party.plan(late)) == []
        assert (model(party).health, model(party).dormant) == ("ready", False)
