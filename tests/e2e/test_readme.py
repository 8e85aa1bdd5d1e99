"""The README is true: its file is valid, and its transcript is what the commands print.

`python -m tests.e2e.test_readme` writes the transcript anew (then read the diff).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.cli import COMMAND, ROOT, Project

README = ROOT / "README.md"
SESSION = (
    ["apply", "--auto-approve"],
    ["plan", "--var", "replicas=3", "--out", "plan.json"],
    ["apply", "plan.json"],
    ["apply", "plan.json"],
)
SHOWN = (1, 2, 3)  # of the session; the first apply is as long as the file


def transcript(folder: Path) -> str:
    """What a terminal shows of the session: results, and errors where there is no result."""
    shutil.copytree(ROOT / "examples" / "quickstart", folder)
    parts = []
    for number, words in enumerate(SESSION):
        ran = subprocess.run([*COMMAND, "--sandbox", *words], cwd=folder, capture_output=True, text=True, check=False)
        if number in SHOWN:
            parts.append(f"$ reconciler --sandbox {' '.join(words)}\n{(ran.stdout or ran.stderr).strip()}\n")
    return "\n".join(parts)


def without_times(text: str) -> str:
    return re.sub(r" \d+(\.\d+)?m?s\b", " 1s", text)


def section(text: str) -> str:
    found = re.search(r"<!-- transcript -->\n```console\n(.*?)```\n", text, re.DOTALL)
    assert found
    return found[1]


def test_the_transcript_is_what_the_commands_print(tmp_path: Path) -> None:
    """The session in the README, run again, prints the same but for times."""
    assert without_times(transcript(tmp_path / "quickstart")) == without_times(section(README.read_text()))


def test_the_file_in_the_readme_is_valid(tmp_path: Path) -> None:
    """The desired-state file of the README passes `validate`."""
    found = re.search(r"```yaml\n(version: 1\n.*?)```", README.read_text(), re.DOTALL)
    assert found
    project = Project(tmp_path)
    project.write(found[1])
    assert project.run("validate").ended(0).out.startswith("Valid: stack support-bots, 2 deployments")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        new = transcript(Path(name, "quickstart"))
    text = README.read_text()
    README.write_text(text.replace(f"```console\n{section(text)}```", f"```console\n{new}```"))
    sys.stdout.write("wrote the transcript\n")


if __name__ == "__main__":
    main()
