"""House rules that a newcomer relies on: floors, pure rooms, small files, an import diet, providers kept apart."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "reconciler"
MODULES = sorted(PACKAGE.rglob("*.py"))
TYPES = sorted(
    path.name.removesuffix(".schema.json") for path in (ROOT / "schemas" / "providers").glob("*.schema.json")
)

# A module may import from its own floor and from lower ones; rooms on one floor that must not see each other are below.
FLOORS = {
    "diagnostics": 0, "version": 0, "model": 1, "plan": 1, "provider": 2, "core": 2, "edge": 3, "render": 3,
    "engine": 4, "providers": 4, "sandbox": 4, "registry": 5, "workspace": 5, "recovery": 6, "workflow": 6,
    "importing": 6, "saved_plans": 6, "cli": 7, "__main__": 8,
}  # fmt: skip
STRANGERS = [("engine", "providers"), ("engine", "sandbox"), ("providers", "engine"), ("providers", "sandbox"),
             ("sandbox", "providers"), ("sandbox", "engine"), ("edge", "render"), ("render", "edge")]  # fmt: skip
# The same within core; parts of one floor don't see each other.
PARTS = {"values": 0, "schemas": 1, "load": 2, "state": 2, "compare": 2, "planning": 3, "planfile": 3}
PURE_ROOMS = ("core", "render")
IMPURE = {"os", "time", "random", "pathlib", "threading", "httpx", "yaml", "click", "socket", "subprocess", "tempfile"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> set[str]:
    """Absolute names of what a module imports, lazy imports included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("reconciler.")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_down(path: Path) -> None:
    """A module imports from its own floor or a lower one, and never from a room that must be a stranger to it."""
    here = room(name_of(path))
    if not here:
        return
    for name in ours(imports(path)):
        there = room(name)
        assert FLOORS[there] <= FLOORS[here], f"{name_of(path)} imports {name}, which is above it"
        assert (here, there) not in STRANGERS, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*/*.py")), ids=name_of)
def test_arrows_point_down_within_core(path: Path) -> None:
    """Values know nothing of plans: a part of core imports from itself and from lower ones."""
    here = path.parent.name
    for name in ours(imports(path)):
        if room(name) == "core":
            there = name.split(".")[2]
            assert there == here or PARTS[there] < PARTS[here], f"{name_of(path)} imports {name}"


def executed(path: Path) -> set[str]:
    """What a module imports when it runs: all but what stands under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }


def test_no_import_circle() -> None:
    """Imports that run form no circle, lazy ones included; only a type may name what names it."""
    known = {name_of(path) for path in MODULES}
    edges = {name_of(path): {name for name in ours(executed(path)) if name in known} for path in MODULES}
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", [p for p in MODULES if room(name_of(p)) in PURE_ROOMS], ids=name_of)
def test_pure_rooms_do_no_io(path: Path) -> None:
    """core and render import nothing that reads a disk, a clock, the network or a terminal."""
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE


@pytest.mark.parametrize(
    "path", [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_stay_small(path: Path) -> None:
    """No file is longer than about 400 lines."""
    assert len(path.read_text().splitlines()) <= 420


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_packages_define_nothing(path: Path) -> None:
    """An `__init__.py` is empty or a docstring."""
    assert all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py"], ids=name_of)
def test_every_module_says_its_job(path: Path) -> None:
    """A module starts with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("type_", TYPES)
def test_a_provider_is_four_files(type_: str) -> None:
    """Adapter, schema, simulator, contract test: each is found by the type's name."""
    for place in (
        f"reconciler/providers/{type_}.py",
        f"reconciler/sandbox/{type_}.py",
        f"tests/contract/test_{type_}.py",
    ):
        assert (ROOT / place).is_file(), place


def test_no_provider_is_named_outside_its_module() -> None:
    """No code but a provider's own adapter and simulator names the provider in a string or a name."""
    own = re.compile(rf"(providers|sandbox)/_?({'|'.join(TYPES)})")
    for path in MODULES:
        if own.search(path.as_posix()):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            docstring = isinstance(node, ast.Expr)
            text = (
                node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) and not docstring else ""
            )
            assert text not in TYPES, f"{path.relative_to(ROOT)}:{node.lineno} names {text!r}"


def imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys, json, atexit, os\n"
        "from reconciler.cli import entry\n"
        f"sys.argv = ['reconciler', *{list(arguments)!r}]\n"
        "def leave(code):\n"
        "    sys.stderr.write('\\n' + json.dumps(sorted(sys.modules))); sys.stderr.flush(); os._exit(code)\n"
        "entry.leave = leave\n"
        "entry.main()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return set(json.loads(run.stderr.splitlines()[-1]))


HEAVY = {"httpx", "jsonschema", "deepdiff", "yaml"}


def test_version_imports_next_to_nothing() -> None:
    """`reconciler version` answers before click or any other library is imported."""
    assert not imported_by("version") & (HEAVY | {"click", "reconciler.cli.main"})


def test_help_imports_no_heavy_library() -> None:
    """`--help`, the group's and a command's, imports none of httpx, jsonschema, deepdiff, yaml."""
    assert not imported_by("--help") & HEAVY
    assert not imported_by("plan", "--help") & HEAVY


def test_version_is_the_changelogs() -> None:
    """The newest heading of the changelog is the package's version."""
    from reconciler.version import VERSION

    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading
    assert heading[1] == VERSION


def test_nothing_committed_names_a_registry_or_a_machine() -> None:
    """No committed text file holds a package registry's address or a path of a developer's machine."""
    bad = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|repo1?\.maven|/ro{2}t/\.|/w{1}ork/main")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.is_file() and path != Path(__file__) and path.suffix != ".png":
            assert not bad.search(path.read_text(errors="replace")), name
