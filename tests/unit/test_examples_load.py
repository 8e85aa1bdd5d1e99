"""The examples are right: they load without a complaint, and an editor with our schema underlines nothing in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.core.load.combined import combined_schema
from reconciler.core.load.desired import Inputs, build_stack
from reconciler.core.load.provider_section import provider_type_names
from reconciler.edge.document import load_documents, load_values
from reconciler.edge.schemas import read_schema
from reconciler.registry import documents, registry

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(
    {path.parent.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.yaml")} - {Path("environments/shared")}
)


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_example_loads(folder: Path) -> None:
    """Every example is a stack without errors and warnings, references and limits of the providers included."""
    document = load_documents([Path(".")], EXAMPLES / folder)
    found = registry(provider_type_names(document))
    values = EXAMPLES / folder / "values.json"
    files = (("values.json", load_values(values)),) if values.exists() else ()
    stack = build_stack(
        document, schemas=found.schemas, types=found.types, inputs=Inputs(placeholder=True, var_files=files)
    )
    assert stack.deployments
    assert stack.warnings == ()


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_editor_is_content(folder: Path) -> None:
    """The schema that editors use, alone and combined, accepts every example."""
    data = load_documents([Path(".")], EXAMPLES / folder).data
    plain = read_schema("desired-state.v1")
    for schema in (plain, combined_schema(plain, documents())):
        assert [error.message for error in Draft202012Validator(schema).iter_errors(data)] == []


@pytest.mark.parametrize("folder", sorted(path for path in EXAMPLES.iterdir() if path.is_dir()), ids=lambda p: p.name)
def test_example_is_explained(folder: Path) -> None:
    """Every example says in a README what it shows, and every file in it names its schema for editors."""
    assert (folder / "README.md").read_text().startswith("# ")
    for path in folder.rglob("*.yaml"):
        if "state" not in path.parts:
            first = path.read_text().splitlines()[0]
            named = first.removeprefix("# yaml-language-server: $schema=")
            assert (path.parent / named).resolve() == EXAMPLES.parent / "schemas" / "desired-state.v1.schema.json"
