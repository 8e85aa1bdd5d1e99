"""What goes wrong at a provider: one clear error that names it, the right exit code, a state that tells the truth."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import COMMAND, Project, Remote

ANSWER = b'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 30\r\n\r\n{"domain_aligned_models": [] }'
LIST = "GET .*/models/aligned"

# a fault of the list -> words of the error
BAD_ANSWERS = {
    "html": ["nugen", "JSON"],
    "empty": ["nugen"],
    "truncate": ["nugen", "JSON"],
    "redirect": ["nugen", "redirects"],
    "status:500": ["nugen", "500"],
    "status:403": ["nugen", "403"],
    "status:418": ["nugen", "418"],
    "cut_before": ["nugen"],
    "refuse": ["nugen"],
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_a_provider_that_answers_nonsense_is_named(remote: Remote, kind: str) -> None:
    """Whatever a list call gives instead of a list is exit 1 and is never taken for an empty list."""
    remote.apply()
    before = remote.files()
    remote.served.fault(remote.nugen, LIST, kind)
    for arguments in (("plan",), ("apply", "--auto-approve")):
        ran = remote.run(*arguments).failed(1, *BAD_ANSWERS[kind])
        assert "deploy" not in ran.out
    assert remote.files() == before


def test_wrong_credentials(remote: Remote) -> None:
    """A refused key is exit 1, names the provider, and never prints the key."""
    ran = remote.run("plan", NUGEN_API_KEY="sk-very-wrong").failed(1, "nugen", "401", "credentials")
    assert "sk-very-wrong" not in ran.err + ran.out
    ran = remote.run("--log-level", "debug", "plan", NUGEN_API_KEY="sk-very-wrong").failed(1)
    assert "sk-very-wrong" not in ran.err + ran.out


def test_all_providers_that_fail_are_named_at_once(remote: Remote) -> None:
    """Two providers that can't be read are two errors in one run."""
    remote.served.fault(remote.nugen, "GET", "status:403")
    remote.served.fault(remote.neevcloud, "GET", "status:403")
    ran = remote.run("plan").ended(1)
    assert ran.err.count("error: ") == 2
    assert "provider: nugen" in ran.err
    assert "provider: neevcloud" in ran.err


def at(project: Project, url: str, more: str = "") -> None:
    project.env["NUGEN_API_KEY"] = "key"
    project.write(f'version: 1\nstack: demo\nproviders: {{nugen: {{endpoint: "{url}", timeout: 2s{more}}}}}\n')
    project.write("x", ".keep")


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on this machine with a certificate of its own making; its URL and that certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with the openssl command")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65536)
                    connection.sendall(ANSWER)
            except (ssl.SSLError, ConnectionError):
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}/api/v3", certificate
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_certificate_that_nobody_signed(project: Project, tls: tuple[str, Path]) -> None:
    """TLS is verified: a self-signed server is exit 1 with the way out, and is read once `ca_cert` names it."""
    url, certificate = tls
    at(project, url)
    project.run("plan").failed(1, "nugen", "certificate", "ca_cert")
    at(project, url, f', ca_cert: "{certificate}"')
    project.run("plan").ended(0)
    at(project, url, ', ca_cert: "nowhere.pem"')
    project.run("plan").failed(1, "nowhere.pem")


def test_nobody_listens(project: Project) -> None:
    """A refused connection and a name that does not exist are each said to be that."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    at(project, f"http://127.0.0.1:{port}/api")
    project.run("plan").failed(1, "nugen", "refused")
    at(project, "http://nobody.invalid/api")
    project.run("plan").failed(1, "nugen", "nobody.invalid")


def test_plain_http_where_tls_is_expected(remote: Remote) -> None:
    """`https://` at a server without TLS is a TLS error, not a stack trace."""
    remote.write(
        remote.text().replace(f'"{remote.served.url}/nugen', f'"{remote.served.url}/nugen'.replace("http:", "https:"))
    )
    remote.run("plan").failed(1, "nugen", "TLS")


def test_a_refused_create_is_not_in_the_state(remote: Remote) -> None:
    """A create that is refused fails its action alone; the rest is done, exit 3, and a second run does what is left."""
    remote.served.fault(remote.nugen, "POST", "status:400")
    ran = remote.run("apply", "--auto-approve").ended(3)
    assert "Failed: 1" in ran.out
    assert remote.run("state", "list").ended(0).out.split() == ["chat"]
    remote.served.heal(remote.nugen)
    remote.apply()
    assert remote.run("plan", "--detailed-exitcode").ended(0)


def test_one_failure_skips_what_depends_on_it(remote: Remote) -> None:
    """What depends on a failed deployment is skipped and says so; exit 3."""
    remote.served.fault(remote.neevcloud, "POST", "status:400")
    ran = remote.run("apply", "--auto-approve").ended(3)
    assert "Skipped: 1" in ran.out
    assert "chat" in ran.out
    assert remote.run("state", "list").ended(0).out == ""


def test_a_deployment_that_never_becomes_ready(remote: Remote) -> None:
    """A deploy that times out stays in the state and is waited for by the next apply, which deploys nothing anew."""
    remote.served.knobs(remote.nugen, never_ready=True)
    slow = remote.text().replace("depends_on: [chat]", "depends_on: [chat], timeouts: {deploy: 1s}")
    remote.write(slow)
    ran = remote.run("apply", "--auto-approve").ended(3)
    assert "support" in ran.out
    assert remote.run("state", "list").ended(0).out.split() == ["chat", "support"]


def test_a_lost_answer_deploys_nothing_twice(remote: Remote) -> None:
    """The connection breaks after the provider took a create: it is found again, and there is one deployment."""
    remote.served.fault(remote.neevcloud, "POST", "cut_after", times=1)
    remote.apply()
    data = remote.served.call("GET", f"/_sandbox/{remote.neevcloud}/world")["data"]
    assert len(data["deployments"]) == 1


def test_waiting_for_a_provider_is_heard_of(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow list, and one that the provider puts off: stderr names who is waited for, stdout holds the plan alone."""
    quick = "import reconciler.engine.heartbeat as heart; heart.HEARTBEAT = 0.05; "
    monkeypatch.setattr("tests.support.cli.COMMAND", [*COMMAND[:-1], quick + COMMAND[-1]])
    remote.served.fault(remote.nugen, LIST, "delay:0.5", times=1)
    slow = remote.run("plan").ended(0)
    remote.served.fault(remote.nugen, LIST, "throttle:0.5", times=1)
    put_off = remote.run("plan").ended(0)
    assert "still listing: nugen (" in slow.err
    assert "throttled" not in slow.err
    assert "s; throttled, waiting as asked)…\n" in put_off.err
    assert "still listing" not in slow.out + put_off.out


def test_a_provider_that_throttles(remote: Remote) -> None:
    """429 alone fails nothing."""
    remote.served.fault(remote.nugen, "GET|POST", "throttle:0.1", times=3)
    remote.apply()
