"""Errors and warnings as a person reads them in a terminal or a CI log: what, where, why, then what to do.

Pure. Texts of providers and files are neutralised here; the order given is the order printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reconciler.diagnostics import Diagnostic, Severity
from reconciler.render.layout import Ink, wrap
from reconciler.render.safe import block, harmless, line
from reconciler.render.values import count

_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def diagnostics_text(diagnostics: Sequence[Diagnostic], *, color: bool, width: int = 100) -> str:
    """All of them, a blank line between two, and a count where there are several. No final newline."""
    ink = Ink(color)
    parts = [_one(item, ink, width) for item in diagnostics]
    if len(diagnostics) > 1:
        found = Counter(item.severity for item in diagnostics)
        kinds: tuple[Severity, ...] = ("error", "warning", "note")
        parts.append([ink("bold", ", ".join(count(found[kind], kind) for kind in kinds if found[kind]))])
    return "\n\n".join("\n".join(harmless(row) for row in rows) for rows in parts)


def diagnostic_line(item: Diagnostic) -> str:
    """One diagnostic on one uncoloured line, for logs and tables."""
    who = ", ".join(line(part, 100) for part in (item.address, item.provider) if part)
    place = f"{line(str(item.span))}: " if item.span else ""
    request = f" [request {line(item.request_id, 80)}]" if item.request_id else ""
    return harmless(f"{place}{who + ': ' if who else ''}{line(item.summary, 500)}{request}")


def _one(item: Diagnostic, ink: Ink, width: int) -> list[str]:
    summary = block(item.summary, 2000)
    out = [f"{ink(_STYLES[item.severity], item.severity)}: {ink('bold', summary[0])}"]
    out += [f"  {row}" for row in summary[1:]]
    out += [f"  {label} {text}" for label, text in _places(item)]
    for row in block(item.detail) if item.detail else ():
        out += wrap(row, width, first="  ", rest="  ")
    for text, span in item.related:
        out.append(f"  {line(text)}: {line(str(span))}" if text else f"  also: {line(str(span))}")
    if item.hint:
        # Not wrapped: a hint often is a command to paste.
        first, *rest = block(item.hint)
        out += ["", f"{ink('bold cyan', 'hint')}: {first}", *(f"      {row}" for row in rest)]
    return out


def _places(item: Diagnostic) -> list[tuple[str, str]]:
    where = [("-->", line(str(item.span)))] if item.span else []
    for label, text in (
        ("deployment:", item.address),
        ("provider:", item.provider),
        ("request id:", item.request_id),
    ):
        if text:
            where.append((label, line(text, 200)))
    return where
