"""What a plan says on a terminal, beyond the golden files."""

from __future__ import annotations

import re
from dataclasses import replace

from reconciler.plan import Action, Change, Drift, Expected, Plan, PlanOptions, StateChange
from reconciler.render.text import drift_text, plan_text
from tests.golden.cases import EMPTY, EVERYTHING, REFUSED, TARGETED, UNREADABLE


def printed(plan: Plan, **options: object) -> str:
    return plan_text(plan, **{"color": False, "width": 100, **options})  # type: ignore[arg-type]


def test_colour_never_carries_meaning_alone() -> None:
    """Without its colour codes the coloured plan is the plain one."""
    colored = printed(EVERYTHING, color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == printed(EVERYTHING)


def test_actions_stand_in_execution_order() -> None:
    """A reader sees what runs first."""
    words = re.findall(r"^\S (deploy|scale|replace|update|adopt|undeploy|forget)\b", printed(EVERYTHING), re.MULTILINE)
    assert words == ["deploy", "scale", "replace", "update", "adopt", "undeploy", "forget"]


def test_unchanged_deployments_are_one_line() -> None:
    """Ten thousand unchanged deployments do not make a plan longer; `full` names them."""
    plan = Plan("s", "l", 1, actions=tuple(Action(f"a{n}", "p", "none", "") for n in range(10_000)))
    assert "= 10000 deployments unchanged" in printed(plan)
    assert len(printed(plan).splitlines()) < 12
    assert "    a77" in printed(plan, full=True).splitlines()


def test_the_last_line_is_the_next_command() -> None:
    """What to paste next fits the plan: saved, targeted, destroying, refused, unreadable, empty."""

    def last(plan: Plan, **options: object) -> str:
        return printed(plan, **options).splitlines()[-1]

    assert last(EVERYTHING) == "To do this: reconciler apply"
    assert last(EVERYTHING, command="reconciler -f x.yaml") == "To do this: reconciler -f x.yaml apply"
    assert last(EVERYTHING, saved_as="my plan.json") == "To do exactly this: reconciler apply 'my plan.json'"
    assert last(replace(TARGETED, options=PlanOptions(target=("chat",)))).endswith("apply --target chat")
    assert last(replace(EVERYTHING, options=PlanOptions(destroy=True, target=("a",)))).endswith("destroy --target a")
    assert last(replace(EVERYTHING, options=PlanOptions(destroy=True, exclude=("a",)))).endswith(
        "apply --destroy --exclude a"
    )
    assert last(EMPTY) == "Nothing to do."
    arriving = Action("a", "p", "none", "", expected=Expected(True, "i", health="pending"))
    assert last(replace(EMPTY, actions=(arriving,))).endswith("wait for what is in transition: reconciler apply")
    unwaited = replace(EMPTY, actions=(arriving,), options=PlanOptions(refresh_only=True))
    assert last(unwaited) == "Nothing to do."
    assert last(REFUSED).startswith("Refused")
    assert last(UNREADABLE).startswith("Not everything could be read")
    assert last(EVERYTHING, next_step=False).startswith("Cost:")


def test_state_changes_alone_are_something_to_do() -> None:
    """A plan that only writes something down is not called empty."""
    text = printed(replace(EMPTY, state_changes=(StateChange("a", "presence", "presence", "always", "on_demand"),)))
    assert 'presence a: "always" → "on_demand"' in text
    assert text.endswith("To do this: reconciler apply\n")


def test_a_narrow_terminal_puts_after_below_before() -> None:
    """Long values stand under each other instead of running together."""
    change = Change("url", "https://a.example/" + "x" * 60, "https://b.example/" + "y" * 60)
    text = printed(Plan("s", "l", 1, actions=(Action("a", "p", "update", "r", changes=(change,)),)), width=80)
    before, after = (row for row in text.splitlines() if "example/" in row)
    assert before.index('"') == after.index('"')
    assert after.strip().startswith("→")


def test_drift_in_a_plan_is_short_and_says_so() -> None:
    """Much drift is counted, not listed; the drift command lists all of it."""
    plan = replace(EMPTY, drift=tuple(Drift(f"a{n}", "changed", "n", 1, 2) for n in range(50)))
    assert "… and 30 more" in printed(plan)
    assert drift_text(plan, color=False, width=100).count("recorded 1, live 2") == 50
    assert "Drift: 50 deployments differ from the state." in drift_text(plan, color=False, width=100)


def test_unmanaged_ones_are_counted_and_listed_on_request() -> None:
    """Many unmanaged deployments are one line until they are asked for."""
    assert "dep-25" not in drift_text(REFUSED, color=False, width=100)
    assert "12 unmanaged deployments" in drift_text(REFUSED, color=False, width=100)
    assert "dep-25" in drift_text(REFUSED, color=False, width=100, unmanaged=True)


def test_no_drift_is_said_of_what_was_read_only() -> None:
    """A provider that can't be read is named beside the verdict."""
    text = drift_text(UNREADABLE, color=False, width=100)
    assert "Could not be read:" in text
    assert "No drift in what could be read; the rest is not known." in text
    assert "[request 7b1e-42]" in text


def test_sensitive_drift_shows_no_value() -> None:
    """A changed secret is reported without either value."""
    plan = replace(EMPTY, drift=(Drift("a", "changed", "env.TOKEN", "old-secret", "new-secret", sensitive=True),))
    text = drift_text(plan, color=False, width=100)
    assert "env.TOKEN (sensitive) differs" in text
    assert "secret" not in text.replace("(sensitive)", "")
