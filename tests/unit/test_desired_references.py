"""References in a desired-state file: what they link, what they may not name, where whole parts may come from one."""

from __future__ import annotations

import pytest

from reconciler.diagnostics import Span
from reconciler.model import Unknown
from tests.support.stacks import build, only_error

ONE = "deployments:\n  chat:\n    provider: fake\n    spec:\n      model: m\n"


def test_references_make_dependencies() -> None:
    """A reference is an implicit dependency, stays unknown, and is listed; depends_on adds to it, sorted."""
    text = """
deployments:
  app:
    provider: fake
    spec: {model: '${deployments.base.id}', config: {x: 'u ${deployments.base.model}'}}
    depends_on: [zoo]
  base: {provider: fake, spec: {model: m}}
  zoo: {provider: fake, spec: {model: m}}
outputs: {url: '${deployments.app.endpoint_url}'}
"""
    stack = build(text)
    app = stack.deployments["app"]
    assert app.spec["model"] == Unknown("${deployments.base.id}")
    assert app.references == (("base", "id"), ("base", "model"))
    assert app.depends_on == ("base", "zoo")
    assert stack.outputs == {"url": Unknown("${deployments.app.endpoint_url}")}


def test_escaped_references_are_text() -> None:
    """ML Commons' own `${parameters.x}` is written `$${parameters.x}` and arrives as it should."""
    made = build(ONE.replace("model: m", "model: a $${parameters.x}")).deployments["chat"]
    assert made.spec["model"] == "a ${parameters.x}"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("${deployments.bse.id}", "there is no deployment `bse`"),
        ("${deployments.base.idd}", "fake has no attribute `idd`"),
        ("${deployments.base.config.depht}", None),  # config takes any key
        ("${deployments.base.replicas.x}", "fake has no attribute `replicas.x`"),
        ('${deployments.base["eu"].id}', "has no `for_each`"),
        ("${deployments.many.id}", "one instance must be named"),
        ('${deployments.many["uk"].id}', 'no instance many["uk"]'),
        ("${each.key}", "no `each` outside"),
        ("${env.NOT_SET}", "NOT_SET is not set"),
    ],
)
def test_references_to_nothing(reference: str, message: str | None) -> None:
    """A reference to what is not there is an error at the line that has it, under the address that has it."""
    text = f"""
deployments:
  base: {{provider: fake, spec: {{model: m}}}}
  many: {{provider: fake, for_each: [eu, us], spec: {{model: m}}}}
  app:
    provider: fake
    spec:
      model: '{reference}'
"""
    if message is None:
        build(text)
        return
    problem = only_error(text)
    assert message in problem.summary
    assert problem.address == "app"
    assert problem.span == Span("reconciler.yaml", 11, 14)


def test_circles_are_drawn() -> None:
    """A circle of references or depends_on is an error that shows it and each place in it."""
    text = """
deployments:
  a: {provider: fake, spec: {model: '${deployments.b.id}'}}
  b: {provider: fake, spec: {model: m}, depends_on: [c]}
  c: {provider: fake, spec: {model: '${deployments.a.id}'}}
"""
    problem = only_error(text)
    assert problem.summary.endswith("in a circle: a → b → c → a")
    assert [(what, span.line) for what, span in problem.related] == [
        ("a needs b", 6),
        ("b needs c", 7),
        ("c needs a", 8),
    ]
    assert "itself" in only_error(ONE + "    depends_on: [chat]\n").summary


def test_unknown_dependency() -> None:
    """depends_on names what is declared, with the nearest spelling otherwise."""
    text = "deployments:\n  embedder: {provider: fake, spec: {model: m}}\n  b:\n    provider: fake\n"
    problem = only_error(text + "    depends_on: [embeder]\n    spec: {model: m}\n")
    assert (problem.hint, problem.span and problem.span.line) == ("did you mean `embedder`?", 8)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("provider: fake, spec: '${var.three}'", "`spec` has a wrong value"),
        ("provider: fake, spec: '${env.X}'", "`spec` has a wrong value"),
        ("provider: fake, spec: '${deployments.d.id}'", "not known before the plan"),
        ("provider: '${var.list}', spec: {model: m}", "is not declared"),
        ("provider: fake, spec: {model: m}, depends_on: '${var.three}'", "`depends_on` has a wrong value"),
        ("provider: fake, spec: {model: m}, lifecycle: '${var.three}'", "`lifecycle` has a wrong value"),
        ("provider: fake, spec: {model: m}, timeouts: {deploy: '$${x}'}", "`timeouts.deploy` has a wrong value"),
        ("provider: fake, spec: {model: m}, adopt: '${deployments.d.id}'", "not known before the plan"),
        ("provider: fake, spec: {model: m}, presence: '${var.three}'", "`presence` has a wrong value"),
    ],
)
def test_references_that_give_the_wrong_thing(entry: str, message: str) -> None:
    """Whatever a reference stands for, it must fit where it stands."""
    text = "variables: {three: {default: 3}, list: {default: [1]}}\ndeployments: {d: {" + entry + "}}\n"
    assert message in only_error(text, environ={"X": "x"}).summary


def test_references_to_whole_parts() -> None:
    """A variable may hold a whole spec, lifecycle or default; it is merged as if it stood in the file."""
    text = """
variables:
  spec: {default: {size: small, config: {depth: 1}}}
  careful: {default: {prevent_undeploy: true}}
  wait: {default: 5m}
defaults: {fake: {spec: '${var.spec}', timeouts: {deploy: '${var.wait}'}}}
deployments:
  d: {provider: fake, spec: {model: m, config: {depth: 2}}, lifecycle: '${var.careful}', depends_on: ['e']}
  e: {provider: fake, spec: {model: m}}
"""
    made = build(text).deployments["d"]
    assert (made.spec["size"], made.spec["config"]["depth"]) == ("small", 2)
    assert (made.lifecycle.prevent_undeploy, made.timeouts.deploy) == (True, 300.0)
