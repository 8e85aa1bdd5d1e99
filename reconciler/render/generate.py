"""YAML text for `import --generate`: a `deployments:` section, and variables for what a provider never returns.

Pure, and without a YAML library: every scalar is written as JSON, which is valid YAML and can't be misread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.model import Json
from reconciler.render.safe import visible

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SURROGATE = re.compile("[\\ud800-\\udfff]")
# YAML reads these bare words as something else than a text, at least in some of its versions.
_TRAPS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


@dataclass(frozen=True, slots=True)
class Found:
    """One unmanaged deployment to be written down.

    `key` is a valid address; `spec` the attributes that the provider returned; `missing` the names of attributes that
    it needs but never returns, `sensitive` those of them that hold secrets.
    """

    key: str
    provider: str
    spec: Mapping[str, Json]
    missing: tuple[str, ...] = ()
    sensitive: frozenset[str] = frozenset()


def generate_yaml(found: Sequence[Found]) -> str:
    """Text that validates once the variables are set; items and attributes in the order given."""
    if not found:
        return "deployments: {}\n"
    out: list[str] = []
    names = _names(found)
    if names:
        out.append("variables:")
        for (position, attribute), name in names.items():
            item = found[position]
            out.append(f"  # {_comment(attribute)} of {_comment(item.key)}: the provider does not return it")
            out.append(f"  {_key(name)}: {'{sensitive: true}' if attribute in item.sensitive else '{}'}")
        out.append("")
    out.append("deployments:")
    for position, item in enumerate(found):
        out += [f"  {_key(item.key)}:", f"    provider: {_scalar(item.provider)}"]
        spec = _deep(item, {attribute: names[position, attribute] for attribute in item.missing})
        out += ["    spec:", *_tree(spec, "      ")] if spec else ["    spec: {}"]
    return "\n".join(out) + "\n"


def variable_name(key: str, attribute: str) -> str:
    """`<address>_<attribute>`, made of what a reference may hold."""
    return re.sub(r"[^A-Za-z0-9_]", "_", f"{key}_{attribute}")


def _names(found: Sequence[Found]) -> dict[tuple[int, str], str]:
    """Variable names by position and attribute; a number follows where two addresses would give one name."""
    out: dict[tuple[int, str], str] = {}
    for position, item in enumerate(found):
        for attribute in item.missing:
            base = name = variable_name(item.key, attribute)
            number, taken = 2, set(out.values())
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            out[position, attribute] = name
    return out


def _deep(item: Found, names: Mapping[str, str]) -> dict[str, Json]:
    """Literal `${` doubled so that it stays literal, then the missing attributes as references, in place."""
    tree = {name: _literal(value) for name, value in item.spec.items()}
    for attribute, variable in names.items():
        *parents, last = attribute.split(".")
        place = tree
        for parent in parents:
            below = place.get(parent)
            if not isinstance(below, dict):
                below = place[parent] = {}
            place = below
        place[last] = f"${{var.{variable}}}"
    return tree


def _literal(value: Json) -> Json:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {str(name): _literal(below) for name, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(below) for below in value]
    return value


def _tree(value: Mapping[str, Json], indent: str) -> list[str]:
    out: list[str] = []
    for name, below in value.items():
        if isinstance(below, dict) and below:
            out += [f"{indent}{_key(name)}:", *_tree(below, indent + "  ")]
        elif isinstance(below, list) and below:
            out += [f"{indent}{_key(name)}:", *(f"{indent}  - {_scalar(entry)}" for entry in below)]
        else:
            out.append(f"{indent}{_key(name)}: {_scalar(below)}")
    return out


def _scalar(value: Json) -> str:
    """JSON on one line; what is not printable becomes an escape that YAML reads back, a lone surrogate is lost."""
    text = json.dumps(value, ensure_ascii=False)
    # `##[` is a command to the runner of a CI job; YAML reads the escape back.
    return visible(_SURROGATE.sub("\ufffd", text)).replace("##", "#\\x23")


def _key(text: str) -> str:
    return text if _PLAIN_KEY.fullmatch(text) and text.lower() not in _TRAPS else _scalar(text)


def _comment(text: str) -> str:
    return _scalar(text)[1:-1]
