"""What a user does wrong with files, variables and words: one clear error, the right exit code, nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Project, Remote

SMALL = """\
version: 1
stack: demo
providers: {nugen: {}}
deployments:
  support: {provider: nugen, spec: {alignment_id: alignment-1}}
"""

FILES = {
    "not yaml": (b"version: 1\nstack: [demo\n", ["reconciler.yaml:"]),
    "not utf-8": (b"version: 1\nstack: d\xe9mo\n", ["reconciler.yaml", "UTF-8"]),
    "binary": (b"\x00\x01\x02", ["reconciler.yaml"]),
    "empty": (b"", ["reconciler.yaml"]),
    "a list": (b"- version: 1\n", ["reconciler.yaml:1"]),
    "a newer version": (b"version: 2\nstack: demo\n", ["reconciler.yaml:1", "version"]),
    "two documents": (b"version: 1\nstack: demo\n---\nversion: 1\n", ["reconciler.yaml:3"]),
    "a key given twice": (SMALL.replace("stack: demo", "stack: demo\nstack: two").encode(), ["reconciler.yaml:3"]),
    "a wrong type": (SMALL.replace("alignment-1", "[1]").encode(), ["reconciler.yaml:5", "support", "alignment_id"]),
    "a misspelt key": (SMALL.replace("alignment_id", "alignmnt_id").encode(), ["reconciler.yaml:5", "alignment_id"]),
    "an unknown provider": (SMALL.replace("provider: nugen", "provider: nugn").encode(), ["nugen"]),
    "an unknown reference": (
        SMALL.encode() + b'outputs: {x: "${deployments.nobody.id}"}',
        ["reconciler.yaml:6", "nobody"],
    ),
    "a missing variable": (
        SMALL.replace("alignment-1", "'${var.alignment}'").encode() + b"variables: {alignment: {type: string}}\n",
        ["alignment", "RECONCILER_VAR_alignment"],
    ),
    "nested beyond reason": (b"[" * 20_000, ["reconciler.yaml"]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_wrong_file_is_one_error_that_names_the_place(project: Project, case: str) -> None:
    """A file that can't be used is exit 1 with one error that names it, before anything is contacted or written."""
    content, words = FILES[case]
    (project.folder / "reconciler.yaml").write_bytes(content)
    project.run("plan").failed(1, *words)
    assert not (project.folder / "state").exists()


def test_all_errors_of_a_file_come_in_one_run(project: Project) -> None:
    """Three mistakes are told at once, each with its line, and counted."""
    project.write(SMALL.replace("stack: demo", "stack: De mo").replace("alignment_id", "alignmnt_id") + "colour: red\n")
    ran = project.run("validate").ended(1)
    assert all(f"reconciler.yaml:{line}:" in ran.err for line in (2, 5, 6)), ran
    assert "3 errors" in ran.err


def test_files_that_are_not_there_or_are_folders(project: Project) -> None:
    """Wherever a file is asked for, a missing one, a folder and an unreadable encoding are said to be that."""
    project.run("plan").failed(1, "there is no reconciler.yaml", "reconciler init")
    project.run("-f", "other.yaml", "plan").failed(1, "there is no other.yaml")
    project.run("-C", "nowhere", "plan").failed(64, "nowhere")
    (project.folder / "empty").mkdir()
    project.run("-f", "empty", "plan").failed(1, "empty")
    project.write(SMALL)
    (project.folder / "latin.yaml").write_bytes(b"a: \xe9\n")
    for arguments, word in (
        (("plan", "--var-file", "no.yaml"), "another path with --var-file"),
        (("plan", "--var-file", "empty"), "empty"),
        (("plan", "--var-file", "latin.yaml"), "latin.yaml"),
        (("apply", "no.json"), "no.json"),
        (("apply", "empty"), "empty"),
        (("apply", "latin.yaml"), "latin.yaml"),
        (("apply", "--auto-approve", "--same-as", "no.json"), "no.json"),
        (("show", "no.json"), "no.json"),
        (("show", "empty"), "empty"),
        (("state", "push", "no.json"), "can't read no.json\n  No such file"),
        (("state", "push", "empty"), "empty"),
        (("state", "push", "latin.yaml"), "can't read latin.yaml\n  it is not UTF-8 text"),
    ):
        project.run(*arguments, NUGEN_API_KEY="x").failed(1, word)
    assert not project.files()


USAGE = [
    ((), "reconciler --help", "Usage"),
    (("--nonsense", "plan"), "--nonsense", "error"),
    (("plan", "--nonsense"), "--nonsense", "error"),
    (("plan", "--out"), "reconciler plan --help", "error"),
    (("plan", "--log-level", "debug"), "before the command: reconciler --log-level … plan", "error"),
    (("state", "list", "-C", "x"), "before the command: reconciler -C … state", "error"),
    (("paln",), "did you mean 'plan'", "error"),
    (("state", "mvv"), "mvv", "error"),
    (("plan", "--format", "yaml"), "yaml", "error"),
    (("plan", "--var", "replicas"), "NAME=VALUE", "error"),
    (("plan", "--allow-undeploys", "-1"), "-1", "error"),
    (("apply", "--parallelism", "0"), "0", "error"),
    (("apply", "--auto-approve", "--lock-timeout", "soon"), "soon", "error"),
    (("apply", "p.json", "--target", "support"), "plan file", "error"),
    (("plan", "--target", "nobody"), "nobody", "error"),
    (("plan", "--replace", "nobody"), "nobody", "error"),
    (("unlock",), "LOCK_ID", "error"),
    (("import", "support"), "ID", "error"),
    (("import", "suport", "x"), "did you mean support?", "error"),
    (("import", "--generate", "nobody"), "nobody", "error"),
    (("init", "nobody"), "nobody", "error"),
    (("schema", "--provider", "nobody"), "nobody", "error"),
    (("completion", "tcsh"), "tcsh", "error"),
    (("sandbox", "serve", "--host", "0.0.0.0"), "0.0.0.0", "error"),
]


@pytest.mark.parametrize(("arguments", "word", "kind"), USAGE, ids=[" ".join(case[0]) or "nothing" for case in USAGE])
def test_a_wrong_command_line_is_64(project: Project, arguments: tuple[str, ...], word: str, kind: str) -> None:
    """A wrong word is exit 64, never click's 2: a pipeline would read that as drift. The error names the word."""
    project.write(SMALL)
    ran = project.run("--sandbox", *arguments).ended(64) if arguments else project.run().ended(64)
    assert ran.out == ""
    if kind == "error":
        ran.failed(64, word)


def test_nothing_is_asked_without_a_terminal(remote: Remote) -> None:
    """Without a terminal `apply` and `destroy` are exit 1 before anything is read, unless they need not ask."""
    remote.run("apply").failed(1, "terminal", "--auto-approve")
    remote.run("destroy").failed(1, "terminal", "--auto-approve")
    assert remote.served.call("GET", f"/_sandbox/{remote.nugen}/world")["data"] is not None
    assert not remote.files()


def test_missing_credentials_name_the_variable(remote: Remote) -> None:
    """All providers that lack credentials are named at once, each with its environment variable."""
    ran = remote.run("plan", NUGEN_API_KEY="", NEEVCLOUD_ACCESS_TOKEN="").ended(1)
    assert "NUGEN_API_KEY" in ran.err
    assert "NEEVCLOUD_ACCESS_TOKEN" in ran.err
    assert ran.err.count("error: ") == 2


def test_an_unset_secret_of_the_file_is_named(project: Project) -> None:
    """A `${env.X}` that is not set is an error with its place."""
    project.write(SMALL.replace("{nugen: {}}", '{nugen: {credentials: {api_key: "${env.OTHER_KEY}"}}}'))
    project.run("plan").failed(1, "OTHER_KEY", "reconciler.yaml:3")


BAD_STATES = {
    "not json": (b"{", "demo.state.json"),
    "empty": (b"", "demo.state.json"),
    "not utf-8": (b"\xff\xfe", "demo.state.json"),
    "a list": (b"[]", "demo.state.json"),
    "newer": (b'{"version": 99, "stack": "demo"}', "99"),
    "of another stack": (b'{"version": 1, "stack": "other"}', "demo.state.json"),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_state_that_can_not_be_trusted_stops_everything(project: Project, case: str) -> None:
    """A damaged or newer state is exit 1 for reading and changing commands alike, and stays byte for byte."""
    content, word = BAD_STATES[case]
    project.write(SMALL)
    place = project.folder / "state" / "demo.state.json"
    place.parent.mkdir()
    place.write_bytes(content)
    for arguments in (("plan",), ("apply", "--auto-approve"), ("state", "list"), ("state", "rm", "support")):
        project.run(*arguments, NUGEN_API_KEY="x").failed(1, word)
    assert place.read_bytes() == content
    assert project.run("lock", "status").ended(0).out


PLAN_FILES = {
    "garbage": b"\x00\x01garbage",
    "not json": b"{",
    "a list": b"[]",
    "an empty object": b"{}",
    "another document": b'{"format_version": "1.0"}',
    "newer": b'{"format_version": "9.0"}',
    "wrong types": b'{"format_version": "1.0", "stack": 7, "actions": {}}',
}


@pytest.mark.parametrize("case", PLAN_FILES)
def test_what_is_no_plan_file_is_refused(remote: Remote, case: str) -> None:
    """`apply`, `apply --same-as` and `show` say that a file is no plan, and change nothing."""
    path = remote.folder / "p.json"
    path.write_bytes(PLAN_FILES[case])
    for arguments in (("apply", "p.json"), ("show", "p.json"), ("apply", "--same-as", "p.json")):
        remote.run(*arguments).failed(1, "p.json")
    assert not remote.files()


def test_a_read_only_folder_is_told(remote: Remote, tmp_path: Path) -> None:
    """A state folder that can't be written is exit 1 before anything is deployed."""
    import os

    if os.geteuid() == 0:
        (remote.folder / "state").write_text("a file where a folder is expected")
    else:
        (remote.folder / "state").mkdir(mode=0o500)
    remote.run("apply", "--auto-approve").failed(1, "state")
    world = remote.served.call("GET", f"/_sandbox/{remote.neevcloud}/world")
    assert "dep-" not in str(world["data"])
