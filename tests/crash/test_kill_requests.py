"""kill -9 when a request has been carried out at the provider and its answer is still on the way."""

from __future__ import annotations

import pytest

from tests.support.crash import Place, soon
from tests.support.crash_bench import Bench
from tests.support.crash_cases import CASES

NAMED = {case.name: case for case in CASES}
REQUESTS = [
    ("neevcloud-deploy", "POST .*/aimodels$"),
    ("neevcloud-deploy", "PUT .*/scale$"),
    ("neevcloud-scale", "PUT .*/scale$"),
    ("neevcloud-replace", "DELETE "),
    ("neevcloud-replace", "POST .*/aimodels$"),
    ("neevcloud-undeploy", "DELETE "),
    ("modelstudio-deploy", "POST /deployments$"),
    ("modelstudio-deploy-ptu", "PUT .*verflow"),
    ("modelstudio-scale", "PUT .*/scale$"),
    ("modelstudio-update", "PUT .*/update$"),
    ("modelstudio-replace", "DELETE "),
    ("modelstudio-replace-create-first", "POST /deployments$"),
    ("modelstudio-replace-create-first", "DELETE "),
    ("modelstudio-undeploy", "DELETE "),
    ("nugen-deploy", "POST .*/deploy-model/"),
    ("nugen-replace", "DELETE .*/undeploy-model/"),
    ("nugen-replace-other", "POST .*/deploy-model/"),
    ("nugen-undeploy", "DELETE .*/undeploy-model/"),
    ("opensearch-deploy", "POST .*/model_groups/_register$"),
    ("opensearch-deploy", "POST .*/connectors/_create$"),
    ("opensearch-deploy", "POST .*/models/_register$"),
    ("opensearch-deploy", "POST .*/_deploy$"),
    ("opensearch-deploy-local", "POST .*/models/_register$"),
    ("opensearch-deploy-registered", "POST .*/_deploy$"),
    ("opensearch-update", "POST .*/connectors/_create$"),
    ("opensearch-update", "PUT .*/models/"),
    ("opensearch-update", "DELETE .*/connectors/"),
    ("opensearch-replace", "DELETE .*/models/"),
    ("opensearch-scale", "POST .*/_undeploy$"),
    ("opensearch-undeploy", "POST .*/_undeploy$"),
    ("opensearch-undeploy", "DELETE .*/models/"),
    ("opensearch-undeploy", "DELETE .*/connectors/"),
    ("opensearch-undeploy", "DELETE .*/model_groups/"),
]


@pytest.mark.parametrize(("name", "match"), REQUESTS, ids=[f"{name} {match}" for name, match in REQUESTS])
def test_a_kill_between_effect_and_answer_is_mended(name: str, match: str, place: Place) -> None:
    """What the provider did and nobody heard of is found by the next apply: taken as ours, not doubled, not lost."""
    case = NAMED[name]
    bench = Bench(case, place)
    place.control("POST", case.type, "faults", [{"match": match, "kind": "delay:3"}])
    run = place.start("apply", "--auto-approve", *case.flags)
    with soon("the request came") as again:
        while place.world(case.type)["faults"]:  # it is used up once the simulator has acted
            again()
    run.kill()
    ended = run.wait()
    assert ended.killed, ended
    bench.mend(ended)
