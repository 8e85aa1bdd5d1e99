"""Reading a list of many pages while it may change."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from reconciler.edge.pages import Page, all_pages
from reconciler.provider import BadAnswerError, UnavailableError


class Server:
    """Lists numbers, so many a page; `order` may change what a request sees."""

    def __init__(self, count: int, size: int = 10, order: Callable[[list[int]], list[int]] = list) -> None:
        self.items, self.size, self.order = list(range(count)), size, order
        self.counted: int | None = None
        self.asked: list[int] = []
        self._guard = threading.Lock()

    def __call__(self, number: int) -> Page[int]:
        with self._guard:
            self.asked.append(number)
            items = self.order(self.items)
            total = len(items) if self.counted is None else self.counted
            part = items[(number - 1) * self.size : number * self.size]
            return Page(tuple(part), total, -(-total // self.size), len(part) == self.size)


def read(server: Callable[[int], Page[int]], workers: int = 4) -> list[int]:
    return sorted(all_pages(server, key=str, provider="acme", workers=workers))


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 95, 100])
@pytest.mark.parametrize("workers", [1, 4])
def test_as_many_requests_as_pages(count: int, workers: int) -> None:
    """Everything is read with one request a page (one for an empty list), the first page first."""
    server = Server(count)
    assert read(server, workers) == list(range(count))
    assert sorted(server.asked) == list(range(1, max(1, -(-count // 10)) + 1))
    assert server.asked[0] == 1


def test_a_list_that_is_shuffled_for_each_request_is_read_whole() -> None:
    """Objects that hop between pages are found by reading again, for as long as that brings new ones."""
    chance = random.Random(7)
    server = Server(95, order=lambda items: chance.sample(items, len(items)))
    assert read(server) == list(range(95))


def test_a_list_that_stays_short_is_an_error() -> None:
    """A server that counts more than it lists is asked again, then not believed: a part is no list."""
    server = Server(25)
    server.counted = 27
    with pytest.raises(BadAnswerError, match="counts 27 deployments but lists 25"):
        read(server)
    assert len(server.asked) == 4 * 3


def test_an_empty_page_with_a_count_is_an_error() -> None:
    """'5 objects', and none given, is never an empty list."""
    with pytest.raises(BadAnswerError):
        read(lambda number: Page((), 5, 1))


def test_what_is_deleted_meanwhile_is_not_listed() -> None:
    """Seen in a first pass that came short, gone in the second: the second one counts."""
    server = Server(20)

    def order(items: list[int]) -> list[int]:
        if len(server.asked) == 2:
            server.items = items[1:]
            return [items[0], *items[:-1]]  # page two repeats an object: one is missing
        return items

    server.order = order
    assert read(server, workers=1) == list(range(1, 20))


def test_what_comes_meanwhile_is_listed() -> None:
    """An object that appears while pages are read makes the list be read again."""
    server = Server(20)

    def order(items: list[int]) -> list[int]:
        if len(server.asked) == 2:
            server.items = [99, *items]
        return server.items

    server.order = order
    assert read(server, workers=1) == [*range(20), 99]


def test_pages_without_a_count_are_read_until_one_is_not_full() -> None:
    """Where the server counts nothing, a page that is not full is the last."""
    server = Server(25)
    assert read(lambda number: Page(server(number).items, full=number < 3)) == list(range(25))
    assert server.asked == [1, 2, 3]


def test_one_failed_page_fails_the_list() -> None:
    """The error of a page is the error of the list."""
    server = Server(95)

    def script(number: int) -> Page[int]:
        if number == 7:
            raise UnavailableError("page 7 is down", provider="acme")
        return server(number)

    with pytest.raises(UnavailableError, match="page 7"):
        read(script)


def test_an_absurd_number_of_pages_is_an_error() -> None:
    """A server can't make us ask a billion times."""
    with pytest.raises(BadAnswerError):
        read(lambda number: Page((1,), 10**9, 10**9))
