"""Sensitivity in a desired-state file, and its `providers:` section: settings, credentials, what is refused where."""

from __future__ import annotations

import pytest

from reconciler.core.load.provider_section import provider_type_names
from reconciler.diagnostics import Span
from reconciler.model import ProviderConfig, Secret, Unknown
from tests.support.stacks import HEAD, build, document, errors, only_error


# --- sensitivity --------------------------------------------------------------------------------------------------
def test_what_is_sensitive() -> None:
    """Values from the environment, by schema and beside telling names are Secret, elements of lists singly."""
    text = "{provider: fake, spec: {model: 'k ${env.X}', api_key: literal, key_pair_name: pair, blob: {a: 1},"
    text += " config: {extra_args: [--hf-token, abc, --tp, '2', '${env.X}']}}}"
    spec = build(f"deployments:\n  chat: {text}\n", environ={"X": "hush"}).deployments["chat"].spec
    assert spec["model"] == Secret("k hush", "k ${env.X}")
    assert spec["api_key"] == Secret("literal")
    assert spec["key_pair_name"] == "pair"
    assert spec["blob"] == {"a": Secret(1)}
    assert spec["config"]["extra_args"] == ["--hf-token", Secret("abc"), "--tp", "2", Secret("hush", "${env.X}")]


def test_sensitivity_travels_with_references() -> None:
    """What refers to a sensitive attribute of another deployment is sensitive, through any number of steps."""
    text = """
deployments:
  a: {provider: fake, spec: {model: m, api_key: '${env.X}'}}
  b: {provider: fake, spec: {model: '${deployments.a.api_key}'}}
  c: {provider: fake, spec: {model: 'x ${deployments.b.model}', config: {u: '${deployments.a.id}'}}}
"""
    stack = build(text, environ={"X": "hush"})
    assert stack.deployments["b"].spec["model"] == Unknown("${deployments.a.api_key}", True)
    assert stack.deployments["c"].spec["model"] == Unknown("x ${deployments.b.model}", True)
    assert stack.deployments["c"].spec["config"]["u"] == Unknown("${deployments.a.id}")
    problem = only_error(text + "outputs: {o: '${deployments.c.model}'}\n", environ={"X": "hush"})
    assert "output `o` is sensitive" in problem.summary


@pytest.mark.parametrize(
    ("text", "head", "what"),
    [
        ("deployments: {d: {provider: fake, spec: {model: m, name: '${env.X}'}}}", HEAD, "`name` identifies"),
        ("deployments: {d: {provider: '${env.X}', spec: {model: m}}}", HEAD, "`provider` is sensitive"),
        ("outputs: {o: '${env.X}'}", HEAD, "output `o`"),
        ("limits: {max_undeploys: '${env.X}'}", HEAD, "limit `max_undeploys`"),
        ("", "version: 1\nstack: s\nproviders: {fake: {org: '${env.X}'}}\n", "setting `org`"),
        ("deployments: {d: {provider: fake, spec: {model: m}, adopt: '${env.X}'}}", HEAD, "`adopt` is sensitive"),
    ],
)
def test_where_sensitive_values_are_refused(text: str, head: str, what: str) -> None:
    """In an identity, provider:, outputs or settings a sensitive value is an error that points to a plain variable."""
    found = errors(text, head=head, environ={"X": "fake"})
    assert any(what in item.summary for item in found)
    assert any("plain variable" in item.hint for item in found)
    assert not any("fake" in item.detail for item in found)


def test_unknown_identity_is_refused() -> None:
    """A deployment's identity must be known before the plan."""
    text = "deployments:\n  a: {provider: fake, spec: {model: m}}\n"
    text += "  b: {provider: fake, spec: {model: m, name: '${deployments.a.id}'}}\n"
    assert "known before the plan" in only_error(text).summary


# --- providers ----------------------------------------------------------------------------------------------------
def provider(body: str, environ: dict[str, str]) -> ProviderConfig:
    """The provider `fake` of a block."""
    return build("", head=f"version: 1\nstack: s\nproviders:\n{body}", environ=environ).providers["fake"]


def test_provider_settings() -> None:
    """Settings get the type's defaults, durations in seconds, credentials apart, prices and the scope."""
    body = "  fake:\n    org: o\n    timeout: 1m\n    poll_interval: 500ms\n    max_concurrency: 4\n"
    body += "    endpoint: https://x.example/v1\n    ca_cert: ca.pem\n    requests_per_second: 2.5\n"
    body += "    prices: {p: {unit_price: 2.5, currency: USD}, q: {input_tpm: 1, currency: CNY}}\n"
    body += "    credentials: {api_key: '${env.OTHER}'}\n"
    config = provider(body, {"OTHER": "hush"})
    assert config.settings == {
        "region": "r1",
        "org": "o",
        "timeout": 60.0,
        "poll_interval": 0.5,
        "max_concurrency": 4,
        "endpoint": "https://x.example/v1",
        "ca_cert": "ca.pem",
        "requests_per_second": 2.5,
    }
    assert config.credentials == {"api_key": Secret("hush", "${env.OTHER}")}
    assert config.prices["p"] == {"unit_price": 2.5, "currency": "USD"}
    assert (config.type, config.scope) == ("fake", "r1/o")
    assert config.span == Span("reconciler.yaml", 4, 3)


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        ("regoin: r1", "`regoin` is not known", "`region`"),
        ("region: R1", "`region` has a wrong value", "did you mean `r1`?"),
        ("timeout: soon", "`timeout` has a wrong value", ""),
        ("timeout: 0s", "longer than nothing", ""),
        ("endpoint: ftp://x", "`endpoint` has a wrong value", ""),
        ("endpoint: 'https://user:pw@host'", "`endpoint` has a wrong value", ""),
        ("max_concurrency: 0", "`max_concurrency` has a wrong value", ""),
        ("credentials: {api_key: literal}", "stands in the file as a literal", "${env.FAKE_API_KEY}"),
        ("credentials: {api_kee: '${env.X}'}", "`api_kee` is no credential", "`api_key`"),
        ("prices: {p: {unit_price: 1}}", "`currency` is missing", ""),
        ("prices: {p: {currency: USD}}", "one of `unit_price`, `input_tpm`, `output_tpm` is missing", ""),
        ("org: '${deployments.x.id}'", "can't stand in a provider's settings", "variable"),
    ],
)
def test_wrong_settings(setting: str, message: str, hint: str) -> None:
    """Each wrong setting is an error with place and provider; a literal credential is never shown."""
    problem = only_error("", head=f"version: 1\nstack: s\nproviders:\n  fake:\n    {setting}\n", environ={"X": "x"})
    assert message in problem.summary
    assert hint in problem.hint
    assert problem.provider == "fake"
    assert problem.span is not None
    assert problem.span.line == 5
    assert "literal" not in problem.detail


@pytest.mark.parametrize("setting", ["timeout", "endpoint", "region"])
def test_a_setting_of_a_broken_variable(setting: str) -> None:
    """What is wrong with the variable is told once, and nothing is said of what is made of it."""
    head = f"version: 1\nstack: s\nvariables: {{m: }}\nproviders: {{fake: {{{setting}: '${{var.m}}'}}}}\n"
    problem = only_error("deployments: {d: {provider: fake, spec: {model: m}}}\n", head=head)
    assert problem.span is not None
    assert problem.span.line == 3


def test_unknown_provider_type() -> None:
    """A type that nobody ships is an error with the nearest one, known types included that this run did not load."""
    problem = only_error("", head="version: 1\nstack: s\nproviders: {neevclod: {}}\n")
    assert problem.hint == "did you mean `neevcloud`?"


def test_undeclared_provider() -> None:
    """A deployment's provider must be declared; an alias too."""
    text = "deployments: {d: {provider: fake.eu, spec: {model: m}}}\n"
    assert "fake.eu" in only_error(text).hint


def test_unencrypted_endpoints_are_warned_about() -> None:
    """http to another machine is a warning; to this one it is not."""

    def warnings(url: str) -> int:
        return len(build("", head=f"version: 1\nstack: s\nproviders: {{fake: {{endpoint: '{url}'}}}}\n").warnings)

    assert [
        warnings(url) for url in ("http://a.example", "http://localhost:9200", "http://127.0.0.1", "https://a.b")
    ] == [
        1,
        0,
        0,
        0,
    ]


def test_types_that_a_file_names() -> None:
    """The registry loads only the types that a file names, whatever else is wrong with it."""
    assert provider_type_names(document("providers: {fake.a: 1, nugen: {}}\n")) == {"fake", "nugen"}
    assert provider_type_names(document("providers: 3\n")) == frozenset()
