"""How a bug is told: as the failure of one action, with a place and without values. Decides nothing else."""

from __future__ import annotations

import traceback

from reconciler.diagnostics import Diagnostic
from reconciler.engine.job import Step


def internal(step: Step, error: BaseException) -> Diagnostic:
    """An exception that nobody foresaw. Its text is left out: it may quote anything, secrets included."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return Diagnostic(
        summary=f"{step.name}: internal error ({type(error).__name__}{place})",
        address=step.address,
        provider=step.lane.key,
        detail="A mistake in the program, not in the file. What it may have created is looked up by the next run.",
        hint="report it with the version (`reconciler version`) and the log at --log-level debug",
    )
