"""Every command explains itself: help with an example that is one, options with a text, completion, documentation."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path
from types import ModuleType

import click
import pytest

from reconciler.cli.console import Console
from reconciler.cli.main import COMMANDS, cli
from tests.support.cli import ROOT, Project

DOCS = ROOT / "docs"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = generator()
LEAVES = {name: (command, ctx) for name, command, ctx in GENERATE.leaves(cli, GENERATE.root())}


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_explains_itself(name: str) -> None:
    """Every command has a help text and an example; every option has a text."""
    command, _ = LEAVES[name]
    assert command.help
    assert GENERATE.examples(command)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("name", LEAVES)
def test_the_examples_of_the_help_are_right(name: str) -> None:
    """Each example can be pasted: its words are a command line of that command."""
    command, _ = LEAVES[name]
    for line in GENERATE.examples(command):
        inner = re.search(r"\$\((.*)\)", line)
        words = shlex.split((inner[1] if inner else line).partition(" > ")[0])
        assert words[: len(name.split())] == name.split(), line
        command.make_context(name, words[len(name.split()) :], obj=Console())


def test_the_list_of_commands_is_that_of_the_modules(project: Project) -> None:
    """`--help` lists every command with a line of its own, and shows examples and exit codes."""
    shown = project.run("--help").ended(0).out
    for name, (_, text) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text[:30])}", shown, re.MULTILINE), name
    assert "reconciler plan --out plan.json" in shown
    assert max(map(len, shown.splitlines())) <= 110


@pytest.mark.parametrize("group", ["state", "lock", "sandbox"])
def test_a_group_says_what_it_has(project: Project, group: str) -> None:
    """The help of a group shows every line of its commands in full."""
    shown = project.run(group, "--help").ended(0).out
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(project: Project, shell: str) -> None:
    """A completion script is printed for each shell, and asks the program for words."""
    script = project.run("completion", shell).ended(0).out
    assert "_RECONCILER_COMPLETE" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_completion_gives_words(project: Project) -> None:
    """Commands, subcommands, options and choices are completed."""

    def words(line: str) -> list[str]:
        count = str(len(line.split(" ")) - 1)
        ran = project.run(_RECONCILER_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=count).ended(0)
        return [found.partition(",")[2] for found in ran.out.split()]

    assert {"plan", "apply", "drift"} <= set(words("reconciler "))
    assert words("reconciler pl") == ["plan"]
    assert "mv-stack" in words("reconciler state ")
    assert "--detailed-exitcode" in words("reconciler plan --")
    assert words("reconciler plan --format ma") == ["markdown"]


@pytest.mark.parametrize("path", sorted(GENERATE.pages()), ids=lambda path: str(path.relative_to(DOCS)))
def test_reference_pages_are_fresh(path: Path) -> None:
    """The pages made from the program say what it says now. Else: `python docs/generate.py`."""
    assert path.read_text(encoding="utf-8") == GENERATE.pages()[path]


def test_every_command_and_option_is_documented() -> None:
    """The page of commands names each, and the documentation names no option that does not exist."""
    page = (DOCS / "commands.md").read_text()
    known = {option for command, _ in LEAVES.values() for p in command.params for option in p.opts}
    known |= {option for p in cli.params for option in p.opts} | {"--help"}
    for name, (command, _) in LEAVES.items():
        assert f"## {name}\n" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in page
    for path in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for line in path.read_text().splitlines():
            if "reconciler " in line and "pip" not in line:
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)) - {"--no-deps"}
                assert named <= known, f"{path.name}: {named - known}"


def test_links_of_the_documentation_lead_somewhere() -> None:
    """Every relative link of a page names a file that is there."""
    for path in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_decisions_are_short() -> None:
    """A decision fits on a screen and is listed."""
    listed = (DOCS / "adr" / "README.md").read_text()
    for path in (DOCS / "adr").glob("0*.md"):
        assert len(path.read_text().splitlines()) <= 40
        assert path.name in listed
