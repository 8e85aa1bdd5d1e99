"""The `probe` of a deployment: in the file, as a request, in state and plan; and one request over the client."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from reconciler.core.planfile.plan_codec import plan_from_file, plan_to_file
from reconciler.core.schemas.probe import answers, chat, probe_from_json, probe_to_json, request_of
from reconciler.core.state.state_codec import decode_state, encode_state
from reconciler.diagnostics import FileError, StateError
from reconciler.edge.client import Client, Dialect
from reconciler.edge.schemas import read_schema
from reconciler.model import Desired, Json, Live, Probe
from reconciler.plan import Action, Expected, Plan
from reconciler.provider import BadAnswerError, Capabilities, Operation, UnavailableError, Wire
from reconciler.providers.modelstudio_wire import inference_of
from reconciler.providers.neevcloud_inference import Inference
from tests.support.rehearsal import Party, Place
from tests.support.stacks import FakeType, build, errors
from tests.support.states import entry, state

FULL = Probe("/x/{id}", "POST", {"model": "m"}, (200, 404), 30.0, 0.5)


def fake(*, probes: bool = True) -> dict[str, Any]:
    """The fake provider type, with probes or without."""
    type_ = FakeType()
    type_.capabilities = replace(type_.capabilities, probes=probes)
    return {"type_": type_}


def probe_of(text: str, more: str = "") -> Probe | None:
    body = f"deployments:\n  chat: {{provider: fake, spec: {{model: m}}{text}}}\n{more}"
    return build(body, **fake()).deployments["chat"].probe


def model_with(probe: Json, **spec: Json) -> Probe | None:
    """The probe of an OpenSearch model that is registered already."""
    block: dict[str, Json] = {"provider": "opensearch", "probe": probe, "spec": {"model_id": "m", **spec}}
    file = {"providers": {"opensearch": {"endpoint": "http://localhost:9200"}}, "deployments": {"chat": block}}
    return Party(Place()).stack(file).deployments["chat"].probe


# --- in the file --------------------------------------------------------------------------------------------------
def test_off_unless_asked_for() -> None:
    """An old file means what it meant; `{}` asks for the provider type's default."""
    assert probe_of("") is None
    assert probe_of(", probe: null") is None
    assert probe_of(", probe: {}") == Probe()


def test_everything_in_it() -> None:
    """All its words arrive, durations in seconds, one status as well as several."""
    words = "path: '/x/{id}', method: POST, body: {model: m}, expect_status: [200, 404], timeout: 30s, interval: 500ms"
    assert probe_of(f", probe: {{{words}}}") == FULL
    assert probe_of(", probe: {expect_status: 204}") == Probe(expect_status=(204,))


def test_defaults_lie_under_it_and_null_takes_them_out() -> None:
    """`defaults:` may ask for all deployments of a provider; one of them may say otherwise."""
    more = "defaults: {fake: {probe: {timeout: 1m, interval: 2s}}}\n"
    assert probe_of("", more) == Probe(timeout=60.0, interval=2.0)
    assert probe_of(", probe: {timeout: 2m}", more) == Probe(timeout=120.0, interval=2.0)
    assert probe_of(", probe: null", more) is None


@pytest.mark.parametrize("probe", [{}, {"expect_status": [200, 201]}], ids=str)
def test_one_that_could_never_be_answered_is_refused(probe: Json) -> None:
    """A model that is not enabled refuses every predict: said while the file is read, not after the deploy."""
    with pytest.raises(FileError) as caught:
        model_with(probe, is_enabled=False)
    (problem,) = caught.value.diagnostics
    assert problem.summary == "no probe is ever answered while is_enabled is false"
    assert (problem.address, problem.span is not None) == ("chat", True)
    assert model_with(probe, is_enabled=True) == model_with(probe)


@pytest.mark.parametrize("probe", [{"expect_status": 403}, {"path": "/_plugins/_ml/models/{id}"}], ids=str)
def test_one_that_asks_for_something_else_is_its_owners(probe: Json) -> None:
    """A refusal may be what is expected, and another path is no inference."""
    assert model_with(probe, is_enabled=False) is not None
    assert model_with(None, is_enabled=False) is None


def test_variables_stand_in_it() -> None:
    """References to variables are filled in and keep their type."""
    more = "variables: {status: {type: integer, default: 201}, word: {type: string, default: hi}}\n"
    text = ', probe: {expect_status: "${var.status}", body: {input: "${var.word}"}}'
    assert probe_of(text, more) == Probe(body={"input": "hi"}, expect_status=(201,))


@pytest.mark.parametrize(
    ("probe", "word"),
    [
        ("{path: chat}", "a path such as"),
        ('{path: "/a b"}', "a path such as"),
        ("{method: DELETE}", "GET"),
        ("{body: text}", "body"),
        ("{expect_status: 99}", "expect_status"),
        ("{expect_status: []}", "expect_status"),
        ("{timeout: soon}", "timeout"),
        ("{timeout: 0}", "must be longer than nothing"),
        ("{method: GET, body: {}}", "`body` goes with the method POST alone"),
        ("{pth: /x}", "pth"),
        ("true", "probe"),
    ],
)
def test_what_is_wrong_with_it_is_an_error_at_its_line(probe: str, word: str) -> None:
    """Each mistake is one error of the file, with its place."""
    found = errors(f"deployments:\n  chat:\n    provider: fake\n    spec: {{model: m}}\n    probe: {probe}\n", **fake())
    (error,) = found
    assert word in f"{error.summary} {error.detail} {error.hint}", error
    assert error.span is not None
    assert error.span.line >= 5


def test_a_type_without_probes_says_so() -> None:
    """A provider type that can't ask a deployment refuses the word, not the apply."""
    text = "deployments:\n  chat: {provider: fake, spec: {model: m}, probe: {}}\n"
    (error,) = errors(text, **fake(probes=False))
    assert error.summary == "deployments of fake can't be probed"


# --- as a request -------------------------------------------------------------------------------------------------
def test_defaults_are_the_provider_types() -> None:
    """Path and body come from the type where the file says nothing; `model` is added to a body that lacks it."""
    asked = chat(Probe(), path="/chat/completions", model="m-1", id_="d")
    assert (asked.line, asked.body["model"], asked.body["max_tokens"]) == ("POST /chat/completions", "m-1", 1)
    asked = chat(Probe(body={"input": "hi"}, path="/embeddings"), path="/c", model="m-1", id_="d")
    assert (asked.line, asked.body) == ("POST /embeddings", {"model": "m-1", "input": "hi"})
    asked = chat(Probe(body={"model": "mine"}), path="/c", model="m-1", id_="d")
    assert (asked.line, asked.body) == ("POST /c", {"model": "mine"})


def test_a_path_of_ones_own() -> None:
    """A path without a body is a GET; an id in it is quoted, so that it can't lead elsewhere."""
    asked = request_of(Probe(path="/v1/{id}/health?full=1"), path="/c", body={}, id_="../x y")
    assert (asked.line, asked.body) == ("GET /v1/..%2Fx%20y/health?full=1", None)
    assert request_of(Probe(path="/p", method="POST"), path="/c", body={"a": 1}, id_="d").body == {}


def test_any_2xx_counts_unless_the_file_says_which() -> None:
    """200 to 299, or exactly what is expected."""
    assert [status for status in (199, 200, 204, 299, 300, 404) if answers(Probe(), status)] == [200, 204, 299]
    assert [status for status in (200, 404) if answers(Probe(expect_status=(404,)), status)] == [404]


# --- in state and plan --------------------------------------------------------------------------------------------
def test_a_state_keeps_it_and_an_old_one_has_none() -> None:
    """Written and read back; a state without it loads; what is no probe is refused with its place."""
    before = state(entry("chat", probe=FULL), entry("plain"))
    text = encode_state(before)
    assert decode_state(text) == before
    document = json.loads(text)
    assert list(Draft202012Validator(read_schema("state.v1")).iter_errors(document)) == []
    assert "probe" not in document["deployments"]["plain"]
    document["deployments"]["chat"]["probe"]["method"] = "DELETE"
    with pytest.raises(StateError, match=r"deployments\.chat\.probe"):
        decode_state(json.dumps(document))


def test_a_plan_file_carries_it() -> None:
    """The applier probes as planned; a tampered plan can't send it to another host."""
    desired = Desired("chat", "fake", "fake", {"name": "chat"}, probe=FULL)
    action = Action("chat", "fake", "deploy", "it is new", desired=desired, expected=Expected(exists=False))
    document = plan_to_file(Plan("bots", None, 0, (action,)), None)
    assert list(Draft202012Validator(read_schema("plan-execution.v1")).iter_errors(document["execution"])) == []
    (read,) = plan_from_file(document).actions
    assert read.desired is not None
    assert read.desired.probe == FULL
    for path in ("@evil.example/x", "https://evil.example", "/a\nb", "/a b", "", 3):
        document["execution"]["actions"]["chat"]["desired"]["probe"]["path"] = path
        with pytest.raises(FileError, match="path"):
            plan_from_file(document)


@pytest.mark.parametrize("probe", [Probe(), FULL, Probe(method="GET", path="/")])
def test_json_and_back(probe: Probe) -> None:
    """What is left to the provider type is left out; the rest is read as it was written."""
    assert probe_from_json(probe_to_json(probe)) == probe


@pytest.mark.parametrize(
    "data",
    [[], {"timeout": 0}, {"interval": "5s"}, {"interval": True}, {"body": "x"}, {"expect_status": 200}, {"other": 1}],
)
def test_foreign_json_is_refused(data: Any) -> None:
    """Every member is checked."""
    with pytest.raises(ValueError):
        probe_from_json(data)


# --- over the wire ------------------------------------------------------------------------------------------------
def client(answer: Any, **more: Any) -> Client:
    return Client(
        provider="p", base_url="https://host.example/v1", dialect=Dialect(),
        authorize={"authorization": "Bearer sekret"},
        wire=Wire(httpx.MockTransport(answer), sleep=lambda _: pytest.fail("it waits")), **more,
    )  # fmt: skip


def test_one_request_and_what_came_back() -> None:
    """A 5xx, a 429 or a redirect is an answer: nothing is repeated, followed, or taken for an error."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(503 + len(seen) - 1, text=f"no {request.headers['authorization']} here")

    probed = client(answer).ask("POST", "/chat/completions", {"a": 1})
    assert (probed.request, probed.status, probed.text) == ("POST /chat/completions", 503, "no (hidden) here")
    assert [str(request.url) for request in seen] == ["https://host.example/v1/chat/completions"]
    assert probed.seconds >= 0


def test_no_answer_raises_once() -> None:
    """A broken connection is told as one."""
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise httpx.ReadTimeout("late")

    with pytest.raises(UnavailableError):
        client(answer).ask("GET", "/x")
    assert len(calls) == 1


def live(url: str | None) -> Live:
    return Live("dep-1", ("n",), "n", {}, {"endpoint_url": url, "model_id": "org/m"}, "ready", "ready")


def test_an_inference_key_goes_over_tls_alone() -> None:
    """An endpoint without TLS gets no key, unless the API itself is spoken to without; a missing one is said."""
    options: Any = {"timeout": 1.0, "max_concurrency": 1, "requests_per_second": None, "ca_cert": None}
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(f"{request.url} {request.headers['authorization']} {json.loads(request.content)['model']}")
        return httpx.Response(200, json={})

    def inference(endpoint: str) -> Inference:
        wire = Wire(httpx.MockTransport(answer))
        return Inference("neevcloud", {"inference_key": "sk-nc-1"}, endpoint, wire, options)

    api = inference("https://api.example/aimodels")
    for url in ("http://n.example/v1", "ftp://n.example", None, ""):
        with pytest.raises(BadAnswerError):
            api.ask(live(url), Probe())
    assert not sent
    assert api.ask(live("https://n.example/v1"), Probe()).status == 200
    assert inference("http://localhost:1/aimodels").ask(live("http://localhost:2/v1"), Probe()).status == 200
    assert sent == [
        "https://n.example/v1/chat/completions Bearer sk-nc-1 org/m",
        "http://localhost:2/v1/chat/completions Bearer sk-nc-1 org/m",
    ]


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ({}, "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        ({"region": "cn"}, "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        ({"region": "cn-hongkong"}, "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1"),
        ({"endpoint": "https://proxy.example/api/v1/"}, "https://proxy.example/compatible-mode/v1"),
    ],
)
def test_model_studio_answers_beside_its_api(settings: dict[str, str], base: str) -> None:
    """The same host and key, another path."""
    assert inference_of(settings) == base


def test_capabilities_of_other_packages_have_no_probes() -> None:
    """A provider type that says nothing of probes has none."""
    assert not Capabilities(None, False, False, False, False, False).probes
    assert Operation("deploy", "a", "m", {}).live is None
