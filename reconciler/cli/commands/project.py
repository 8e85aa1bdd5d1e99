"""Commands around the file: `init`, `validate`, `output`, `graph`, `schema`, `completion`, `version`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import click

from reconciler.cli.context import Command, Globals, pass_globals
from reconciler.cli.options import output_format, variables
from reconciler.cli.run import workspace
from reconciler.diagnostics import Diagnostic, FileError, StateError, UsageError


@click.command("init", cls=Command, epilog="\b\nExamples:\n  reconciler init neevcloud opensearch\n  reconciler init")
@click.argument("providers", nargs=-1)
@pass_globals
def init_command(run: Globals, providers: tuple[str, ...]) -> int:
    """Write a commented starter file for the chosen PROVIDERS (default: all) and .gitignore entries.

    Never writes over an existing file.
    """
    from reconciler.cli.starter import GITIGNORE, starter_file
    from reconciler.registry import documents, known_types

    unknown = [name for name in providers if name not in known_types()]
    if unknown:
        raise UsageError(Diagnostic(f"there is no provider {unknown[0]!r}", hint=f"one of: {', '.join(known_types())}"))
    target = Path(run.folder, run.file or "reconciler.yaml")
    if target.exists():
        raise FileError(Diagnostic(f"{target} exists already; it was left as it is"))
    stack = re.sub(r"[^a-z0-9-]+", "-", target.resolve().parent.name.lower()).strip("-")[:63] or "my-stack"
    target.write_text(starter_file(stack, documents(providers or None)), encoding="utf-8")
    run.console.say(f"wrote {target}")
    ignore = target.parent / ".gitignore"
    text = ignore.read_text(encoding="utf-8") if ignore.exists() else ""
    if GITIGNORE not in text:
        ignore.write_text(text + ("\n" if text and not text.endswith("\n") else "") + GITIGNORE, encoding="utf-8")
        run.console.say(f"added what must stay out of git to {ignore}")
    run.console.say(f"next: {replace(run, sandbox=True).called} plan")
    return 0


@click.command(
    "validate", cls=Command, epilog="\b\nExamples:\n  reconciler validate\n  reconciler validate --var replicas=3"
)
@variables
@output_format("text", "json")
@pass_globals
def validate_command(run: Globals, var: tuple[str, ...], var_file: tuple[str, ...], format_: str) -> int:
    """Load the file and check schema, references and graph. No network, no credentials."""
    from reconciler import workflow
    from reconciler.render.json import to_json
    from reconciler.render.reports import validate_text

    with workspace(run, var, var_file, offline=True) as space:
        stack = workflow.validate(space)
    if format_ == "json":
        names = {"deployments": sorted(stack.deployments), "providers": sorted(stack.providers)}
        run.console.result(to_json({"stack": stack.name, **names, "warnings": [w.summary for w in stack.warnings]}))
    else:
        run.console.result(validate_text(stack, color=run.console.color_out))
    return 0


@click.command("output", cls=Command, epilog="\b\nExamples:\n  reconciler output\n  reconciler output chat_url")
@click.argument("name", required=False)
@output_format("text", "json")
@pass_globals
def output_command(run: Globals, name: str | None, format_: str) -> int:
    """Print the outputs that the last apply recorded; with NAME that value alone."""
    from reconciler.render.json import to_json
    from reconciler.render.reports import output_text

    with workspace(run) as space:
        outputs = dict(space.state_or_error().outputs)
    if name is not None and name not in outputs:
        recorded = f"recorded: {', '.join(sorted(outputs)) or 'none'}"
        raise StateError(Diagnostic(f"there is no recorded output {name!r}", detail=recorded))
    if format_ == "json":
        run.console.result(to_json(outputs if name is None else outputs[name]))
    else:
        run.console.result(output_text(outputs, name))
    return 0


@click.command("graph", cls=Command, epilog="\b\nExample:\n  reconciler graph --format mermaid")
@variables
@output_format("dot", "mermaid")
@pass_globals
def graph_command(run: Globals, var: tuple[str, ...], var_file: tuple[str, ...], format_: str) -> int:
    """Print the dependency graph. No network."""
    from reconciler import workflow
    from reconciler.render.graph import dot, mermaid

    with workspace(run, var, var_file, offline=True) as space:
        stack = workflow.validate(space)
    run.console.result(dot(stack) if format_ == "dot" else mermaid(stack))
    return 0


@click.command(
    "schema",
    cls=Command,
    epilog="\b\nExamples:\n  reconciler schema > reconciler.schema.json\n  reconciler schema --provider nugen",
)
@click.option("--provider", metavar="TYPE", help="Only the schema of this provider type.")
@pass_globals
def schema_command(run: Globals, provider: str | None) -> int:
    """Print the JSON Schema that editors use: one for the whole file, `spec` by the deployment's provider."""
    from reconciler.core.load.combined import combined_schema
    from reconciler.edge.schemas import read_schema
    from reconciler.registry import documents, known_types
    from reconciler.render.json import to_json

    if provider is not None and provider not in known_types():
        raise UsageError(Diagnostic(f"there is no provider {provider!r}", hint=f"one of: {', '.join(known_types())}"))
    if provider is not None:
        run.console.result(to_json(documents([provider])[provider]))
    else:
        run.console.result(to_json(combined_schema(read_schema("desired-state.v1"), documents())))
    return 0


@click.command("completion", cls=Command, epilog='\b\nExample:\n  eval "$(reconciler completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_globals
def completion_command(run: Globals, shell: str) -> int:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise UsageError(Diagnostic(f"no completion for {shell}"))
    root = click.get_current_context().find_root().command
    run.console.result(found(root, {}, "reconciler", "_RECONCILER_COMPLETE").source())
    return 0


@click.command("version", cls=Command, epilog="\b\nExample:\n  reconciler version")
@pass_globals
def version_command(run: Globals) -> int:
    """Print the version."""
    from reconciler.version import VERSION

    run.console.result(f"reconciler {VERSION}")
    return 0
