"""What the providers answered, indexed once: by id, and by identity only where somebody asks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.schemas.schema import ProviderSchema
from reconciler.model import Listing, Live, Recorded, Refreshed

_NOTHING = Listing()


class LiveIndex:
    """Live objects by provider key. Built for one plan and thrown away with it."""

    def __init__(self, refreshed: Refreshed) -> None:
        self.refreshed = refreshed
        self._ids = {
            key: {live.id: live for live in listing.objects}
            for key, listing in refreshed.listings.items()
            if key not in refreshed.failed
        }
        self._identities: dict[str, dict[str, list[Live]]] = {}

    def readable(self, key: str) -> bool:
        """Whether this provider was looked at and answered."""
        return key in self._ids

    def listing(self, key: str) -> Listing:
        return self.refreshed.listings.get(key, _NOTHING)

    def ids(self, key: str) -> Mapping[str, Live]:
        return self._ids.get(key, {})

    def by_identity(self, key: str, identity: str) -> tuple[Live, ...]:
        """Everything there that answers to this identity, in the order of ids."""
        known = self._identities.get(key)
        if known is None:
            known = self._identities[key] = {}
            for live in self.listing(key).objects:
                for name in {*live.identities}:
                    known.setdefault(name, []).append(live)
        return tuple(sorted(known.get(identity, ()), key=lambda live: live.id))

    def find(self, entry: Recorded, schema: ProviderSchema) -> Live | None:
        """The live object of a recorded deployment, dormant ones included.

        By its id; by its identity only where the identity names something that stood at the provider before us
        (`x-existing`): there the id may change while the thing stays the same. Elsewhere an equal name under another id
        is somebody else's.
        """
        if entry.id is not None:
            found = self.ids(entry.provider).get(entry.id)
            if found is not None:
                return found
        if entry.identity and any(entry.spec.get(name) is not None for name in schema.existing):
            candidates = self.by_identity(entry.provider, entry.identity)
            if len(candidates) == 1:
                return candidates[0]
        return None

    def gone(self, entry: Recorded) -> bool:
        """Whether the provider itself said that this recorded id is not there (never true because a list lacks it)."""
        return entry.id is None or entry.id in self.listing(entry.provider).gone

    def unreadable(self, entry: Recorded) -> str | None:
        """Why a recorded deployment that the list lacks can't be called gone; None where it can."""
        if self.gone(entry):
            return None
        reasons = self.listing(entry.provider).unreadable
        return reasons.get(entry.id or "", "the list lacks it, and no read by id said that it is gone")
