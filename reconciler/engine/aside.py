"""Where the old deployment of a create-first replace stands in the state until it is undeployed. Names only."""

from __future__ import annotations

import re

_ASIDE = re.compile(r'(?P<base>[^\[]+)\["(?:(?P<key>[^"]*)-)?replaced-\d+"\]')


def aside(address: str, generation: int) -> str:
    """An instance-like address: `chat["replaced-0"]`, `chat["eu-replaced-0"]`.

    So a run that is killed in between leaves two entries, and the next plan undeploys the one that nothing declares.
    """
    base, _, key = address.partition("[")
    name = f"replaced-{generation}"
    return f'{base}["{name}"]' if not key else f'{base}["{key[1:-2]}-{name}"]'


def successor(address: str) -> str | None:
    """The address whose old deployment stands aside here; None for any other address."""
    match = _ASIDE.fullmatch(address)
    if match is None:
        return None
    return match["base"] if match["key"] is None else f'{match["base"]}["{match["key"]}"]'
