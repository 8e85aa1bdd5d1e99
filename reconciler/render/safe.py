"""Neutralise text that a provider, a file or a user gave before it is shown on a terminal, in Markdown or in HTML.

Pure. Every renderer passes untrusted text through here and nothing else decides what is harmless: control characters,
escapes, bidirectional marks, line breaks and over-long texts become visible text that can't act.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

# One line of a CI log that starts like this, or holds this, is obeyed by a runner as a command.
_RUNNER_COMMAND = re.compile(r"##(?=\[|vso\[)")

LIMIT = 240  # characters of one untrusted text, where a caller names no other limit


def plain(text: str) -> str:
    """`text` on one line, for people: as `visible`, and no command for the runner of a CI job."""
    if "##" in text:
        text = _RUNNER_COMMAND.sub("# #", text)
    return visible(text)


def visible(text: str) -> str:
    """`text` with whatever is not printable spelled as an escape (`\\x1b`, `\\n`, `\\u202e`); the rest as it is."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(char: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if short:
        return short
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def cut(text: str, limit: int = LIMIT) -> str:
    """At most `limit` characters of `text`, then how many are missing. Does not neutralise."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def line(text: str, limit: int = LIMIT) -> str:
    """Untrusted text for one line: cut with a count, then neutralised.

    Cut first, so that a text of megabytes costs nothing; escapes may make the rest a little longer.
    """
    return plain(cut(text, limit))


def block(text: str, limit: int = 4000, lines: int = 40) -> list[str]:
    """Untrusted text that may have lines: each neutralised, at most `lines` of them, then how many are missing."""
    parts = cut(text, limit).split("\n")
    kept = [plain(part.rstrip("\r")) for part in parts[:lines]]
    if len(parts) > lines:
        kept.append(f"… ({len(parts) - lines} more lines)")
    return kept


def finish(lines: Iterable[str]) -> str:
    """Lines as one text with a final newline. No line can be obeyed as a command by the runner of a CI job."""
    return "".join(f"{harmless(text)}\n" for text in lines)


def harmless(text: str) -> str:
    """One finished line, disarmed for CI runners: `::set-env …` at its start and `##[…` anywhere are commands there."""
    if "##" in text:
        text = _RUNNER_COMMAND.sub("# #", text)
    bare = text.lstrip()
    if bare.startswith("::"):
        return f"{text[: len(text) - len(bare)]}: :{bare[2:]}"
    return text


def columns(text: str) -> int:
    """How many terminal columns a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int) -> str:
    """`text` followed by spaces up to `width` columns."""
    return text + " " * (width - columns(text))


def markdown_code(text: str, *, limit: int = LIMIT, table: bool = False) -> str:
    """Untrusted text as a code span: nothing in it is markup, a link, a mention, HTML or the end of the span.

    In a `table` cell a bar is escaped too, which GitHub undoes before it reads the span.
    """
    safe = line(text, limit)
    if not safe.strip():
        safe = f"“{safe}”"
    fence = "`" * (_longest_run(safe) + 1)
    space = " " if safe.startswith("`") or safe.endswith("`") or (safe[0] == " " and safe[-1] == " ") else ""
    if table:
        # A backslash right before a bar would escape the bar's own backslash: keep them apart.
        safe = safe.replace("\\|", "\\ |").replace("|", "\\|")
    return f"{fence}{space}{safe}{space}{fence}"


def markdown_fence(lines: Iterable[str], language: str = "") -> list[str]:
    """A fenced block of lines that are neutral already; the fence is longer than any in the content."""
    content = list(lines)
    fence = "`" * max(3, max((_longest_run(text) for text in content), default=0) + 1)
    return [f"{fence}{language}", *content, fence]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def html_text(text: str, limit: int = LIMIT) -> str:
    """Untrusted text for HTML, in an element or a quoted attribute."""
    return html.escape(line(text, limit), quote=True)
