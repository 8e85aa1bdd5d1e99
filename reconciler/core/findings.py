"""What became of a step that a killed run left uncertain: the engine looks, the planner takes note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.model import Recorded


@dataclass(frozen=True, slots=True)
class Finding:
    """One uncertain creating step, looked up.

    `found`: it took effect, `entry` is what the state says from now on. `absent`: it did not; `entry` is what still
    stands beside it, if anything. `unclear`: it can't be told; `message` names the commands to choose from.
    """

    address: str
    what: Literal["found", "absent", "unclear"]
    message: str
    entry: Recorded | None = None
