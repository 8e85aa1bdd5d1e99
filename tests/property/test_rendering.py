"""Hostile text stays text, wherever it stands in a plan and however the plan is printed."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.diagnostics import Diagnostic, Span
from reconciler.model import Desired, Stack
from reconciler.plan import Action, Change, Cost, CostTotal, Drift, Event, Plan, Refusal, StateChange, Unmanaged
from reconciler.render.diagnostics import diagnostics_text
from reconciler.render.generate import Found, generate_yaml
from reconciler.render.graph import dot, mermaid
from reconciler.render.html import drift_html, plan_html
from reconciler.render.json import event_line
from reconciler.render.markdown import MIN_BYTES, drift_markdown, plan_markdown
from reconciler.render.metrics import metrics_text
from reconciler.render.progress import ProgressView
from reconciler.render.text import drift_text, plan_text

MARK = "ZQXJ"  # stands in every hostile text, so that it can be found where it must not be
MARKUP = [
    "`",
    "``",
    "```",
    "````\n",
    "|",
    "\\",
    "\\|",
    "<",
    ">",
    "</code>",
    "</details>",
    "<!--",
    "-->",
    "<script>",
    '"',
    "'",
]
WORDS = [
    "&lt;",
    "&",
    "[a](b)",
    "![",
    "**",
    "# ",
    "::error::",
    "##[add-mask]",
    "${",
    "}",
    "{",
    " ",
    "@team",
    "http://x.y",
]
CONTROL = [
    "\n",
    "\r\n",
    "\n\n",
    "\x1b[2J",
    "\x1b]8;;x\x07",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u2028",
    "\ud800",
    "\0",
    "\t",
    "模",
]
PIECES = st.sampled_from([*MARKUP, *WORDS, *CONTROL])
HOSTILE = st.lists(PIECES | st.text(max_size=5), max_size=12).map(lambda parts: MARK.join(["", *parts, ""]) or MARK)


def plan_of(a: str, b: str) -> Plan:
    return Plan(
        "support",
        a,
        1,
        actions=(
            Action(
                a, b, "replace", a, id=b, name=a, depends_on=(b,),
                changes=(Change(a, a, b, note=b), Change(b, {a: [b]}, [{b: a}], forces_replacement=True)),
                hourly_cost=Cost(1.0, 2.0, a), notes=(a, b), create_first=True, may=True,
            ),
            Action(b, a, "none", a, notes=(b,)),
        ),
        state_changes=(StateChange(a, b, a, a, b), StateChange(a, "moved", "", a, b)),
        drift=(
            Drift(a, "changed", b, a, b, note=a),
            Drift(b, "missing", a, b, None),
            Drift(b, "not_compared", a, b, a),
        ),
        unmanaged=(Unmanaged(a, b, a, b),),
        unreadable=(Diagnostic(a, provider=b, address=a, request_id=b, detail=a, hint=b),),
        refused=(Refusal(a, b),),
        warnings=(Diagnostic(b, severity="warning", span=Span(a, 1, 1), detail=b, hint=a),),
        notes=(a, b),
        costs=(CostTotal(1.0, 2.0, a),),
        looked_at=(a, b),
        skipped=(b,),
    )  # fmt: skip


PLANS = st.builds(plan_of, HOSTILE, HOSTILE)


def assert_harmless_lines(text: str) -> None:
    for line in text.removesuffix("\n").split("\n"):
        assert line.isprintable()
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
    text.encode()


@given(PLANS, st.integers(20, 200))
def test_nothing_acts_in_a_terminal(plan: Plan, width: int) -> None:
    """No control character, no escape, no command for a CI runner; no forged line at the margin."""
    for text in (
        plan_text(plan, color=False, width=width, full=True),
        drift_text(plan, color=False, width=width, unmanaged=True),
    ):
        assert_harmless_lines(text)
        margin = [line for line in text.split("\n") if line and not line.startswith(" ")]
        ours = re.compile(
            "Plan|Drift|Looked|Not |Notes:|warning: |Actions|± |= 1|State|Changed|1 unman|Could|Refused|Cost|To "
        )
        assert all(ours.match(line) for line in margin)


@given(st.lists(HOSTILE, min_size=1, max_size=2))
def test_no_error_acts_or_forges_another(texts: list[str]) -> None:
    """Each diagnostic starts one line at the margin, whatever it says."""
    items = [Diagnostic(t, detail=t, hint=t, address=t, provider=t, request_id=t, span=Span(t, 1, 1)) for t in texts]
    text = diagnostics_text(items, color=False)
    assert_harmless_lines(text)
    margin = [line for line in text.split("\n") if line and not line.startswith(" ")]
    assert sum(line.startswith("error: ") for line in margin) == len(texts)
    assert len(margin) == 2 * len(texts) + (len(texts) > 1)


def without_code(text: str) -> str:
    """Markdown without its fences and code spans, read as CommonMark reads them."""
    out, fence = [], ""
    for line in text.split("\n"):
        run = re.match("`*", line)[0]  # type: ignore[index]
        if fence:
            fence = "" if line == fence else fence
        elif len(run) >= 3 and "`" not in line[len(run) :]:
            fence = run
        else:
            out.append(_without_spans(line))
    assert not fence
    return "\n".join(out)


def _without_spans(line: str) -> str:
    out, position = "", 0
    for opening in re.finditer("`+", line):
        if opening.start() < position:
            continue
        closing = next((c for c in re.finditer("`+", line[opening.end() :]) if c[0] == opening[0]), None)
        if closing is not None:
            out += line[position : opening.start()]
            position = opening.end() + closing.end()
    return out + line[position:]


@given(PLANS, st.none() | st.integers(MIN_BYTES, 9000))
def test_nothing_is_markup_in_markdown(plan: Plan, budget: int | None) -> None:
    """Foreign text stands in code alone, or escaped in our own HTML; cells and budget hold."""
    for text in (plan_markdown(plan, max_bytes=budget), drift_markdown(plan, max_bytes=budget)):
        assert budget is None or len(text.encode()) <= budget
        assert_rows(text)
        for line in without_code(text).split("\n"):
            if MARK in line:
                assert line.startswith("<details")
                assert re.fullmatch(r"<details( open)?><summary>± replace <code>[^<>]*</code></summary>", line)


def assert_rows(text: str) -> None:
    """Every row of the table has five cells: a bar with a backslash before it is none."""
    for line in text.split("\n"):
        if line.startswith("| ±"):
            assert len(re.findall(r"(?:^|[^\\])\|", line)) == 6


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        assert MARK not in tag + str(attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")


@given(PLANS)
def test_nothing_is_markup_in_html(plan: Plan) -> None:
    """Foreign text opens no element and no attribute, closes none, and starts no comment."""
    for text in (plan_html(plan), drift_html(plan)):
        page = Page()
        page.feed(text)
        page.close()
        assert not page.open
        assert not page.found & {"script", "img", "a", "iframe"}
        assert all(line.isprintable() for line in text.split("\n"))


@given(HOSTILE, HOSTILE)
def test_nothing_acts_in_logs_metrics_graphs(a: str, b: str) -> None:
    """Progress, events, metrics and graphs keep their lines and quotes."""
    view = ProgressView()
    event = Event("progress", a, "deploy", step=b, status=a, error=b, id=a)
    view.apply(event, 0.0)
    assert_harmless_lines("\n".join([*view.lines(1.0, 60), view.plain(event, 99.0) or ""]))
    assert not {unicodedata.category(c) for c in event_line(event)} & {"Cc", "Cs", "Zl", "Zp"}
    assert "##[" not in event_line(event)
    assert json.loads(event_line(event))["error"] == b
    assert not set(event_line(event)) & set("\u202e\u2066\u200b")
    for line in metrics_text(replace(plan_of(a, b), stack=a)).splitlines():
        assert re.fullmatch(r'#.*|\w+\{(\w+="(\\.|[^"\\])*",?)+\} [0-9.e+-]+', line)
    stack = Stack(a, {}, {a: Desired(a, b, b, {}, depends_on=(b,)), b: Desired(b, a, a, {})})
    for line in dot(stack).splitlines()[3:-1]:
        assert re.fullmatch(r'  "(\\.|[^"\\])*"( -> "(\\.|[^"\\])*"| \[label = "(\\.|[^"\\])*"\]);', line)
    for line in mermaid(stack).splitlines()[1:]:
        assert re.fullmatch(
            r'  n\d( --> n\d|\["[\w ,./#;\-\u0080-\U0010ffff]*<br/>[\w ,./#;\-\u0080-\U0010ffff]*"\])', line
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | HOSTILE | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE | st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def doubled(value: object) -> object:
    """What the file must say so that the value is literal: `${` doubled, lone surrogates replaced."""
    if isinstance(value, str):
        return clean(value.replace("${", "$${"))
    if isinstance(value, dict):
        return {clean(name): doubled(below) for name, below in value.items()}
    return [doubled(below) for below in value] if isinstance(value, list) else value


def clean(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex("[a-z_]{1,8}", fullmatch=True), JSON, max_size=3))
def test_generated_yaml_reads_back_as_it_was(spec: dict[str, object]) -> None:
    """What a provider answered is what the generated file says, and the file is printable."""
    text = generate_yaml([Found("a", "p", spec)])
    assert all(line.isprintable() for line in text.split("\n"))
    assert yaml.safe_load(text)["deployments"]["a"]["spec"] == doubled(spec)


@given(PLANS)
def test_the_same_plan_gives_the_same_bytes(plan: Plan) -> None:
    """Printing has no memory, clock or order of its own."""
    assert plan_text(plan, color=True, width=80) == plan_text(replace(plan), color=True, width=80)
    assert plan_markdown(plan) == plan_markdown(replace(plan))
    assert plan_html(plan) == plan_html(replace(plan))


def test_megabytes_become_short() -> None:
    """A text of a megabyte in every field prints as a page of a few dozen kilobytes."""
    plan = plan_of("a" * 1_000_000, "`|<\n" * 250_000)
    for text in (plan_text(plan, color=False, width=100), plan_markdown(plan), plan_html(plan)):
        assert len(text) < 60_000
