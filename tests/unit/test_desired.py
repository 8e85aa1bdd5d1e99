"""A desired-state file to a Stack: instances, defaults, sensitivity, links; and every error with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.load.desired import Inputs, build_stack, read_header
from reconciler.diagnostics import FileError, Span
from reconciler.edge.document import load_documents
from reconciler.model import Desired, Lifecycle, Limits, Moved, Removed, Timeouts, Unknown
from tests.support.stacks import HEAD, FakeType, build, document, errors, fake_schema, only_error, write

ONE = "deployments:\n  chat:\n    provider: fake\n    spec:\n      model: m\n"


def deployment(body: str, key: str = "chat", **options: object) -> Desired:
    """The deployment `chat` of a spec in flow style."""
    return build(f"deployments:\n  {key}: {body}\n", **options).deployments[key]  # type: ignore[arg-type]


def summaries(text: str, **options: object) -> list[str]:
    return [f"{item.span.line if item.span else 0}: {item.summary}" for item in errors(text, **options)]


# --- one deployment -----------------------------------------------------------------------------------------------
def test_a_small_file() -> None:
    """Defaults of the schema and names from the address are filled in, and said to be so."""
    chat = build(ONE).deployments["chat"]
    assert chat.spec == {"model": "m", "replicas": 1, "name": "chat", "suffix": "s:chat:0"}
    assert chat.derived == {"name", "suffix"}
    assert (chat.provider, chat.type, chat.presence, chat.adopt) == ("fake", "fake", "always", False)
    assert (chat.lifecycle, chat.timeouts, chat.depends_on) == (Lifecycle(), Timeouts(), ())


def test_a_file_without_deployments() -> None:
    """Empty sections, also with nothing but comments below them, are no error."""
    stack = build("deployments:\nmoved:\noutputs:\nlimits:\ndefaults:\n")
    assert (stack.name, dict(stack.deployments)) == ("s", {})


def test_everything_beside_spec() -> None:
    """lifecycle, timeouts, adopt and presence arrive as written, durations in seconds."""
    chat = deployment(
        "{provider: fake, spec: {model: m}, adopt: true, presence: on_demand,"
        " lifecycle: {prevent_undeploy: true, ignore_changes: [config.extra_args]},"
        " timeouts: {deploy: 1h30m, scale: 45s, update: 90, undeploy: 500ms}}"
    )
    assert chat.lifecycle == Lifecycle(prevent_undeploy=True, ignore_changes=("config.extra_args",))
    assert chat.timeouts == Timeouts(deploy=5400.0, scale=45.0, update=90.0, undeploy=0.5)
    assert (chat.adopt, chat.presence) == (True, "on_demand")


def test_presence_follows_a_ttl() -> None:
    """Where the attribute that makes it go away by itself is set, presence is on_demand unless the file says always."""
    assert deployment("{provider: fake, spec: {model: m, ttl: 5}}").presence == "on_demand"
    assert deployment("{provider: fake, spec: {model: m, ttl: 5}, presence: always}").presence == "always"


def test_null_means_left_out() -> None:
    """A null attribute takes the schema's default or is left out; in a free-form mapping null stays."""
    spec = deployment("{provider: fake, spec: {model: m, replicas: null, size: ~, config: {mode: null, x: null}}}").spec
    assert spec == {
        "model": "m",
        "replicas": 1,
        "config": {"x": None, "mode": "fast"},
        "name": "chat",
        "suffix": "s:chat:0",
    }


def test_whole_numbers_are_whole() -> None:
    """2.0 for a whole number is 2, so that no difference is seen where there is none; a share stays what it is."""
    spec = deployment("{provider: fake, spec: {model: m, replicas: 2.0, ratio: 2.0, config: {depth: 3.0}}}").spec
    assert [type(spec["replicas"]), type(spec["ratio"]), type(spec["config"]["depth"])] == [int, float, int]


def test_defaults_by_provider_key() -> None:
    """defaults: are merged deeply under each deployment of exactly that provider; its own words win."""
    text = """
defaults:
  fake: {spec: {model: m, config: {mode: slow, depth: 1}}, lifecycle: {prevent_undeploy: true}, timeouts: {deploy: 1m}}
deployments:
  a: {provider: fake, spec: {config: {depth: 2}}, timeouts: {scale: 2m}}
  b: {provider: fake.other, spec: {model: n}}
"""
    stack = build(text, head="version: 1\nstack: s\nproviders: {fake: {}, fake.other: {org: o}}\n")
    a, b = stack.deployments["a"], stack.deployments["b"]
    assert a.spec["config"] == {"mode": "slow", "depth": 2}
    assert a.lifecycle.prevent_undeploy
    assert (a.timeouts.deploy, a.timeouts.scale) == (60.0, 120.0)
    assert b.spec["model"] == "n"
    assert b.lifecycle == Lifecycle()


def test_default_for_nobody_is_an_error() -> None:
    """defaults: under a key that no provider has would silently do nothing."""
    assert only_error("defaults: {fakee: {spec: {model: m}}}\n").hint == "did you mean `fake`?"


# --- for_each -----------------------------------------------------------------------------------------------------
def test_instances_of_a_map_and_a_list() -> None:
    """for_each makes an address for each key, with each.key and each.value in place, named key-eachkey."""
    text = """
deployments:
  m: {provider: fake, for_each: {eu: {n: 1}, us: {n: 2}}, spec: {model: 'm-${each.key}', replicas: '${each.value.n}'}}
  l: {provider: fake, for_each: [x], spec: {model: '${each.value}'}, depends_on: [m]}
  e: {provider: fake, for_each: {}, spec: {model: m}}
  r: {provider: fake, for_each: [eu], spec: {model: '${deployments.m[each.key].id}'}}
"""
    stack = build(text)
    assert sorted(stack.deployments) == ['l["x"]', 'm["eu"]', 'm["us"]', 'r["eu"]']
    us = stack.deployments['m["us"]']
    assert (us.spec["model"], us.spec["replicas"], us.spec["name"]) == ("m-us", 2, "m-us")
    assert stack.deployments['l["x"]'].depends_on == ('m["eu"]', 'm["us"]')
    assert stack.deployments['r["eu"]'].spec["model"] == Unknown('${deployments.m["eu"].id}')
    assert stack.deployments['r["eu"]'].depends_on == ('m["eu"]',)


def test_for_each_over_a_variable() -> None:
    """A variable can hold the map; the provider may differ by instance."""
    text = "variables: {v: {default: {a: fake, b: fake.two}}}\n"
    text += "deployments: {d: {for_each: '${var.v}', provider: '${each.value}', spec: {model: m}}}\n"
    stack = build(text, head="version: 1\nstack: s\nproviders: {fake: {}, fake.two: {org: o}}\n")
    assert {where: one.provider for where, one in stack.deployments.items()} == {'d["a"]': "fake", 'd["b"]': "fake.two"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("['a\"b']", "can't be part of an address"),
        ("['a[b']", "can't be part of an address"),
        ('["a\\u0001"]', "can't be part of an address"),
        ("['']", "can't be part of an address"),
        ("[a, a]", "for_each"),
        ("[1]", "for_each"),
        ("7", "for_each"),
        ("'${env.X}'", "sensitive"),
        ("{eu: '${env.X}'}", "sensitive"),
        ("['${deployments.other.id}']", "not known before the plan"),
    ],
)
def test_for_each_refuses(value: str, message: str) -> None:
    """Keys that can't stand in an address, what is sensitive and what is not known yet are refused."""
    text = "deployments:\n  other: {provider: fake, spec: {model: m}}\n"
    text += f"  d: {{provider: fake, for_each: {value}, spec: {{model: m}}}}\n"
    assert any(message in item for item in summaries(text, environ={"X": "x"}))


def test_references_in_what_is_merged_in_are_looked_up() -> None:
    """Deployments that come in by `<<`, with an alias or written in place."""
    spec = "{model: m, name: '${var.n}'}"
    text = f"variables: {{n: {{default: given}}}}\ndeployments:\n  <<: {{chat: {{provider: fake, spec: {spec}}}}}\n"
    assert build(text).deployments["chat"].spec["name"] == "given"


def test_derived_name_that_does_not_fit() -> None:
    """A name made from the address that the provider would refuse is an error that asks for a name in `spec`."""
    text = "deployments:\n  my_chat:\n    provider: fake\n    spec:\n      model: m\n"
    problem = only_error(text)
    assert problem.span == Span("reconciler.yaml", 7, 5)
    assert "`name:` in spec" in problem.hint


def test_instances_share_one_complaint() -> None:
    """A mistake in a block with for_each is told once, not once for each instance."""
    assert len(errors("deployments: {d: {provider: fake, for_each: [a, b, c], spec: {modle: m, model: m}}}\n")) == 1


# --- the other sections -------------------------------------------------------------------------------------------
def test_moved_removed_and_limits() -> None:
    """They arrive sorted, with their places; a bare cost counts for every currency."""
    text = (
        ONE
        + "moved: [{from: 'z[\"eu\"]', to: chat}]\nremoved: [{address: old, action: forget}, {address: 'm[\"x\"]'}]\n"
    )
    stack = build(text + "limits: {max_undeploys: 20%, max_hourly_cost: 7}\n")
    assert stack.moved == (Moved('z["eu"]', "chat", Span("reconciler.yaml", 9, 9)),)
    assert [(item.address, item.action) for item in stack.removed] == [('m["x"]', "undeploy"), ("old", "forget")]
    assert isinstance(stack.removed[0], Removed)
    assert stack.limits == Limits("20%", {"*": 7})
    assert build("limits: {max_undeploys: 3, max_hourly_cost: {USD: 1.5}}\n").limits == Limits(3, {"USD": 1.5})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("moved: [{from: chat, to: other}]", "chat is still declared"),
        ("moved: [{from: a, to: chta}]", "no deployment chta"),
        ("moved: [{from: a, to: a}]", "same address"),
        ("moved: [{from: a, to: chat}, {from: a, to: chat}]", "moved twice"),
        ("moved: [{from: A B, to: chat}]", "`moved[0].from` has a wrong value"),
        ("removed: [{address: chat}]", "chat is still declared"),
        ("removed: [{address: x}, {address: x}]", "given twice"),
        ("removed: [{address: x, action: delete}]", "`removed[0].action` has a wrong value"),
        ("limits: {max_undeploys: -1}", "`limits.max_undeploys`"),
        ("limits: {max_undeploys: 20}\nlimit: 3", "`limit` is not a section"),
        ("limits: {max_hourly_cost: {usd: 1}}", "`usd` is not a valid name"),
    ],
)
def test_wrong_small_sections(text: str, message: str) -> None:
    """Addresses, limits and names in them are checked like everything else."""
    assert message in only_error(f"{ONE}{text}\n").summary


def test_the_same_deployment_twice() -> None:
    """Two addresses with one identity in one scope are an error that names both; in two scopes they are not."""
    text = (
        "deployments:\n  a: {provider: P, spec: {model: m, name: n}}\n  b: {provider: Q, spec: {model: m, name: n}}\n"
    )
    head = "version: 1\nstack: s\nproviders: {fake: {}, fake.same: {}, fake.other: {org: o}}\n"
    problem = only_error(text.replace("P", "fake").replace("Q", "fake.same"), head=head)
    assert (problem.address, problem.related[0][1].line) == ("b", 5)
    assert errors(text.replace("P", "fake").replace("Q", "fake.other"), head=head) == ()


def test_provider_limits_are_checked() -> None:
    """What only the provider type knows is told with the attribute's place and its hint."""
    problem = only_error("deployments:\n  a: {provider: fake, spec: {model: m, size: large, replicas: 5}}\n")
    assert (problem.summary, problem.hint) == ("five of the large size do not exist", "take four")
    assert problem.span == Span("reconciler.yaml", 5, 63)


def test_a_misspelt_attribute_with_a_default_is_recognised() -> None:
    """The default that was filled in does not hide the name that was meant."""
    assert only_error("deployments:\n  a: {provider: fake, spec: {model: m, repilcas: 2}}\n").hint == (
        "did you mean `replicas`?"
    )


def test_ignore_changes_names_attributes() -> None:
    """A path that can't exist in the provider's schema would silently ignore nothing."""
    text = "{provider: fake, spec: {model: m}, lifecycle: {ignore_changes: [replcas, 'config.any.thing']}}"
    problem = only_error(f"deployments: {{chat: {text}}}\n")
    assert (problem.hint, "`replcas`" in problem.summary) == ("did you mean `replicas`?", True)


def test_header_needs_nothing_else() -> None:
    """Stack name and state folder are found though the rest of the file is wrong; a reference can't stand there."""
    header = read_header(document("version: 1\nstack: a-b\nstate: {path: ../st}\nvariables: 5\nnonsense: [1]\n"))
    assert (header.stack, header.backend, header.path) == ("a-b", "local", "../st")
    for text in ("version: 1\nstack: ${var.x}\n", "version: 1\nstack: UPPER\n", "version: 2\nstack: s\n", "stack: s\n"):
        with pytest.raises(FileError):
            read_header(document(text))
    problem = only_error("", head="version: 1\nstack: x-${var.x}\n")
    assert problem.hint == "a reference can't stand here"


def test_all_errors_in_one_run() -> None:
    """Structure, providers, specs, references and sections: everything wrong is told at once, in the file's order."""
    text = """
deployments:
  one: {provider: fake, spec: {modle: m, replicas: two}, lifecyle: {}}
  Two: {provider: fake, spec: {model: m, name: two}}
  three: {provider: nobody, spec: {model: m}}
  four: {provider: fake, spec: {model: '${deployments.five.id}'}, timeouts: {deploy: soon}}
  six: [1]
  seven: {spec: {model: m}}
outputs: {o: '${env.NOPE}'}
limits: {max_undeploy: 3}
extra: 1
"""
    head = "version: 1\nstack: s\nproviders: {fake: {regoin: r1}}\n"
    assert summaries(text, head=head) == [
        "3: `regoin` is not known here",
        "6: `model` is missing",
        "6: `modle` is not known here",
        "6: `replicas` has a wrong value",
        "6: `lifecyle` is not known here",
        "7: `Two` is not a valid name",
        "8: the provider `nobody` is not declared",
        "9: ${deployments.five.id}: there is no deployment `five`",
        "9: `timeouts.deploy` has a wrong value",
        "10: `the value` has a wrong value",
        "11: `provider` is missing",
        "12: the environment variable NOPE is not set",
        "13: limits: `max_undeploy` is not known here",
        "14: `extra` is not a section of this file",
    ]


def test_duplicate_keys_are_told_with_the_rest(tmp_path: Path) -> None:
    """A duplicate key does not hide the other errors of the file."""
    write(tmp_path, reconciler=HEAD + "deployments:\n  a: {provider: fake, spec: {modl: m}}\n  a: {provider: fake}\n")
    loaded = load_documents([Path("reconciler.yaml")], tmp_path)
    with pytest.raises(FileError) as caught:
        build_stack(loaded, schemas={"fake": fake_schema()}, types={"fake": FakeType()}, inputs=Inputs())  # type: ignore
    assert [item.summary for item in caught.value.diagnostics] == [
        "the key 'a' stands twice in one mapping",
        "`model` is missing",
    ]


def test_places_of_a_deployment() -> None:
    """Desired.spans gives the place of every attribute, wherever it was written, and of the address."""
    text = "defaults:\n  fake:\n    spec:\n      size: small\n" + ONE + "      config:\n        extra_args: [a, b]\n"
    spans = build(text).deployments["chat"].spans
    assert spans[""] == Span("reconciler.yaml", 9, 3)
    assert spans["model"] == Span("reconciler.yaml", 12, 14)
    assert spans["config.extra_args[1]"] == Span("reconciler.yaml", 14, 25)
    assert spans["size"] == Span("reconciler.yaml", 7, 13)
    assert spans["replicas"] == Span("reconciler.yaml", 11, 5)
    assert set(spans) == {
        "", "model", "config", "config.extra_args", "config.extra_args[0]", "config.extra_args[1]", "size"
    }  # fmt: skip
    assert len(spans) == 7


def test_simple_files_need_no_jsonschema() -> None:
    """A right file is judged by the quick check alone: jsonschema is not even imported."""
    import subprocess
    import sys

    code = (
        "import sys; from tests.support.stacks import build; "
        "build('deployments: {a: {provider: fake, spec: {model: m, config: {x: 1}}}}'); "
        "assert 'jsonschema' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
