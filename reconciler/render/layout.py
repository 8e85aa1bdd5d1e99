"""Lines for a terminal: colours, columns and wrapping. Pure; knows nothing of plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.render.safe import columns, pad

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
}
NARROW = 40  # columns below which nothing is wrapped any further


class Ink:
    """Paints text, or leaves it as it is where there are no colours. Colour never carries meaning alone."""

    __slots__ = ("color",)

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, style: str, text: str) -> str:
        if not self.color or not style or not text:
            return text
        codes = ";".join(_CODES[name] for name in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m"


def wrap(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """Uncoloured `text` in lines of at most `width` columns, broken at spaces; a word that is too long stays whole."""
    room = max(width, NARROW)
    lines, current, used = [], first, columns(first)
    empty = True
    for word in text.split(" "):
        size = columns(word)
        if not empty and used + 1 + size > room:
            lines.append(current.rstrip())
            current, used, empty = rest, columns(rest), True
        current += word if empty else f" {word}"
        used += size if empty else size + 1
        empty = False
    lines.append(current.rstrip())
    return lines


def table(rows: Sequence[Sequence[str]], *, indent: str = "", gap: str = "  ", most: int = 48) -> list[str]:
    """Uncoloured rows with aligned columns; a cell wider than `most` pushes its own row only."""
    if not rows:
        return []
    widths = [0] * max(len(row) for row in rows)
    for row in rows:
        for n, cell in enumerate(row[:-1]):
            widths[n] = max(widths[n], min(columns(cell), most))
    return [
        (indent + gap.join([*(pad(cell, widths[n]) for n, cell in enumerate(row[:-1])), row[-1]])).rstrip()
        for row in rows
    ]


def widest(texts: Iterable[str], most: int) -> int:
    """The widest of `texts` in columns, but no more than `most`."""
    return min(most, max((columns(text) for text in texts), default=0))
