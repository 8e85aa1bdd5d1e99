"""Plan and state files from anybody's hands: carried out as they were saved, or refused in words before anything is
sent; never a traceback, never a secret, never a token elsewhere."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.planfile.plan_codec import plan_from_file, plan_to_json
from reconciler.core.state.state_codec import decode_state, encode_state
from reconciler.diagnostics import FileError, StateError
from reconciler.edge.planfile import read_plan, write_plan
from reconciler.render.html import plan_html
from reconciler.render.json import to_json
from reconciler.render.markdown import drift_markdown, plan_markdown
from reconciler.render.metrics import metrics_text
from reconciler.render.reports import state_text
from reconciler.render.text import drift_text, plan_text
from tests.support.hostile import HostileServer, Seen, answer
from tests.support.trampled import HUGE, NASTY, is_answered, paths, prepared, put, run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrusted") / "project"
    prepared(folder)
    return folder


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    """A copy of the project, to be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "project"))


def world(folder: Path) -> dict[str, Any]:
    """What the simulators hold."""
    return {path.name: json.loads(path.read_text())["data"] for path in (folder / "state/sandbox/data").glob("*.json")}


def trampled(document: Any, where: list[int], values: list[Any]) -> Any:
    """A copy in which the values at these paths (counted) are replaced, the deepest first."""
    spoilt, every = copy.deepcopy(document), list(paths(document))
    chosen = sorted({every[number % len(every)] for number in where}, key=lambda path: -len(path))
    for path, value in zip(chosen, values, strict=False):
        put(spoilt, path, value)
    return spoilt


CHANGES = (
    st.lists(st.integers(0, 10**6), min_size=1, max_size=3),
    st.lists(st.sampled_from(NASTY), min_size=3, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(*CHANGES)
def test_a_plan_file_with_anything_in_it(original: Path, where: list[int], values: list[Any]) -> None:
    """It is read and can be printed in every format, or a FileError says what is wrong."""
    spoilt = trampled(read_plan(original / "plan.json"), where, values)
    try:
        plan = plan_from_file(spoilt)
    except FileError:
        return
    for text in (
        plan_text(plan, color=False, width=80),
        drift_text(plan, color=False, width=80),
        plan_markdown(plan),
        drift_markdown(plan),
        plan_html(plan),
        metrics_text(plan),
        to_json(plan_to_json(plan)),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text


@settings(max_examples=150, deadline=None)
@given(*CHANGES)
def test_a_state_with_anything_in_it(original: Path, where: list[int], values: list[Any]) -> None:
    """It is read, can be printed and is written again as it was, or a StateError says what is wrong."""
    document = json.loads((original / "state/sandbox/demo.state.json").read_text())
    try:
        state = decode_state(json.dumps(trampled(document, where, values)))
    except StateError:
        return
    assert decode_state(encode_state(state)) == state
    text = state_text(state, color=False)
    assert "\x1b" not in text
    assert "\u202e" not in text


@settings(max_examples=12, deadline=None)
@given(*CHANGES)
def test_commands_on_a_spoilt_state(
    original: Path, tmp_path_factory: pytest.TempPathFactory, where: list[int], values: list[Any]
) -> None:
    """Whatever the state says, plan and drift answer in words."""
    folder = Path(shutil.copytree(original, tmp_path_factory.mktemp("state") / "project"))
    file = folder / "state/sandbox/demo.state.json"
    file.write_text(json.dumps(trampled(json.loads(file.read_text()), where, values)))
    for words in (("plan", "--out", "new.json"), ("drift", "--metrics-file", "m.txt"), ("state", "show", "chat")):
        is_answered(run(folder, "--sandbox", *words))


SPOILT: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "NaN": (lambda text: text.replace('"serial": 1', '"serial": NaN'), "finite"),
    "a key given twice": (lambda text: text.replace("{", '{"actions": [],', 1), "twice"),
    "a nested key given twice": (lambda text: text.replace('"replicas": 3', '"replicas": 3, "replicas": 9'), "twice"),
    "nested beyond reason": (lambda text: text.replace(": 3", ": " + "[" * 5000 + "]" * 5000), "not JSON"),
    "nested too deeply": (lambda text: text.replace(": 3", ": " + "[" * 200 + "]" * 200), "deeper"),
    "an endless number": (lambda text: text.replace('"replicas": 3', f'"replicas": {"9" * 9999}'), "not JSON"),
    "a huge time": (lambda text: text.replace('"deploy": 1800.0', f'"deploy": {HUGE}'), "deploy"),
    "another type": (lambda text: text.replace('"type": "nugen"', '"type": "neevcloud"'), "type"),
    "a byte that is none": (lambda text: text.encode() + b"\xff", "not JSON"),
    "cut off": (lambda text: text[: len(text) // 2], "not JSON"),
    "another address": (lambda text: text.replace('"address": "chat"', '"address": "\\u001b[2Jx"'), "plan"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_plan_file_changes_nothing(project: Path, case: str) -> None:
    """Applying it is an error in words before the first request; the simulators are as they were."""
    spoil, word = SPOILT[case]
    file, before = project / "plan.json", world(project)
    text = spoil(file.read_text())
    assert text != file.read_text()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    ran = is_answered(run(project, "--sandbox", "apply", "plan.json"))
    assert ran.code in (1, 4), ran
    assert word in ran.err
    assert world(project) == before


def test_a_plan_file_that_is_none_of_ours(project: Path) -> None:
    """A device without end, a folder, a loop of links: refused; a link to a plan file is that plan."""
    (project / "endless").symlink_to("/dev/zero")
    (project / "loop").symlink_to("loop")
    (project / "link").symlink_to("plan.json")
    for name in ("loop", "state", "/dev/null"):
        assert is_answered(run(project, "--sandbox", "show", name)).code == 1
    assert is_answered(run(project, "--sandbox", "show", "link")).code == 0


def test_a_report_never_writes_through_a_link(project: Path, tmp_path: Path) -> None:
    """`--out` on a link that somebody left replaces the link; the file it led to stays as it was."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (project / "new.json").symlink_to(precious)
    (project / ".new.json.tmp").symlink_to(precious)
    assert run(project, "--sandbox", "plan", "--out", "new.json").code == 0
    assert precious.read_text() == "mine"
    assert not (project / "new.json").is_symlink()


def test_half_characters_are_written_as_escapes(tmp_path: Path) -> None:
    """What no encoding has does not end in a traceback, and is read as it was."""
    write_plan(tmp_path / "p.json", {"a": "\ud800"})
    assert read_plan(tmp_path / "p.json") == {"a": "\ud800"}


REAL = """\
version: 1
stack: demo
providers: {{nugen: {{endpoint: "{url}"}}}}
deployments: {{support: {{provider: nugen, spec: {{alignment_id: alignment-1}}}}}}
"""
MODEL = {
    "id": "alignment-1", "alignment_id": "alignment-1", "name": "n", "base_model": "b", "alignment_project": "p",
    "created_date": "2026-01-01T00:00:00Z", "status": "READY", "deployment_status": "READY", "endpoint": "",
    "creator": "c", "usage_count": 0, "performance_metrics": {}, "downloadable": False,
}  # fmt: skip


def test_a_tampered_endpoint_gets_no_token(tmp_path: Path) -> None:
    """Whatever endpoint a plan file names, everywhere in it: the token goes to the file's endpoint alone, and the plan
    counts as stale."""

    def script(seen: Seen) -> bytes:
        return answer(200, {"domain_aligned_models": [MODEL]})

    env = {"NUGEN_API_KEY": "hush-hush"}
    with HostileServer(script) as ours, HostileServer(script) as theirs:
        (tmp_path / "reconciler.yaml").write_text(REAL.format(url=ours.url))
        assert run(tmp_path, "plan", "--out", "plan.json", **env).code == 0
        text = (tmp_path / "plan.json").read_text()
        assert ours.url in text
        (tmp_path / "plan.json").write_text(text.replace(ours.url, theirs.url))
        ran = is_answered(run(tmp_path, "apply", "plan.json", **env))
        assert ran.code == 4, ran
        assert theirs.seen == []
        assert all(seen.method == "GET" for seen in ours.seen)
