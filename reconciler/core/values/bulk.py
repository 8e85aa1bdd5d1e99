"""The cyclic garbage collector off while many objects are made: at 10,000 deployments it alone doubles the time.

What a bulk phase made is what the rest of the run works on: it is set aside (frozen), or the collector would walk all
of it, for nothing, as soon as it is back on.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector for a bulk phase and put it back as it was, also after an error."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
