"""The dependency graph of a stack as Graphviz dot or Mermaid. Pure; addresses can't leave their quotes."""

from __future__ import annotations

from reconciler.model import Stack
from reconciler.render.safe import line


def dot(stack: Stack) -> str:
    """`dependent -> dependency`, as Terraform draws it; nodes and edges sorted."""
    out = [f"digraph {_dot(stack.name)} {{", "  rankdir = LR;", "  node [shape = box];"]
    for address, item in sorted(stack.deployments.items()):
        # The backslash-n between the two is dot's own line break: it is added after escaping.
        label = f'"{_dot(address)[1:-1]}\\n{_dot(item.provider)[1:-1]}"'
        out.append(f"  {_dot(address)} [label = {label}];")
    for source, target in _edges(stack):
        out.append(f"  {_dot(source)} -> {_dot(target)};")
    return "\n".join([*out, "}"]) + "\n"


def mermaid(stack: Stack) -> str:
    """A flowchart that GitHub and GitLab draw in Markdown."""
    ids = {address: f"n{number}" for number, address in enumerate(sorted(stack.deployments))}
    out = ["flowchart LR"]
    for address, node in ids.items():
        provider = stack.deployments[address].provider
        out.append(f'  {node}["{_mermaid(address)}<br/>{_mermaid(provider)}"]')
    for source, target in _edges(stack):
        out.append(f"  {ids[source]} --> {ids[target]}")
    return "\n".join(out) + "\n"


def _edges(stack: Stack) -> list[tuple[str, str]]:
    return [
        (address, target)
        for address, item in sorted(stack.deployments.items())
        for target in sorted(item.depends_on)
        if target in stack.deployments
    ]


def _dot(text: str) -> str:
    escaped = line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _mermaid(text: str) -> str:
    """Mermaid's own entity codes for everything that is not a plain word; Markdown in labels stays text too."""
    return "".join(c if c.isalnum() or c in " _-.,/" else f"#{ord(c)};" for c in line(text))
