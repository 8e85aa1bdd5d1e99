"""Errors as they are read in a CI log."""

from __future__ import annotations

from reconciler.diagnostics import Diagnostic, Span
from reconciler.render.diagnostics import diagnostic_line, diagnostics_text

FULL = Diagnostic(
    "unknown attribute `replcas`",
    span=Span("reconciler.yaml", 12, 7),
    address="chat",
    provider="neevcloud",
    request_id="req-1",
    detail="found `replcas`\nexpected one of `replicas`, `name`",
    hint="did you mean `replicas`?",
    related=(("first given here", Span("b.yaml", 3, 1)), ("", Span("c.yaml", 4, 2))),
)


def test_an_error_says_what_where_why_and_what_next() -> None:
    """Summary, place, deployment, provider, request, detail, other places, a blank line, the hint."""
    assert diagnostics_text([FULL], color=False) == "\n".join(
        [
            "error: unknown attribute `replcas`",
            "  --> reconciler.yaml:12:7",
            "  deployment: chat",
            "  provider: neevcloud",
            "  request id: req-1",
            "  found `replcas`",
            "  expected one of `replicas`, `name`",
            "  first given here: b.yaml:3:1",
            "  also: c.yaml:4:2",
            "",
            "hint: did you mean `replicas`?",
        ]
    )


def test_several_errors_are_separated_and_counted() -> None:
    """All errors of a run are shown in the order given, with a count at the end."""
    text = diagnostics_text(
        [Diagnostic("one"), Diagnostic("two"), Diagnostic("three", severity="warning")], color=False
    )
    assert text == "error: one\n\nerror: two\n\nwarning: three\n\n2 errors, 1 warning"


def test_colour_changes_nothing_but_colour() -> None:
    """Without its colour codes the coloured text is the plain one."""
    import re

    colored = diagnostics_text([FULL, FULL], color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == diagnostics_text([FULL, FULL], color=False)


def test_a_provider_can_not_forge_lines() -> None:
    """Text of a provider stays in its place: it starts no line of its own at the margin and no CI command."""
    evil = "x\nerror: all is lost\n::error::y\n\x1b[31m"
    text = diagnostics_text([Diagnostic(evil, detail=evil, hint=evil, address=evil, request_id=evil)], color=False)
    margin = [row for row in text.split("\n") if row and not row.startswith(" ")]
    assert margin == ["error: x", "hint: x"]
    assert "\x1b" not in text
    assert not any(row.strip().startswith("::") for row in text.split("\n"))


def test_a_hint_is_never_wrapped() -> None:
    """A command can be pasted as it stands."""
    hint = "reconciler import " + "x" * 60 + " " + "y" * 60
    assert f"hint: {hint}" in diagnostics_text([Diagnostic("a", hint=hint)], color=False, width=60)


def test_one_line_for_logs() -> None:
    """The short form keeps place, deployment, provider and request."""
    assert diagnostic_line(FULL) == (
        "reconciler.yaml:12:7: chat, neevcloud: unknown attribute `replcas` [request req-1]"
    )
