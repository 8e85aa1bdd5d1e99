"""Where the old deployment of a create-first replace stands in the state until it is undeployed. Names only. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import replace

from reconciler.model import Recorded

_ASIDE = re.compile(r'(?P<base>[^\[]+)\["(?:(?P<key>[^"]*)-)?replaced-\d+"\]')


def aside(address: str, generation: int) -> str:
    """An instance-like address: `chat["replaced-0"]`, `chat["eu-replaced-0"]`.

    So a run that is killed in between leaves two entries, and the next plan undeploys the one that nothing declares.
    """
    base, _, key = address.partition("[")
    name = f"replaced-{generation}"
    return f'{base}["{name}"]' if not key else f'{base}["{key[1:-2]}-{name}"]'


def place_for(entry: Recorded, held: Container[str]) -> str:
    """The address at which `entry` is to stand aside; one that is in `held` belongs to an older one still."""
    generation = entry.generation
    while aside(entry.address, generation) in held:
        generation += 1
    return aside(entry.address, generation)


def put_aside(entry: Recorded, place: str) -> Recorded:
    """The entry at its new place, where nothing protects it any more: its replacement was planned."""
    return replace(entry, address=place, lifecycle=replace(entry.lifecycle, prevent_undeploy=False))


def displaces(new: Recorded, old: Recorded) -> bool:
    """Whether the two are different deployments, so that recording `new` must not forget `old`."""
    return new.id is None or (new.id, new.provider) != (old.id, old.provider)


def successor(address: str) -> str | None:
    """The address whose old deployment stands aside here; None for any other address."""
    match = _ASIDE.fullmatch(address)
    if match is None:
        return None
    return match["base"] if match["key"] is None else f'{match["base"]}["{match["key"]}"]'


def generations(recorded: Mapping[str, Recorded]) -> dict[str, int]:
    """By successor, the highest generation of those of it that stand aside."""
    found: dict[str, int] = {}
    for address, entry in recorded.items():
        owner = successor(address) if "replaced-" in address else None
        if owner is not None:
            found[owner] = max(entry.generation, found.get(owner, 0))
    return found
