"""NeevCloud beyond the common contract: logins, replicas at deploy, names, and what the provider never returns."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from reconciler.model import Json, Live, ProviderConfig
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    Call,
    Conflict,
    Done,
    Failed,
    Operation,
    RejectedError,
    Reply,
    UnavailableError,
    Wait,
    Wire,
)
from reconciler.providers.neevcloud import ENDPOINT, PROVIDER, normalize
from reconciler.providers.neevcloud_login import Login, expiry
from reconciler.sandbox.neevcloud import ACCESS_TOKEN, EMAIL, PASSWORD
from tests.contract.case import Bench
from tests.contract.test_neevcloud import TestNeevCloud as Suite
from tests.support.drive import after, deploy_of, merged

LOGIN = "POST /tenant/api/v1/auth/login"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(Suite.case)
    bench.presuppose(1)
    yield bench
    bench.close()


def jwt(**claims: Json) -> str:
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims, 1)
    )


# --- logging in -----------------------------------------------------------------------------------------------------


def test_one_login_serves_all_requests(bench: Bench) -> None:
    """The token stays in memory; nothing is sent before the first request."""
    provider = bench.connect()
    assert bench.requests() == 0
    assert bench.threads(lambda _: provider.list(), 4) == []
    assert bench.requests(LOGIN) == 1


def test_a_given_token_wins_over_a_login(bench: Bench) -> None:
    """With an access token nobody logs in, and its refusal is the answer."""
    both = {"access_token": f" Bearer {ACCESS_TOKEN}\n", "email": EMAIL, "password": PASSWORD}
    assert bench.connect(both).list() == ()
    with pytest.raises(AccessError, match="invalid or expired token"):
        bench.connect({**both, "access_token": "an-old-token"}).list()
    assert bench.requests(LOGIN) == 0


def test_a_token_that_ends_in_the_middle_leads_to_one_new_login(bench: Bench) -> None:
    """Many requests meet the 401 at once; one of them logs in, all go on."""
    bench.deploy()
    before = bench.requests(LOGIN)
    with bench.world() as world:
        world.table("tokens").clear()
    bench.knob(latency=0.01)
    assert bench.threads(lambda _: bench.provider.list(), 6) == []
    assert bench.requests(LOGIN) - before == 1


def test_a_token_refused_twice_is_an_error(bench: Bench) -> None:
    """After one new login a 401 is believed."""
    bench.knob(token_seconds=0)
    with pytest.raises(AccessError):
        bench.provider.list()
    assert bench.requests(LOGIN) == 2


@pytest.mark.parametrize(
    ("credentials", "shows"),
    [
        ({"email": EMAIL, "password": "wrong-password"}, "Invalid email or password"),
        ({"email": "who@example.invalid", "password": PASSWORD}, "user not found"),
        ({"email": "nobody", "password": PASSWORD}, "email and password are required"),
    ],
)
def test_a_refused_login_says_so_without_the_password(bench: Bench, credentials: dict[str, str], shows: str) -> None:
    """Whatever status the login answers, it is an error of access, with the variables to set."""
    with pytest.raises(AccessError, match=f"the login failed.*{shows}") as caught:
        bench.connect(credentials).list()
    told = repr(caught.value.diagnostics) + "".join(bench.log)
    assert credentials["password"] not in told
    assert "NEEVCLOUD_EMAIL" in told


@pytest.mark.parametrize(
    ("credentials", "shows"),
    [
        ({}, "NEEVCLOUD_ACCESS_TOKEN"),
        ({"email": EMAIL}, "NEEVCLOUD_PASSWORD"),
        ({"access_token": "sk-nc-0123456789"}, "inference key"),
    ],
)
def test_unusable_credentials_are_refused_before_anything_is_sent(
    bench: Bench, credentials: dict[str, str], shows: str
) -> None:
    """Missing ones and inference keys are told apart, and never quoted."""
    with pytest.raises(AccessError) as caught:
        bench.connect(credentials)
    told = repr(caught.value.diagnostics)
    assert shows in told
    assert "0123456789" not in told
    assert bench.requests() == 0


class Tenant:
    """A login that gives a token of a certain lifetime each time."""

    def __init__(self, now: list[float], lifetime: float) -> None:
        self.now, self.lifetime, self.logins = now, lifetime, 0

    def request(self, method: str, path: str, **_: Json) -> object:
        self.logins += 1
        token = jwt(exp=self.now[0] + self.lifetime, n=self.logins)
        return type("A", (), {"data": {"access_token": token}, "status": 200})


@pytest.mark.parametrize(
    ("lifetime", "still_good", "renewed"), [(3600.0, 3539.0, 3541.0), (60.0, 29.0, 31.0), (-500.0, 9e9, None)]
)
def test_a_token_is_renewed_before_it_ends(lifetime: float, still_good: float, renewed: float | None) -> None:
    """A minute before its end, half-way for a short one; a token from another clock's past only at a 401."""
    now = [1000.0]
    tenant = Tenant(now, lifetime)
    login = Login("n", tenant, "e", "p", wall=lambda: now[0])  # type: ignore[arg-type]
    login(False)
    now[0] = 1000.0 + still_good
    login(False)
    assert tenant.logins == 1
    if renewed is not None:
        now[0] = 1000.0 + renewed
        login(False)
        assert tenant.logins == 2


@pytest.mark.parametrize(
    "token", ["", "opaque", "a.b.c", "a.!!.c", jwt(), jwt(exp="soon"), jwt(exp=True), "..", "a..c"]
)
def test_a_token_that_does_not_say_its_end_is_used_until_refused(token: str) -> None:
    """Nothing is promised about the token's form."""
    assert expiry(token) is None


# --- deploying ------------------------------------------------------------------------------------------------------


def test_replicas_at_deploy_are_a_scale_once_it_is_ready(bench: Bench) -> None:
    """The create call takes no replicas: one deploy action of two calls, done when as many run as were asked for."""
    driven = bench.drive(deploy_of("chat", {**bench.spec(0), "replicas": 4}))
    assert isinstance(driven.end, Done)
    assert driven.sent == ["create", "scale"]
    assert driven.end.live is not None
    assert driven.end.live.attributes["replicas"] == 4


def test_a_resumed_deploy_only_scales(bench: Bench) -> None:
    """A run that ended between create and scale left one replica; the next goes on with the scale."""
    first = bench.deploy()
    op = replace(after(PROVIDER, first, "deploy", {**bench.spec(0), "replicas": 2}), live=None)
    driven = bench.drive(op)
    assert isinstance(driven.end, Done)
    assert driven.sent == ["scale"]


def test_a_scale_is_not_done_before_as_many_run(bench: Bench) -> None:
    """An answer or a list that still shows the old number and `ready` ends nothing."""
    bench.knob(lag=2.0)
    first = bench.deploy()
    bench.clock.tick(10)
    wanted = {**bench.spec(0), "replicas": 3}
    driven = bench.drive(after(PROVIDER, first, "scale", wanted, ["replicas"]))
    assert isinstance(driven.end, Done)
    assert driven.sent == ["scale"]
    assert bench.serving()[0].attributes["replicas"] == 3


def test_a_failed_deployment_that_recovers_is_seen_as_ready(bench: Bench) -> None:
    """`failed` may be passing; what is listed is the word of now."""
    bench.knob(fail_deploys=["model-0"], recover_seconds=5)
    assert isinstance(bench.deploy().end, Failed)
    assert [live.health for live in bench.serving()] == ["failed"]
    bench.clock.tick(10)
    assert [live.health for live in bench.serving()] == ["ready"]


def test_the_path_has_aimodels_twice_and_the_scope_names_the_project(bench: Bench) -> None:
    """The gateway's prefix and the collection are both called aimodels."""
    bench.deploy()
    posts = [path for _, method, path in bench.sandbox.requests.recent if method == "POST" and "auth" not in path]
    assert posts == ["/aimodels/api/v1beta1/orgs/org-abc123/projects/prj-abc123/aimodels"]
    settings = {"org_id": "org-1", "project_id": "prj-2"}
    assert PROVIDER.scope(settings) == PROVIDER.scope({**settings, "endpoint": f"{ENDPOINT}/"})
    assert "org-1/prj-2" in PROVIDER.scope(settings)


def test_another_project_is_forbidden_not_empty(bench: Bench) -> None:
    """403 is an error of access."""
    with pytest.raises(AccessError):
        bench.connect(project_id="prj-other").list()


def test_the_login_goes_to_the_gateway_of_the_endpoint(bench: Bench) -> None:
    """Without auth_endpoint a password is sent to the tenant service beside the endpoint, not to the public one."""
    config = ProviderConfig(
        "neevcloud", "neevcloud", {"endpoint": "http://sandbox.invalid/neevcloud/aimodels", **Suite.case.settings}, ""
    )
    transport = bench.provider._client._wire.transport  # type: ignore[attr-defined]
    provider = PROVIDER.connect(config, {"email": EMAIL, "password": PASSWORD}, Wire(transport))
    assert provider.list() == ()


def test_the_sandbox_keeps_no_config(bench: Bench) -> None:
    """What may hold a secret and is never returned is not written down by the simulator either."""
    bench.drive(deploy_of("chat", {**bench.spec(0), "config": {"extra_args": ["--hf-token", "hf_abcdefgh"]}}))
    with bench.world() as world:
        assert "hf_abcdefgh" not in json.dumps(world.dump())


# --- names ----------------------------------------------------------------------------------------------------------


def test_one_on_its_way_out_is_never_taken_for_ours(bench: Bench) -> None:
    """A terminating deployment of the same name was there before the create whose answer was lost."""
    op = deploy_of("chat", bench.spec(0))
    old = bench.deploy()
    bench.knob(undeploy_seconds=60)
    bench.provider.send(old.op, Call("delete"))
    assert bench.provider.find(op, Call("create", creates=True)) is None


def test_what_the_same_action_undeployed_is_never_taken_for_what_it_makes(bench: Bench) -> None:
    """A list that lags shows it still, under the very name that the lost create asked for."""
    old = bench.deploy()
    op = deploy_of("chat", bench.spec(0))
    assert bench.provider.find(replace(op, removed=old.op.id), Call("create", creates=True)) is None


def test_a_namesake_that_differs_is_a_conflict(bench: Bench) -> None:
    """What a lost create may have made is ours only if everything returned agrees."""
    bench.deploy()
    other = {**bench.spec(0), "region": "elsewhere"}
    found = bench.provider.find(deploy_of("chat", other), Call("create", creates=True))
    assert isinstance(found, Conflict)
    assert "region" in found.message
    assert isinstance(bench.provider.find(deploy_of("chat", bench.spec(0)), Call("create", creates=True)), Reply)


def test_a_digest_makes_no_conflict(bench: Bench) -> None:
    """After a kill an intent holds digests where secrets stood; whether those agree the engine finds out."""
    driven = bench.deploy()
    sealed = {**bench.spec(0), "region": {"$digest": "hmac-sha256:00"}}
    found = bench.provider.find(deploy_of("chat", sealed), Call("create", creates=True))
    assert isinstance(found, Reply)
    assert found.id == driven.op.id
    other = bench.provider.find(deploy_of("chat", {**sealed, "gpu_count": 7}), Call("create", creates=True))
    assert isinstance(other, Conflict)


def test_a_repeated_create_that_is_refused_is_looked_up_again(bench: Bench) -> None:
    """The first create got through while two looks lacked it: the refusal of its name is no refusal of ours."""
    op, call = deploy_of("chat", bench.spec(0)), Call("create", creates=True)
    bench.fault("POST .*/aimodels$", "cut_after")
    for _ in range(2):
        with pytest.raises(UnavailableError) as caught:
            bench.provider.send(op, call)
        assert caught.value.effect == "unknown"
    found = bench.provider.find(op, call)
    assert isinstance(found, Reply)
    with pytest.raises(RejectedError, match="already used"):
        bench.provider.send(op, call)
    assert len(bench.serving()) == 1


# --- answers --------------------------------------------------------------------------------------------------------


def test_what_is_never_returned_is_not_made_up() -> None:
    """catalog_id, plan_id and config are absent from live attributes, as is what an answer leaves out."""
    live = normalize({"id": "dep-1", "name": "chat", "status": "initializing", "endpoint_url": None}, "neevcloud")
    assert live.attributes == {"name": "chat"}
    assert live.computed == {"id": "dep-1", "endpoint_url": None, "status": "initializing"}
    assert live.identities == ("chat",)


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("initializing", "pending"),
        ("ready", "ready"),
        ("failed", "failed"),
        ("terminating", "deleting"),
        ("hibernating", "unknown"),
        (None, "unknown"),
    ],
)
def test_statuses(status: str | None, health: str) -> None:
    """The provider's four words are known; a new one is unknown, not an error."""
    assert normalize({"id": "dep-1", "status": status}, "neevcloud").health == health


@pytest.mark.parametrize("raw", [None, [], {}, {"id": ""}, {"id": 7}])
def test_a_deployment_without_an_id_is_a_bad_answer(raw: Json) -> None:
    """Nothing can be done with it."""
    with pytest.raises(BadAnswerError):
        normalize(raw, "neevcloud")


def test_a_create_answered_without_an_id_may_have_worked(bench: Bench) -> None:
    """The effect is unknown, so it is looked up and found."""
    bench.meddle = lambda data: {key: value for key, value in data.items() if key != "id"}
    with pytest.raises(BadAnswerError) as caught:
        bench.provider.send(deploy_of("chat", bench.spec(0)), Call("create", creates=True))
    assert caught.value.effect == "unknown"


@pytest.mark.parametrize("data", [{}, {"items": None}, {"data": []}, []])
def test_a_list_in_another_form_is_an_error(bench: Bench, data: Json) -> None:
    """An envelope without items is never an empty list."""
    bench.provider.list()
    bench.meddle = lambda _: data
    with pytest.raises(BadAnswerError):
        bench.provider.list()


def test_next_waits_where_it_can_not_know() -> None:
    """Between a call and the first look there is nothing to decide; somebody else's delete ends a deploy."""
    op = Operation("deploy", "chat", "m", {"replicas": 1})
    assert PROVIDER.next(op) == Call("create", creates=True)
    op = merged(op, Reply(id="dep-1"))
    assert isinstance(PROVIDER.next(op), Wait)
    leaving = Live("dep-1", ("chat",), "chat", {}, {}, "terminating", "deleting")
    assert isinstance(PROVIDER.next(replace(op, live=leaving)), Failed)
    assert PROVIDER.next(replace(op, verb="undeploy")) == Call("delete")
    assert PROVIDER.next(Operation("undeploy", "chat", "m", {})) == Done(None)


def test_a_misspelt_config_key_is_refused_and_an_unknown_one_is_not() -> None:
    """The provider stores any key without a word; one that looks like a mistake is stopped."""
    (problem,) = PROVIDER.check({"config": {"max_model_length": 1, "trust_remote": True}}, {})
    assert problem.path == "config.max_model_length"
    assert re.search("max_model_len'", problem.hint)
