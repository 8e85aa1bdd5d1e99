"""Basic authentication, TLS with an authority of one's own, and roles without rights, in front of a real node."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.opensearch_node import Cluster
from tests.support.front import Front
from tests.support.real_node import REAL, RealProject
from tests.support.service import Service

pytestmark = REAL
PASSWORD = "a-password-of-the-cluster"
WRITES = r"^(PUT|DELETE)|POST .*/(_create|_register|_deploy|_undeploy)$"
USERS = {"admin": (PASSWORD, ""), "reader": (PASSWORD, WRITES), "stranger": (PASSWORD, ".*")}


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ca.pem`, and `cert.pem` with `key.pem` signed by it for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificates with the openssl command")
    place = tmp_path_factory.mktemp("authority")
    new = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    ca, key, asked = str(place / "ca.pem"), str(place / "key.pem"), str(place / "asked.pem")
    openssl("req", "-x509", *new, "-keyout", str(place / "ca.key"), "-out", ca, "-subj", "/CN=Our Own Authority")
    openssl("req", *new[:3], "-keyout", key, "-out", asked, "-subj", "/CN=node")
    (place / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ("-CA", ca, "-CAkey", str(place / "ca.key"), "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", asked, *signed, "-extfile", str(place / "names"), "-out", str(place / "cert.pem"))
    return place


@pytest.fixture
def guarded(
    tmp_path: Path, node: Cluster, service: Service, authority: Path, request: pytest.FixtureRequest
) -> Iterator[RealProject]:
    """A stack whose cluster speaks TLS and asks for a password; its file names the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    front = Front(node.url, tls=context, users=USERS)
    project = RealProject(tmp_path, node=node, service=service, name=request.node.name)
    shutil.copy(authority / "ca.pem", tmp_path / "ca.pem")
    project.settings = {"endpoint": front.url, "ca_cert": "ca.pem"}
    project.env |= {"OPENSEARCH_USERNAME": "admin", "OPENSEARCH_PASSWORD": PASSWORD}
    project.declare({"chat": project.own()})
    yield project
    project.clean()
    front.close()


def test_the_whole_life_with_password_and_own_authority(guarded: RealProject) -> None:
    """Deployed, settled and destroyed by TLS and basic authentication; the password is written nowhere."""
    ran = guarded.run("--log-level", "debug", "apply", "--auto-approve").ended(0)
    guarded.settled()
    assert guarded.serving(guarded.recorded()["id"])
    written = ran.out + ran.err + "".join(str(data) for data in guarded.files().values())
    assert PASSWORD not in written
    guarded.run("destroy", "--auto-approve").ended(0)


def test_an_authority_that_is_not_named_is_not_trusted(guarded: RealProject) -> None:
    """Without `ca_cert` nothing is sent, and the error names the setting."""
    del guarded.settings["ca_cert"]
    guarded.declare({"chat": guarded.own()})
    guarded.run("plan").failed(1, "ca_cert")


@pytest.mark.parametrize("user", [("admin", "wrong"), ("nobody", PASSWORD)])
def test_who_is_not_known_learns_nothing(guarded: RealProject, user: tuple[str, str]) -> None:
    """401: an error of access that quotes no password."""
    guarded.env |= {"OPENSEARCH_USERNAME": user[0], "OPENSEARCH_PASSWORD": user[1]}
    ran = guarded.run("plan").failed(1, "opensearch", "401")
    assert user[1] not in ran.err


def test_without_credentials_the_error_names_the_variables(guarded: RealProject) -> None:
    """A cluster that asks for a password: the error says where it comes from."""
    del guarded.env["OPENSEARCH_USERNAME"], guarded.env["OPENSEARCH_PASSWORD"]
    guarded.run("plan").failed(1, "OPENSEARCH_USERNAME")


def test_a_role_that_may_only_read_plans_and_does_not_apply(guarded: RealProject) -> None:
    """Planning and drift need no right to write; an apply is refused with the server's words, and makes nothing."""
    guarded.apply()
    id_ = guarded.recorded()["id"]
    guarded.env["OPENSEARCH_USERNAME"] = "reader"
    guarded.settled()
    guarded.run("drift").ended(0)
    guarded.declare({"chat": guarded.own(description="by a reader"), "next": guarded.own("next")})
    ran = guarded.run("apply", "--auto-approve").ended(3)
    assert "no permissions for" in " ".join(ran.out.split())
    assert guarded.models_named(guarded.named("next")) == {}
    assert not guarded.model(id_).get("description")
    guarded.env["OPENSEARCH_USERNAME"] = "admin"
    guarded.apply()
    guarded.settled()


def test_a_role_without_rights_is_not_an_empty_cluster(guarded: RealProject) -> None:
    """403 to a list is an error: nothing counts as gone, nothing is deployed anew."""
    guarded.apply()
    guarded.env["OPENSEARCH_USERNAME"] = "stranger"
    for command in (("plan",), ("drift",), ("apply", "--auto-approve")):
        guarded.run(*command).failed(1, "no permissions")
    assert guarded.serving(guarded.recorded()["id"])
