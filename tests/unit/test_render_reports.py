"""The end of an apply, the state, outputs, a valid file, a lock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.diagnostics import Diagnostic, Span
from reconciler.model import Desired, Pending, ProviderConfig, Recorded, RecordedProvider, Stack, State
from reconciler.plan import Action, Cost, Outcome, Plan, PlanOptions, Report
from reconciler.render.reports import (
    entry_text,
    lock_text,
    output_text,
    report_text,
    state_list_text,
    state_text,
    validate_text,
)


def entry(address: str, id_: str | None = "dep-1", **more: object) -> Recorded:
    return Recorded(address, "neevcloud", "neevcloud", id_, address, address, {"name": address}, **more)  # type: ignore[arg-type]


def state(*entries: Recorded, **more: object) -> State:
    return State("support-bots", "lin", 9, "00" * 32, deployments={e.address: e for e in entries}, **more)  # type: ignore[arg-type]


def action(address: str, kind: str, before: float | None, after: float | None) -> Action:
    return Action(address, "neevcloud", kind, "r", hourly_cost=Cost(before, after, "USD"))  # type: ignore[arg-type]


PLAN = Plan(
    "support-bots",
    "lin",
    8,
    actions=(
        action("a", "deploy", 0.0, 2.5),
        action("b", "scale", 2.5, 10.0),
        action("c", "undeploy", 4.0, 0.0),
        action("d", "none", 1.0, 1.0),
        action("e", "update", 3.0, 3.0),
        action("f", "deploy", 0.0, 8.0),
    ),
)


def report(*outcomes: Outcome, interrupted: bool = False, held: State | None = None) -> str:
    held = held or state(entry("a"), entry("b", health="degraded"), entry("d"), entry("e"))
    return report_text(Report(outcomes, held, {"url": "x"}, interrupted), PLAN, color=False, width=100)


def test_a_good_end() -> None:
    """Everything done: what was done and how long it took, what runs and costs, where the outputs are."""
    text = report(
        Outcome("a", "deploy", "done", 80, id="dep-1", health="ready"),
        Outcome("e", "update", "unchanged", 0.2),
        Outcome("d", "none", "done"),
        held=state(entry("a"), entry("d"), entry("e")),
    )
    assert text.splitlines() == [
        "Done: 1",
        "  deploy  a  dep-1 ready  1m 20s",
        "",
        "Unchanged (nothing had to be sent): 1",
        "  update  e    0.2s",
        "",
        "Left running: 3 deployments, 6.50 USD/h.",
        "",
        "Done: 2 actions. State serial 9.",
        "Outputs: reconciler output",
    ]


def test_an_end_in_part_says_what_is_left_and_what_it_costs() -> None:
    """Failed, skipped and unsettled ones are named with errors, request ids and prices, and the next command."""
    error = Diagnostic("500 oops", request_id="req-7", detail="no capacity", hint="try gpu-b")
    text = report(
        Outcome("b", "scale", "failed", 900, error=error, id="dep-1", health="degraded"),
        Outcome("c", "undeploy", "done", 4),
        Outcome("e", "update", "skipped", error=Diagnostic("it depends on b, which failed")),
        Outcome("f", "deploy", "failed", 1, error=Diagnostic("400 refused")),
        held=state(entry("b", health="degraded"), entry("d"), entry("e")),
    )
    assert "      500 oops [request req-7]\n      no capacity\n      try gpu-b\n" in text
    assert "Skipped: 1\n  update  e\n      it depends on b, which failed" in text
    assert "Not settled, and may cost money now:\n  b  dep-1  degraded  2.50 to 10.00 USD/h\n" in text
    assert "Left running: 3 deployments, 6.50 to 14.00 USD/h." in text
    assert "Ended in part: 3 of 4 actions not done. The state (serial 9) says what is." in text
    assert text.endswith("To see what is left to do: reconciler plan\n")


@pytest.mark.parametrize(
    ("options", "given", "command"),
    [
        (PlanOptions(destroy=True), (), "plan --destroy"),
        (PlanOptions(destroy=True, target=("a",)), (), "plan --destroy --target a"),
        (PlanOptions(replace=("a",)), ("--var", "n=2 3"), "plan --var 'n=2 3'"),
    ],
)
def test_what_is_left_is_planned_as_this_was(options: PlanOptions, given: tuple[str, ...], command: str) -> None:
    """What is left of a destroy is shown by a plan to destroy, never by one that deploys everything anew."""
    ended = Report((Outcome("a", "undeploy", "interrupted"),), state(entry("a")), {}, True)
    text = report_text(ended, replace(PLAN, options=options), color=False, width=100, given=given)
    assert text.endswith(f"To see what is left to do: reconciler {command}\n")


def test_a_sum_with_unknown_prices_is_a_lower_bound() -> None:
    """What has no price is counted, never taken for nothing."""
    held = state(entry("d"), entry("x"), entry("y"), entry("z", None))
    assert "Left running: 3 deployments, ≥ 1.00 USD/h, 2 at unknown cost." in report(held=held)
    assert "Left running: nothing." in report(held=state())


def test_an_interrupted_end() -> None:
    """What is still under way at the provider is said to be."""
    text = report(Outcome("a", "deploy", "interrupted", 3, id="dep-1", health="pending"), interrupted=True)
    assert "Interrupted (still under way at the provider): 1" in text
    assert "Interrupted: 1 action not finished." in text


def test_the_state_is_a_table() -> None:
    """Every deployment with its provider, id and health, and what is unfinished."""
    held = state(
        entry("a", health="ready"),
        entry("b", None, pending=Pending("deploy", "2026-01-02T03:04:05Z", "timed out")),
        providers={"neevcloud": RecordedProvider("neevcloud", "org-1/prj-1")},
        outputs={"url": "https://x"},
    )
    text = state_text(held, color=False)
    assert "  neevcloud: neevcloud, org-1/prj-1" in text
    assert "  a        neevcloud  dep-1    ready\n" in text
    assert "deploy not finished since 2026-01-02T03:04:05Z: timed out" in text
    assert '  url = "https://x"' in text
    assert text.endswith("2 deployments in the state.\n")


def test_one_entry_shows_flags_and_no_secret() -> None:
    """`state show` prints what was applied; sealed values are sensitive."""
    text = entry_text(
        replace(entry("a"), spec={"env": {"T": {"$digest": "hmac-sha256:00"}}, "n": 1}, computed={"id": "dep-1"}),
        color=False,
    )
    assert "    env = {T: (sensitive)}\n    n   = 1\n" in text
    assert "hmac" not in text


def test_lists_for_scripts() -> None:
    """`state list` prints one address a line; nothing for an empty state."""
    assert state_list_text(["a", 'b["eu"]']) == 'a\nb["eu"]\n'
    assert state_list_text([]) == ""


def test_outputs() -> None:
    """All with their names; one alone without quotes or whole as JSON, never cut."""
    outputs = {"b": [1, {"x": None}], "a": "https://x"}
    assert output_text(outputs) == 'a = "https://x"\nb = [1, {x: null}]\n'
    assert output_text(outputs, "a") == "https://x\n"
    assert output_text(outputs, "b") == '[1, {"x": null}]\n'
    assert output_text({"a": "x" * 9000}, "a") == "x" * 9000 + "\n"
    assert output_text({"a": "x\x1b[2J"}, "a") == "x\\x1b[2J\n"
    assert output_text({}) == "There are no outputs.\n"


def test_a_valid_file() -> None:
    """Counts, providers that nothing uses, and warnings with their place."""
    stack = Stack(
        "s",
        {"nugen": ProviderConfig("nugen", "nugen", {}, "x"), "opensearch": ProviderConfig("opensearch", "o", {}, "y")},
        {"a": Desired("a", "nugen", "nugen", {})},
        warnings=(Diagnostic("odd", severity="warning", span=Span("f.yaml", 1, 2)),),
    )
    assert validate_text(stack, color=False) == (
        "Valid: stack s, 1 deployment at 1 provider.\nNot used: opensearch\nwarning: f.yaml:1:2: odd\n"
    )


def test_a_lock_is_explained() -> None:
    """Who holds it, whether they live, and the command that frees it."""
    holder = {"id": "l-1", "boot_id": "b", "host": "ci-7", "pid": 12, "pid_start": "9", "job_url": ""}
    text = lock_text(holder, alive=False, unlock="reconciler unlock")
    assert text.startswith("The state is locked:\n  lock id  l-1\n  host     ci-7\n  pid      12\nThe holder is gone")
    assert text.endswith(" To remove the lock now: reconciler unlock l-1\n")
    assert "wait for it" in lock_text(holder, alive=True, unlock="u")
    assert lock_text(holder, alive=None, unlock="u").endswith("can't be seen from here. If it does not: u l-1\n")
    assert lock_text(None, alive=None, unlock="") == "The state is not locked.\n"
    assert "has not said who it is" in lock_text(None, alive=True, unlock="")
