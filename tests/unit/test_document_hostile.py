"""Desired-state files of megabytes, of odd encodings and of endless things: told in few words, soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.trampled import FILE, is_answered, run

MIB = 1 << 20
HEAD = "version: 1\nstack: demo\nproviders: {nugen: {}}\n"


def laughs(before: str, after: str, first: str) -> bytes:
    """Eleven anchors, each nine aliases of the one above."""
    rows = [f"a0: &a0 {first}"]
    rows += [f"a{n}: &a{n} {before}{', '.join([f'*a{n - 1}'] * 9)}{after}" for n in range(1, 12)]
    return "\n".join(rows).encode()


FILES: dict[str, tuple[bytes, int]] = {
    "a name of 10 MB": (f"version: 1\nstack: {'a' * 10 * MIB}\n".encode(), 1),
    "a key of 10 MB": (f"{HEAD}{'k' * 100_000}: 1\n? {'k' * 10 * MIB}\n: 2\n".encode(), 1),
    "a block of 10 MB": (f"{HEAD}deployments: |\n{'  x' * 20 + ' ' * 5}".encode() + b"\n  line" * MIB, 1),
    "a reference of 1 MB": (f"{HEAD}outputs: {{x: '${{var.{'a' * MIB}}}'}}\n".encode(), 1),
    "100,000 references": (f"{HEAD}outputs: {{x: '{'${var.a}' * 100_000}'}}\n".encode(), 1),
    "an identity of 1 MB": (FILE.replace("alignment-1", "a" * MIB).encode(), 1),
    "a huge number": (FILE.replace("replicas: 1", f"replicas: {'9' * 999}").encode(), 0),
    "an endless number": (FILE.replace("replicas: 1", f"replicas: {'9' * 100_000}").encode(), 1),
    "a number beyond floats": (FILE.replace("replicas: 1", "replicas: 1e400").encode(), 1),
    "not a number": (FILE.replace("replicas: 1", "replicas: .nan").encode(), 1),
    "utf-16": (FILE.encode("utf-16"), 0),
    "utf-16 without a mark": (FILE.encode("utf-16-le"), 1),
    "utf-32": (FILE.encode("utf-32"), 1),
    "utf-7": (b"+AHY-ersion: 1\n", 1),
    "terminal escapes": (f'{HEAD}"\\e[2J\\u202e": 1\nx\u202e: 2\n'.encode(), 1),
    "raw escapes": (f"{HEAD}\x1b[2J: 1\n".encode(), 1),
    "half a character": (f'{HEAD}x: "\\ud800"\n'.encode(), 1),
    "a billion laughs": (laughs("[", "]", "[x]"), 1),
    "laughs in merges": (laughs("{<<: [", "]}", "{x: 1}"), 1),
    "flow beyond depth": (b"{a: " * 10_000, 1),
    "blocks beyond depth": ("".join(" " * n + "a:\n" for n in range(2000)).encode(), 1),
    "an object of python": (b"!!python/object/apply:os.system ['touch owned']\n", 1),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", FILES)
def test_a_hostile_file_is_told_in_few_words(tmp_path: Path, case: str) -> None:
    """`validate` accepts it or says what is wrong, in less than a page."""
    content, code = FILES[case]
    (tmp_path / "reconciler.yaml").write_bytes(content)
    ran = is_answered(run(tmp_path, "validate"))
    assert ran.code == code, str(ran)[:2000]
    assert len(ran.out + ran.err) < 8000
    assert not (tmp_path / "owned").exists()


def test_a_file_without_end_is_no_file(tmp_path: Path) -> None:
    """A link to a device is refused before it fills the memory."""
    (tmp_path / "reconciler.yaml").symlink_to("/dev/zero")
    assert "too large" in is_answered(run(tmp_path, "validate")).err
