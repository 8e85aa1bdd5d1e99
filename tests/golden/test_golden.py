"""Every way to print a plan, byte for byte, against files that a person has read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.core.planfile.plan_codec import plan_to_json
from reconciler.plan import Plan
from reconciler.render.html import drift_html, plan_html
from reconciler.render.json import to_json
from reconciler.render.markdown import drift_markdown, plan_markdown
from reconciler.render.text import drift_text, plan_text
from tests.golden.cases import PLANS

HERE = Path(__file__).parent
RENDERERS: dict[str, Callable[[Plan], str]] = {
    "plan.txt": lambda plan: plan_text(plan, color=False, width=100),
    "plan.md": lambda plan: plan_markdown(plan, saved_as="plan.json"),
    "plan.html": plan_html,
    "plan.json": lambda plan: to_json(plan_to_json(plan)) + "\n",
    "drift.txt": lambda plan: drift_text(plan, color=False, width=100),
    "drift.md": drift_markdown,
    "drift.html": drift_html,
}
# Where drift says something of its own.
DRIFT = ("empty", "everything", "hostile", "unreadable")


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("case", PLANS)
def test_printed_as_reviewed(case: str, name: str, request: pytest.FixtureRequest) -> None:
    """A plan prints as it did when a person last read it; the same plan gives the same bytes."""
    if name.startswith("drift") and case not in DRIFT:
        return
    plan = PLANS[case]
    text = RENDERERS[name](plan)
    assert text == RENDERERS[name](plan)
    path = HERE / case / name
    if request.config.getoption("--golden-update", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    assert path.read_bytes().decode("utf-8") == text, f"{path} differs: read it, then `make golden`"


def test_no_stray_golden_files() -> None:
    """Every golden file belongs to a case."""
    for path in HERE.glob("*/*"):
        if path.parent.name != "__pycache__":
            assert path.parent.name in PLANS
            assert path.name in RENDERERS
