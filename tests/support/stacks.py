"""A small provider type of our own, and one-line ways from YAML text to a Document and a Stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.core.load.desired import Inputs, build_stack
from reconciler.core.load.source import Document, SpanIndex
from reconciler.core.load.structure import without_references
from reconciler.core.schemas.schema import ProviderSchema, compile_schema
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.edge.document import SCHEMA, read_value
from reconciler.edge.schemas import read_schema
from reconciler.edge.yaml_events import read_tree
from reconciler.model import Json, Stack
from reconciler.provider import Capabilities, Problem

FAKE: dict[str, Any] = {
    "title": "fake",
    "description": "A model of nobody.",
    "type": "object",
    "additionalProperties": False,
    "required": ["model"],
    "properties": {
        "name": {
            "description": "Unique name.",
            "type": "string",
            "pattern": "^[a-z0-9-]{1,20}$",
            "x-identity": True,
            "x-default": "address",
        },
        "suffix": {"description": "Made up.", "type": "string", "x-default": "derived"},
        "model": {"description": "What to serve.", "type": "string"},
        "size": {"description": "How big.", "enum": ["small", "large"]},
        "replicas": {
            "description": "How many.",
            "type": "integer",
            "minimum": 1,
            "default": 1,
            "x-change": "scale",
            "x-price": "quantity",
        },
        "ratio": {"description": "A share.", "type": "number"},
        "ttl": {"description": "Minutes.", "type": "integer"},
        "api_key": {"description": "A secret by its name.", "type": "string"},
        "key_pair_name": {"description": "None, whatever its name.", "type": "string", "x-sensitive": False},
        "blob": {"description": "Whatever it holds is a secret.", "x-sensitive": True, "x-write-only": True},
        "config": {
            "description": "Anything.",
            "type": "object",
            "x-change": "update",
            "properties": {
                "extra_args": {"description": "Flags.", "type": "array", "items": {"type": "string"}},
                "depth": {"description": "A number.", "type": "integer", "x-change": "replace"},
                "mode": {"description": "A word.", "type": "string", "default": "fast"},
            },
        },
    },
    "x-computed": {
        "id": {"type": "string", "description": "Its id."},
        "endpoint_url": {"type": "string", "description": "Where it is.", "changed-by": ["update"]},
    },
    "x-on-demand": "ttl",
    "x-settings": {
        "type": "object",
        "properties": {
            "region": {
                "description": "Where.",
                "type": "string",
                "enum": ["r1", "r2"],
                "default": "r1",
                "x-scope": True,
            },
            "org": {"description": "Whose.", "type": "string", "x-scope": True},
        },
    },
    "x-credentials": {"api_key": {"env": "FAKE_API_KEY", "description": "A key."}},
}


class FakeType:
    """The pure side of `fake`; refuses five replicas of the large size."""

    type = "fake"
    capabilities = Capabilities(
        page_size=None, scales=True, updates=True, restartable=False, create_first=True, read_by_id=True
    )

    def scope(self, settings: Mapping[str, Json]) -> str:
        return f"{settings.get('region')}/{settings.get('org', '')}"

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        name = spec.get("name")
        return name if isinstance(name, str) else None

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:
        return {"suffix": f"{stack}:{address}:{generation}"}

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:
        if spec.get("size") == "large" and spec.get("replicas") == 5:
            return [Problem("replicas", "five of the large size do not exist", "take four")]
        return []


def fake_schema() -> ProviderSchema:
    return compile_schema(FAKE)


HEAD = "version: 1\nstack: s\nproviders: {fake: {}}\n"


def document(*texts: str, name: str = "reconciler.yaml") -> Document:
    """The document of one text, or of several files `a.yaml`, `b.yaml`… that are merged."""
    if len(texts) == 1:
        tree = read_tree(texts[0])
        assert not tree.mistakes, tree.mistakes
        touched = None if tree.touched is None else frozenset(tree.touched)
        spans = SpanIndex(tree.data, tree.marks, [(name, texts[0])])
        return Document(tree.data, spans, without_references(read_schema(SCHEMA)), (), touched)
    raise AssertionError("one text; write files for more")


def build(
    text: str,
    *,
    head: str = HEAD,
    vars: Mapping[str, str] | None = None,  # noqa: A002
    environ: Mapping[str, str] | None = None,
    type_: FakeType | None = None,
    **inputs: Any,
) -> Stack:
    """The Stack of `head` + `text`, with the fake provider type alone."""
    given = Inputs(vars or {}, environ or {}, read_value=read_value, **inputs)
    return build_stack(
        document(head + text),
        schemas={"fake": fake_schema()},
        types={"fake": type_ or FakeType()},  # type: ignore[dict-item]
        inputs=given,
        known_types=("fake", "neevcloud"),
    )


def errors(text: str, **options: Any) -> tuple[Diagnostic, ...]:
    """What is wrong with a text; () if nothing is."""
    try:
        build(text, **options)
    except FileError as error:
        return error.diagnostics
    return ()


def only_error(text: str, **options: Any) -> Diagnostic:
    """The single error of a text."""
    found = errors(text, **options)
    assert len(found) == 1, [f"{item.span} {item.summary}" for item in found]
    return found[0]


def write(folder: Path, **files: str) -> Path:
    """Files by stem into a folder, as YAML."""
    for stem, text in files.items():
        (folder / f"{stem}.yaml").write_text(text)
    return folder
