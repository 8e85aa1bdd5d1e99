"""Markdown within a budget, and one HTML page that loads nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reconciler.plan import Plan
from reconciler.render.html import drift_html, plan_html
from reconciler.render.markdown import MIN_BYTES, drift_markdown, plan_markdown
from tests.golden.cases import BIG, EMBEDDER, EVERYTHING, OLD, PLANS

MANY = replace(
    EVERYTHING,
    actions=tuple(
        replace(action, address=f"{action.action}-{n}") for n in range(200) for action in (EMBEDDER, BIG, OLD)
    ),
)


@pytest.mark.parametrize("budget", [MIN_BYTES, 1500, 4000, 20_000, 65_000])
@pytest.mark.parametrize("plan", [*PLANS.values(), MANY], ids=[*PLANS, "many"])
def test_never_more_bytes_than_allowed(plan: Plan, budget: int) -> None:
    """A comment fits the limit of the forge, whatever the plan."""
    assert len(plan_markdown(plan, max_bytes=budget).encode()) <= budget
    assert len(drift_markdown(plan, max_bytes=budget).encode()) <= budget


def test_a_budget_that_is_too_small_is_refused() -> None:
    """Less than a heading and a summary is no plan."""
    with pytest.raises(ValueError):
        plan_markdown(EVERYTHING, max_bytes=MIN_BYTES - 1)


def test_a_cut_is_told() -> None:
    """Summary and cost stay, and the reader learns how much of what is missing."""
    text = plan_markdown(MANY, max_bytes=20_000)
    assert "200 to deploy, 200 to replace, 200 to undeploy" in text
    assert re.search(r"Cut to fit 20000 bytes.*\d+ table rows, .*600 details", text)
    assert "Cut to fit" not in plan_markdown(EVERYTHING, max_bytes=20_000)
    assert plan_markdown(EVERYTHING, max_bytes=20_000) == plan_markdown(EVERYTHING)


def test_what_takes_away_is_cut_last() -> None:
    """Where rows must go, deploys go before undeploys and replaces."""
    text = plan_markdown(MANY, max_bytes=30_000)
    assert len(re.findall(r"^\| - \*\*undeploy", text, re.MULTILINE)) == 200
    assert len(re.findall(r"^\| \+ \*\*deploy", text, re.MULTILINE)) < 200


def test_no_part_is_cut_in_the_middle() -> None:
    """Every fence and every fold that was opened is closed, at any budget."""
    for budget in range(MIN_BYTES, 5000, 97):
        text = plan_markdown(EVERYTHING, max_bytes=budget)
        assert text.count("<details") == text.count("</details>")
        assert len(re.findall("^```", text, re.MULTILINE)) % 2 == 0


def test_a_comment_can_be_found_again() -> None:
    """The first line is a marker with the stack's name; drift has its own."""
    assert plan_markdown(EVERYTHING).startswith("<!-- reconciler:plan:support-bots -->\n")
    assert drift_markdown(EVERYTHING).startswith("<!-- reconciler:drift:support-bots -->\n")
    assert plan_markdown(replace(EVERYTHING, stack="a --> <b>")).startswith("<!-- reconciler:plan:a_--__") is True


def test_destructive_actions_are_open_and_first() -> None:
    """A reviewer sees what goes away without a click."""
    details = re.findall(r"<details( open)?><summary>\S+ (\w+) <code>", plan_markdown(EVERYTHING))
    assert [kind for opened, kind in details if opened] == ["undeploy", "replace", "forget"]
    assert [kind for _, kind in details][:3] == ["undeploy", "replace", "forget"]


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", PLANS)
def test_a_page_loads_nothing_and_runs_nothing(name: str) -> None:
    """No script, no link, no image, no event handler; every element is closed."""
    for text in (plan_html(PLANS[name]), drift_html(PLANS[name])):
        page = Page(text)
        assert not page.open
        assert not {"script", "link", "img", "iframe", "object", "form", "a", "base"} & set(page.tags)
        assert page.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "open"}
        assert "default-src 'none'" in text
        assert "url(" not in text
