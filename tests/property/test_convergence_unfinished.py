"""A change of an OpenSearch model that a killed run left half done: the next run ends it, whatever shows of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from reconciler.model import Json
from reconciler.sandbox.base import Request
from tests.support.casts import OPENSEARCH
from tests.support.rehearsal import JumpingClock, Party, Place, differences

OLD, NEW = {"TOKEN": "s3cret-old"}, {"TOKEN": "s3cret-new"}


def file_of(**spec: Json) -> dict[str, Json]:
    """The file with one model that is registered from here; `spec` beside what it needs."""
    block = {"provider": "opensearch", "spec": {**OPENSEARCH.spec(0, "chat"), **spec}}
    return {"providers": {"opensearch": dict(OPENSEARCH.settings)}, "deployments": {"chat": block}}


def deployed(file: Mapping[str, Json], place: Place) -> Party:
    """Somebody whose file was applied, in a place where nothing else is."""
    party = Party(place, environ=OLD)
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
    for party in killed(deployed(file_of(), Place()), late):
        party.run(late)
        assert differences(party.plan(late)) == []
        assert (model(party).health, model(party).dormant) == ("ready", False)


class Watched(Place):
    """A place that remembers the key which each connector was made with: no answer shows it."""

    def __init__(self, clock: JumpingClock | None = None, keys: Mapping[str, str] | None = None) -> None:
        super().__init__(clock)
        self.keys = dict(keys or {})
        exchange = self.sandbox.exchange

        def watch(request: Request) -> Any:
            answer = exchange(request)
            if request.path.endswith("/connectors/_create") and not isinstance(answer, str):
                self.keys[answer.body["connector_id"]] = json.loads(request.body)["credential"]["key"]
            return answer

        self.sandbox.exchange = watch  # type: ignore[method-assign]

    def fork(self) -> Watched:
        other = Watched(JumpingClock(self.clock.time, self.clock.ids), self.keys)
        for name, dump in self.dump().items():
            with other.sandbox.store.world(name) as world:
                world.load(dump)
        return other


@pytest.mark.parametrize("end", [NEW, OLD], ids=["rotated", "taken back"])
@pytest.mark.parametrize("off", [True, False], ids=["undeployed", "serving"])
def test_a_rotated_key_is_in_use_after_the_next_run(off: bool, end: dict[str, str]) -> None:
    """The run that was to bring a new key is killed anywhere, a predict deploys the model with whatever it has: the
    next run ends with the key of the file, be it the new one or the old one again, and not only by the state's word."""
    file = file_of()
    before = deployed(file, Watched())
    before.look(file)
    path = f"/_plugins/_ml/models/{model(before).id}"
    if off:
        before.place.by_hand(before.configs["opensearch"], "POST", f"{path}/_undeploy", {})
    before.environ = NEW
    for party in killed(before, file):
        if off:
            party.place.clock.sleep(5.0)
            party.place.by_hand(party.configs["opensearch"], "POST", f"{path}/_deploy", {})
        party.place.clock.sleep(5.0)
        party.environ = end
        party.run(file)
        assert differences(party.plan(file)) == []
        assert isinstance(party.place, Watched)
        assert party.place.keys[model(party).computed["connector_id"]] == end["TOKEN"]
