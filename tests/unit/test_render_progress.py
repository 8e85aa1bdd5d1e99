"""Live progress as lines, for a terminal and for a CI log."""

from __future__ import annotations

from reconciler.plan import Event
from reconciler.render.progress import ProgressView, waiting


def test_a_terminal_sees_what_is_under_way() -> None:
    """One line an action with its time and the provider's own word, the longest first, then a count."""
    view = ProgressView(total=4)
    view.apply(Event("started", "b", "deploy"), 100.0)
    view.apply(Event("started", "a", "scale"), 110.0)
    view.apply(Event("progress", "b", "deploy", step="create", status="PROVISIONING", health="pending"), 120.0)
    view.apply(Event("started", "c", "undeploy"), 120.0)
    view.apply(Event("done", "c", "undeploy"), 130.0)
    assert view.lines(180.0, 80) == [
        "+ deploy   b  1m 20s  create  PROVISIONING",
        "↕ scale    a  1m 10s",
        "  2 under way, 1 done, 1 waiting",
    ]


def test_the_block_fits_the_terminal() -> None:
    """No line is wider than the terminal, and many actions are counted: a redraw counts on both."""
    view = ProgressView()
    for n in range(50):
        view.apply(Event("started", f"模型{n}" + "x" * 50, "deploy", status="y" * 50), 0.0)
    for width in (10, 40, 120):
        lines = view.lines(1.0, width)
        assert len(lines) == 14
        assert all(sum(2 if ord(c) > 0x2E80 else 1 for c in line) <= width for line in lines)
    assert "… and 38 more under way" in view.lines(1.0, 80)[12]


def test_nothing_under_way_is_no_line() -> None:
    """Before the first action and after the last the terminal is left alone."""
    view = ProgressView()
    assert view.lines(0.0, 80) == []
    view.apply(Event("started", "a", "deploy"), 0.0)
    view.apply(Event("failed", "a", "deploy", error="x"), 1.0)
    assert view.lines(2.0, 80) == []


def told(view: ProgressView, event: Event, now: float) -> str | None:
    view.apply(event, now)
    return view.plain(event, now)


def test_a_log_sees_starts_ends_and_heartbeats() -> None:
    """A CI log shows life every half minute and nothing in between."""
    view = ProgressView()
    assert told(view, Event("started", "a", "deploy"), 0.0) == "a: deploy started"
    assert told(view, Event("progress", "a", "deploy", status="QUEUED"), 10.0) is None
    assert told(view, Event("progress", "a", "deploy", status="BUILDING"), 31.0) == (
        "a: deploy still under way after 31s, status: BUILDING"
    )
    assert told(view, Event("progress", "a", "deploy", status="BUILDING"), 50.0) is None
    assert told(view, Event("done", "a", "deploy", id="dep-1", elapsed=80.0), 80.0) == (
        "a: deploy done after 1m 20s (dep-1)"
    )
    assert told(view, Event("failed", "b", "scale", error="500 oops"), 81.0) == "b: scale FAILED: 500 oops"
    assert (
        told(view, Event("failed", "c", "scale", error="stop", interrupted=True), 81.0) == "c: scale interrupted: stop"
    )
    assert told(view, Event("skipped", "c", "update", error="it needs b"), 82.0) == "c: update skipped: it needs b"


def test_what_is_only_waited_for_is_said_to_be() -> None:
    """No line says that nothing (`none`) was started or done."""
    view = ProgressView()
    assert told(view, Event("started", "a", "none"), 0.0) == "a: wait started"
    assert view.lines(2.0, 80)[0].startswith("= wait ")
    assert told(view, Event("done", "a", "none", elapsed=3.0), 3.0) == "a: wait done after 3s"


def test_a_status_can_not_act() -> None:
    """A provider's words neither move the cursor nor start a CI command."""
    view = ProgressView()
    event = Event("started", "::error::a", "deploy", status="\x1b[2J\n")
    line = told(view, event, 0.0)
    assert line is not None
    assert not line.startswith("::")
    assert all(line.isprintable() for line in view.lines(0.0, 80))


def test_a_wait_for_providers_names_them() -> None:
    """Who is waited for, since when, and who asked for it; a key can not act, and many are counted."""
    assert waiting("still listing", ["nugen"], 12.3) == "still listing: nugen (12s)…"
    told = waiting("still listing", ["neevcloud", "nugen"], 80.0, ["nugen", "nugen"])
    assert told == "still listing: neevcloud (1m 20s), nugen (1m 20s; throttled, waiting as asked)…"
    assert waiting("looking", [f"p{n}" for n in range(7)], 10.0).endswith("p4 (10s), 2 more…")
    assert "\x1b" not in waiting("looking", ["\x1b[2J"], 10.0)
