"""The chain of the README: a NeevCloud endpoint, an OpenSearch model whose connector calls it, and a predict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.cli import CHAT, CREDENTIALS, Served
from tests.support.front import Front
from tests.support.real_node import REAL, SECRET, RealProject
from tests.support.service import Service

pytestmark = REAL


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.close()


@pytest.fixture
def neevcloud(served: Served, service: Service) -> Iterator[Front]:
    """The NeevCloud simulator, whose endpoints are where the service stands."""
    served.call(
        "POST", "/_sandbox/neevcloud/presuppose", {"specs": [CHAT], "settings": {"org_id": "o", "project_id": "p"}}
    )
    front = Front(served.url)
    front.rewrite = (r'("endpoint_url": ?)"[^"]*"', rf'\1"{service.url}"')
    yield front
    front.close()


def test_a_predict_goes_all_the_way(real: RealProject, neevcloud: Front) -> None:
    """The connector's address and model are references to a deployment of another provider: unknown at first, resolved
    at the apply; a predict through the deployed model is answered by that endpoint.
    The destroy goes the other way round."""
    base = f"{neevcloud.url}/neevcloud"
    path = urlsplit(real.service.url).path
    spec = real.own("assistant")
    spec["connector"]["parameters"]["model"] = "${deployments.chat.model_id}"
    spec["connector"]["actions"][0]["url"] = "${deployments.chat.endpoint_url}/chat/completions"
    document = {
        "version": 1,
        "stack": real.stack,
        "providers": {
            "neevcloud": {
                "endpoint": f"{base}/aimodels", "auth_endpoint": f"{base}/tenant", "org_id": "o", "project_id": "p",
            },
            "opensearch": real.settings,
        },
        "deployments": {
            "assistant": {"provider": "opensearch", "spec": spec},
            "chat": {"provider": "neevcloud", "spec": CHAT},
        },
        "outputs": {"url": "${deployments.chat.endpoint_url}", "model": "${deployments.assistant.id}"},
    }  # fmt: skip
    real.env |= CREDENTIALS
    real.write(json.dumps(document))
    assert "(known after apply)" in real.run("plan").ended(0).out
    real.apply()
    real.settled()
    chat, assistant = real.recorded("chat"), real.recorded("assistant")
    assert chat["computed"]["endpoint_url"] == real.service.url
    status, text = real.predict(assistant["id"])
    assert (status, text) == (200, f"{chat['computed']['model_id']} Bearer {SECRET} {path}/chat/completions")
    order = [one["address"] for one in real.plan("--destroy")["actions"]]
    assert order == ["assistant", "chat"]
    real.run("destroy", "--auto-approve").ended(0)
    assert real.ml("GET", f"models/{assistant['id']}")[0] == 404
