"""Reads a list of many pages: the first, then all others side by side, until what came fits what was counted.

Knows no provider and no HTTP; the caller reads a page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from reconciler.provider import BadAnswerError

T = TypeVar("T")

FRUITLESS = 3  # passes in a row without anything new, after which a list that stays short is given up
MOST_PAGES = 100_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page. `total` (objects) and `pages` as the server counts them, None where it does not; `full`: it holds as
    many objects as were asked for, so there may be another."""

    items: Sequence[T]
    total: int | None = None
    pages: int | None = None
    full: bool = False


def all_pages(
    read: Callable[[int], Page[T]], *, key: Callable[[T], str], provider: str, workers: int, first: int = 1
) -> tuple[T, ...]:
    """Every object once, by `key`; the latest sight of it counts. Pages are numbered from `first`.

    An order that changes while we read makes objects appear twice and others not at all: while fewer came than the
    server counts, the list is read again, as long as that brings something new, and then three times more. Raises
    BadAnswerError where it stays short: a list in part would make deployments look gone.
    """
    found: dict[str, T] = {}
    fruitless = 0
    while True:
        before = len(found)
        seen, total = _one_pass(read, workers, first, provider)
        fresh = {key(item): item for item in seen}
        if total is None or len(fresh) >= total:
            return tuple(fresh.values())
        found |= fresh
        if len(found) == total:
            return tuple(found.values())
        fruitless = fruitless + 1 if len(found) == before else 0
        if len(found) > total:  # something was deleted meanwhile: what was seen before proves nothing
            found, fruitless = fresh, fruitless + 1
        if fruitless >= FRUITLESS:
            raise BadAnswerError(
                f"{provider} counts {total} deployments but lists {len(fresh)}",
                provider=provider,
                detail="the list was read again and stayed short; a list in part would make deployments look gone",
            )


def _one_pass(read: Callable[[int], Page[T]], workers: int, first: int, provider: str) -> tuple[list[T], int | None]:
    """All pages once; gives the objects and the last count."""
    page = read(first)
    items, total = list(page.items), page.total
    pages = page.pages
    if pages is None and total is not None and page.items:
        pages = -(-total // len(page.items))
    if pages is not None and pages > MOST_PAGES:
        raise BadAnswerError(f"{provider} claims to have {pages} pages of deployments", provider=provider)
    if pages is None:
        number = first
        while page.full and page.items:
            number += 1
            page = read(number)
            items += page.items
        return items, total
    rest = range(first + 1, first + pages)
    for page in _side_by_side(read, rest, workers):
        items += page.items
        total = page.total if page.total is not None else total
    return items, total


def _side_by_side(read: Callable[[int], Page[T]], numbers: Sequence[int], workers: int) -> list[Page[T]]:
    """The pages in order. The first error stops what has not begun and is raised."""
    if len(numbers) < 2 or workers < 2:
        return [read(number) for number in numbers]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(workers, len(numbers)), thread_name_prefix="page") as pool:
        futures = [pool.submit(read, number) for number in numbers]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
