"""Writes the reference pages from what the program itself says: `python docs/generate.py`.

`commands.md` comes from the command tree, `providers/*.md` from the schemas, and so does the marked part of
`file-format.md`. A test compares; nothing of a generated page is edited by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from reconciler.cli.main import COMMANDS, cli
from reconciler.edge.schemas import provider_types, read_schema

DOCS = Path(__file__).resolve().parent
Schema = Mapping[str, Any]
MADE = "<!-- made by docs/generate.py; do not edit -->\n"
BEGIN, END = "<!-- begin: made by docs/generate.py -->", "<!-- end -->"
CHANGES = {
    "scale": "scales in place",
    "update": "updated in place",
    "replace": "replacement",
    "record": "only recorded",
    "never": "not compared",
}


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    found = {DOCS / "commands.md": commands_page()}
    found |= {DOCS / "providers" / f"{name}.md": provider_page(name) for name in provider_types()}
    path = DOCS / "file-format.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    found[path] = f"{before}{BEGIN}\n{file_reference()}{END}{rest.partition(END)[2]}"
    return found


# --- commands -----------------------------------------------------------------------------------------------------
def leaves(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that can be run, with its whole name, in the order of the help."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        inner = click.Context(command, parent=ctx, info_name=name)
        if isinstance(command, click.Group):
            yield from leaves(command, inner)
        else:
            yield inner.command_path, command, inner


def root() -> click.Context:
    return click.Context(cli, info_name="reconciler")


def commands_page() -> str:
    out = [MADE, "# Commands", "", "`reconciler [GLOBAL OPTIONS] COMMAND [OPTIONS]`. The result goes to stdout and it"]
    out += ["alone; progress, questions, warnings and errors go to stderr. [Exit codes](exit-codes.md).", ""]
    out += ["Waiting is heard of: while providers are listed or looked at, stderr says every ten seconds which ones"]
    out += ["are waited for, and which of them asked for it (`nugen (20s; throttled, waiting as asked)`).", ""]
    found = list(leaves(cli, root()))
    out += ["| command | does |", "|---|---|"]
    out += [f"| [`{name}`](#{anchor(name)}) | {cell(summary(name, command))} |" for name, command, _ in found]
    out += ["", "## Global options", "", *options_table(cli, root())]
    for name, command, ctx in found:
        pieces = " ".join(command.collect_usage_pieces(ctx))
        out += ["", f"## {name}", "", f"    {name} {pieces}", "", *prose(command.help or "")]
        table = options_table(command, ctx)
        out += ["", *table] if len(table) > 2 else []
        out += ["", *(f"    {line}" for line in examples(command))]
    return "\n".join(out) + "\n"


def summary(name: str, command: click.Command) -> str:
    """The line of `--help`; of a subcommand the first sentence of its own."""
    words = name.split()[1:]
    return COMMANDS[words[0]][1] if len(words) == 1 else command.get_short_help_str(300)


def examples(command: click.Command) -> list[str]:
    """The command lines that a command's help shows."""
    return re.findall(r"^ *((?:reconciler|eval) .*)$", command.epilog or "", re.MULTILINE)


def prose(text: str) -> list[str]:
    return [re.sub(r"^ +", "", line) for line in text.replace("\b", "").strip().splitlines()]


def options_table(command: click.Command, ctx: click.Context) -> list[str]:
    rows = ["| option | |", "|---|---|"]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            record = parameter.get_help_record(ctx)
            assert record is not None
            rows.append(f"| `{cell(record[0])}` | {cell(record[1])} |")
    return rows


def anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# --- schemas ------------------------------------------------------------------------------------------------------
def provider_page(name: str) -> str:
    schema = read_schema(f"providers/{name}")
    out = [MADE, f"# {name}", "", schema["description"], ""]
    out += [
        "## Settings",
        "",
        f"Under `providers: {{{name}: …}}`, beside those [common to all](../file-format.md).",
        "",
    ]
    out += table(schema["x-settings"], ("setting", "type", "default", "meaning"))
    out += ["", "## Credentials", "", "| name | environment variable | meaning |", "|---|---|---|"]
    out += [
        f"| `{key}` | `{value['env']}` | {cell(value['description'])} |"
        for key, value in schema["x-credentials"].items()
    ]
    out += ["", "## Attributes of `spec`", "", "`*` identifies the deployment. All that is neither scaled nor updated"]
    out += ["in place forces a replacement. Anything else in `spec` is an error.", ""]
    out += table(schema, ("attribute", "type", "default", "a change", "meaning"))
    out += ["", "## Computed", "", "What `${deployments.ADDRESS.NAME}` can refer to beside the attributes.", ""]
    out += ["| name | type | meaning |", "|---|---|---|"]
    out += [
        f"| `{key}` | {value.get('type', 'any')} | {cell(value['description'])} |"
        for key, value in schema["x-computed"].items()
    ]
    if refusal := schema.get("x-refuse-create-first"):
        out += ["", f"`create_before_undeploy` is refused: {refusal}."]
    out += ["", f"An example that runs in the sandbox: [examples/{name}](../../examples/{name})."]
    return "\n".join(out) + "\n"


def table(schema: Schema, columns: tuple[str, ...]) -> list[str]:
    out = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for path, item, required, change in properties(schema, "", None):
        name = f"`{path}`" + (" \\*" if item.get("x-identity") else "") + (" (required)" if required else "")
        by_column = {"type": kind(item), "default": default(item), "a change": change, "meaning": meaning(item)}
        out.append("| " + " | ".join([name, *(by_column[column] for column in columns[1:])]) + " |")
    return out if len(out) > 2 else ["None."]


def properties(schema: Schema, above: str, inherited: str | None) -> Iterator[tuple[str, Schema, bool, str]]:
    """Path, schema, whether it must be given, and what a change does, of every attribute at any depth."""
    required = set(schema.get("required", ()))
    for name, item in schema.get("properties", {}).items():
        path = f"{above}{name}"
        change = item.get("x-change", inherited or "replace")
        yield path, item, name in required, "" if item.get("x-identity") else CHANGES[change]
        yield from properties(item, f"{path}.", change)
        if isinstance(item.get("items"), Mapping):
            yield from properties(item["items"], f"{path}[].", change)


def kind(item: Schema) -> str:
    if "enum" in item:
        return "one of " + ", ".join(f"`{value}`" for value in item["enum"])
    if "const" in item:
        return f"`{item['const']}`"
    if "$ref" in item:
        return str(item["$ref"]).rpartition("/")[2]
    if "anyOf" in item:
        kinds = [kind(one) for one in item["anyOf"] if not str(one.get("$ref", "")).endswith("/reference")]
        return " or ".join(dict.fromkeys(kinds))
    named = item.get("type", "any")
    kinds = [one for one in (named if isinstance(named, list) else [named]) if one != "null"]
    text = " or ".join(kinds)
    if isinstance(item.get("items"), Mapping) and kinds == ["array"]:
        text = f"list of {kind(item['items'])}"
    return text


def default(item: Schema) -> str:
    if "default" in item:
        shown = item["default"]
        return f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"
    return {"address": "the address", "derived": "derived"}.get(item.get("x-default", ""), "")


def meaning(item: Schema) -> str:
    notes = [item.get("description", "")]
    if item.get("x-write-only"):
        notes.append("Never returned by the provider: compared with what was applied.")
    if item.get("x-sensitive"):
        notes.append("Sensitive.")
    if note := item.get("x-note"):
        notes.append(f"A change: {note}.")
    return cell(" ".join(note for note in notes if note))


def file_reference() -> str:
    schema = read_schema("desired-state.v1")
    sections = [("The file", schema)]
    sections += [
        (f"`{name}`", definition) for name, definition in schema["$defs"].items()
        if "properties" in definition and name != "jsonSchema"
    ]  # fmt: skip
    out: list[str] = []
    for title, definition in sections:
        out += [f"### {title}", "", definition.get("description", ""), ""]
        out += [*table(definition, ("key", "type", "default", "meaning")), ""]
    return "\n".join(out)


def main() -> None:
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
