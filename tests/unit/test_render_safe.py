"""Untrusted text can't act where it is shown."""

from __future__ import annotations

import pytest

from reconciler.render import safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ünïcode ✓", "plain – ünïcode ✓"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp", "\\u202egnp"),
        ("\u200b\u2028", "\\u200b\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_does_not_print_is_spelled(text: str, shown: str) -> None:
    """Controls, escapes, bidirectional marks and lone surrogates are shown as escapes."""
    assert safe.plain(text) == shown


def test_long_text_is_cut_with_a_count() -> None:
    """The reader sees how much is missing."""
    assert safe.line("x" * 1_000_000, 10) == "xxxxxxxxxx… (999990 more characters)"
    assert safe.line("x" * 10, 10) == "x" * 10


def test_lines_of_a_block_are_neutral_and_counted() -> None:
    """A text with lines keeps them, but not endlessly."""
    assert safe.block("a\r\nb\x1b") == ["a", "b\\x1b"]
    assert safe.block("\n".join("abc"), lines=2) == ["a", "b", "… (1 more lines)"]


@pytest.mark.parametrize("text", ["::error::x", "  ::set-output name=a::b", "x ##[group]y", "##vso[task.setvariable]z"])
def test_no_line_is_a_command_of_a_ci_runner(text: str) -> None:
    """GitHub and Azure runners obey such lines; ours never look like one."""
    shown = safe.finish([text])
    assert not shown.strip().startswith("::")
    assert "##[" not in shown
    assert "##vso" not in shown


def test_addresses_with_colons_stay_as_they_are() -> None:
    """Only the start of a line matters: an IPv6 address is not touched."""
    assert safe.harmless("error: http://[::1]:9200 is not there") == "error: http://[::1]:9200 is not there"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a", "`a`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("``", "``` `` ```"),
        (" a ", "`  a  `"),
        ("", "`“”`"),
        ("a\n\n# b", "`a\\n\\n# b`"),
    ],
)
def test_a_code_span_holds_what_it_holds(text: str, code: str) -> None:
    """No backtick, space or line break leaves a code span."""
    assert safe.markdown_code(text) == code


def test_a_table_cell_keeps_its_bars() -> None:
    """A bar is escaped, and no backslash of the text undoes that."""
    assert safe.markdown_code("a|b\\|c", table=True) == "`a\\|b\\ \\|c`"


def test_a_fence_is_longer_than_any_in_it() -> None:
    """Content can't close the fence."""
    assert safe.markdown_fence(["a", "````", "b"])[0] == "`````"
    assert safe.markdown_fence(["a"], "diff") == ["```diff", "a", "```"]


def test_html_is_text() -> None:
    """Neither an element nor an attribute can begin."""
    assert safe.html_text("<b a=\"x\" b='y'>&") == "&lt;b a=&quot;x&quot; b=&#x27;y&#x27;&gt;&amp;"


def test_wide_and_combining_characters_are_counted_as_shown() -> None:
    """Columns stay aligned next to Chinese names and accents."""
    assert safe.columns("模型") == 4
    assert safe.columns("e\u0301") == 1
    assert safe.pad("模", 4) == "模  "
