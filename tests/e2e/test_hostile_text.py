"""Providers whose every word means harm, seen through the whole command line: names, statuses, reasons, errors."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cli import Ran
from tests.support.hostile import HostileServer, Seen, answer
from tests.support.trampled import CHANGED, FILE, is_answered, prepared, run

EVIL = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066evil\u2069\u200b\x00\r\n::set-env name=A::b\n##[command]x"
    "</code></pre><script>alert(1)</script><img src=x onerror=y>`|*_[a](javascript:b)@all #1 ${env.HOME} $${x} \ud800"
)
LONG = "A" * 1_000_000 + "\x1b[31m\n::error::"
FORMATS = ("text", "json", "markdown", "html")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sandbox with two managed deployments whose words are hostile, and strangers beside them."""
    folder = tmp_path_factory.mktemp("hostile") / "project"
    prepared(folder)
    for path in (folder / "state/sandbox/data").glob("*.json"):
        document = json.loads(path.read_text())
        (spoil_nugen if path.name.startswith("nugen") else spoil_neevcloud)(document["data"])
        path.write_text(json.dumps(document))
    return folder


def spoil_nugen(data: dict[str, Any]) -> None:
    models = data["models"]
    first = next(iter(models.values()))
    for number, text in enumerate((EVIL, LONG)):
        ident = f"id-{number}{text[:300]}"
        models[ident] = {**first, "id": ident, "name": text, "alignment_id": text[:300], "base_model": text}
        models[ident]["versions"] = [{"at": 0.0, "status": "DEPLOYED"}]
    first |= {"name": EVIL, "base_model": LONG}
    first["versions"].append({"at": 1.0, "status": EVIL})


def spoil_neevcloud(data: dict[str, Any]) -> None:
    held = data["deployments"]
    first = next(iter(held.values()))
    for number, text in enumerate((EVIL, LONG)):
        words = {
            "id": f"dep-{number}{text[:200]}",
            "name": text,
            "region": text,
            "gpu_config_id": text,
            "catalog_id": text,
        }
        held[words["id"]] = {**first, **words, "phases": [[0.0, text, 1]]}
    first |= {"region": EVIL, "gpu_config_id": LONG, "catalog_id": f"meta-llama-{EVIL}"}


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "project"))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs if name.startswith("on"))}


def harmless(ran: Ran, format_: str = "text") -> Ran:
    """Nothing in it acts on a terminal, a CI runner or in a page; what is for people stays short."""
    is_answered(ran)
    for row in (ran.out + "\n" + ran.err).splitlines():
        assert not row.lstrip().startswith("::"), row[:200]
        assert "##[" not in row, row[:200]
    if format_ == "json":
        json.loads(ran.out)
    else:
        assert len(ran.out) < 100_000
    if format_ == "html":
        tags = Tags()
        tags.feed(ran.out)
        assert not tags.found & {"script", "img", "onerror", "a"}
    if format_ == "markdown":
        outside = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", ran.out, flags=re.DOTALL)
        assert not [mark for mark in ("<script", "<img", "](", "@all", "\u202e") if mark in outside], outside
    assert len(ran.err) < 20_000
    return ran


@pytest.mark.parametrize("format_", FORMATS)
def test_plans_and_drift_of_hostile_words(project: Path, format_: str) -> None:
    """Every format of plan, drift and show stays text, with a saved plan that is read again."""
    planned = harmless(run(project, "--sandbox", "plan", "--format", format_, "--out", "new.json"), format_)
    drifted = harmless(
        run(project, "--sandbox", "drift", "--format", format_, "--unmanaged", "--metrics-file", "m.txt"), format_
    )
    assert "evil" in planned.out
    assert "evil" in drifted.out
    shown = harmless(run(project, "--sandbox", "show", "new.json", "--format", format_), format_)
    assert shown.code == 0
    metrics = (project / "m.txt").read_text()
    assert "\x1b" not in metrics
    assert all(row.startswith(("#", "reconciler_")) for row in metrics.splitlines())


def test_an_apply_of_hostile_words(project: Path) -> None:
    """Progress, events, report, state and outputs of an apply on such a world; events are one JSON object a line."""
    (project / "reconciler.yaml").write_text(FILE.replace("replicas: 1", "replicas: 2"))
    harmless(run(project, "--sandbox", "apply", "--auto-approve", "--events", "events.jsonl"))
    for row in (project / "events.jsonl").read_text().split("\n")[:-1]:
        json.loads(row)
        assert row.isprintable()
    for words in (("state", "list"), ("state", "show", "support"), ("state", "show", "chat"), ("output",), ("show",)):
        harmless(run(project, "--sandbox", *words))
        harmless(run(project, "--sandbox", *words, "--format", "json"), "json")
    harmless(run(project, "--sandbox", "output", "chat_url"))
    harmless(run(project, "--sandbox", "plan", "--destroy"))


@pytest.mark.parametrize("provider", ["nugen", "neevcloud"])
def test_generated_declarations_of_hostile_words(project: Path, provider: str) -> None:
    """`import --generate` prints YAML that is read back, in which nothing is a reference that was not one."""
    ran = is_answered(run(project, "--sandbox", "import", "--generate", provider))
    found = yaml.safe_load(ran.out)
    assert len(found["deployments"]) == 2
    assert "${env" not in ran.out.replace("$${env", "")


@pytest.mark.parametrize("word", [EVIL, LONG])
def test_an_import_of_a_hostile_id(project: Path, word: str) -> None:
    """An id on the command line is answered in words, whatever it is."""
    (project / "reconciler.yaml").write_text(CHANGED.replace("support:", "other:"))
    harmless(run(project, "--sandbox", "import", "other", word.replace("\x00", "").replace("\ud800", "")[:100_000]))


ERRORS: dict[str, bytes] = {
    "a message": answer(400, {"detail": EVIL, "message": EVIL, "code": EVIL}, headers={"x-request-id": "a\x1bb"}),
    "a long message": answer(400, {"detail": LONG}),
    "a list": answer(422, {"detail": [{"loc": [EVIL], "msg": EVIL, "type": LONG}]}),
    "a page": answer(502, EVIL.encode(errors="replace") * 100, kind="text/html"),
    "a redirect": answer(302, None, headers={"location": "https://e\x1b[2J.example/\u202e".encode().decode("latin-1")}),
    "wrong types": answer(200, {"domain_aligned_models": [{"id": EVIL, "status": [EVIL], "name": {EVIL: EVIL}}]}),
    "depth": answer(200, b"[" * 50_000 + b"]" * 50_000),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("verb", ["plan", "drift"])
def test_errors_of_hostile_words(tmp_path: Path, case: str, verb: str) -> None:
    """An error of a provider is one short error in words, at every log level, without the token."""

    def script(seen: Seen) -> bytes:
        return ERRORS[case]

    with HostileServer(script) as server:
        (tmp_path / "reconciler.yaml").write_text(
            "version: 1\nstack: demo\n"
            f"providers: {{nugen: {{endpoint: '{server.url}', timeout: 2s}}}}\n"
            "deployments: {support: {provider: nugen, spec: {alignment_id: alignment-1}}}\n"
        )
        ran = run(tmp_path, "--log-level", "debug", verb, NUGEN_API_KEY="hush-hush")
    assert harmless(ran).code == (0 if (verb, case) == ("drift", "wrong types") else 1)
    assert "nugen" in ran.err
