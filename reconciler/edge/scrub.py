"""Makes text from a server fit to be shown: secrets out, control characters neutralised, length bounded. No I/O."""

from __future__ import annotations

import html
import json
import threading
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "(hidden)"
SHORTEST = 4  # a shorter secret is not searched for: it would blank out ordinary words


def printable(text: str) -> str:
    """`text` on one line: white space runs become a space, control, format and surrogate characters `\\xNN` escapes."""
    joined = " ".join(text.split())
    if joined.isascii() and joined.isprintable():
        return joined
    return "".join(_shown(character) for character in joined)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; an ellipsis says that something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


class Scrubber:
    """Replaces every secret it was told of, in the spellings a server may echo it in. Safe in several threads."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._guard = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._spellings: tuple[str, ...] = ()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """From now on `secret` is hidden."""
        if len(secret) < SHORTEST or secret in self._known:
            return
        spelled = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)}
        spelled |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        with self._guard:
            self._known |= {secret}
            self._spellings = tuple(sorted({*self._spellings, *spelled}, key=lambda text: (-len(text), text)))

    def hide(self, text: str) -> str:
        """`text` without any secret."""
        for secret in self._spellings:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text

    def clean(self, text: str, limit: int = 600) -> str:
        """`text` from a server as it may be shown: hidden first, then printable, then shortened.

        What is left of a secret that the limit or a control character cuts in two can't be seen, as hiding comes first.
        """
        return shorten(printable(self.hide(text)), limit)


def _shown(character: str) -> str:
    if character == " " or unicodedata.category(character)[0] not in "CZ":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
