"""The samples in the documentation are what the tool prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
SAMPLE = re.compile(r"(<!-- golden: (\S+) -->\n```\w*\n)(.*?)(```\n<!-- end -->)", re.DOTALL)
PAGES = [path for path in sorted(DOCS.glob("*.md")) if SAMPLE.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_samples_are_golden(page: Path, request: pytest.FixtureRequest) -> None:
    """A page that shows output shows a golden file, byte for byte."""
    text = page.read_text(encoding="utf-8")
    fresh = SAMPLE.sub(lambda m: m[1] + (HERE / m[2]).read_text(encoding="utf-8") + m[4], text)
    if request.config.getoption("--golden-update", default=False):
        page.write_text(fresh, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == fresh, "`make golden` puts the samples in again"


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of the documentation names a file that exists."""
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
