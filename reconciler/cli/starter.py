"""The starter file of `reconciler init`: commented YAML for the chosen providers. Text only.

What a provider contributes stands in its schema (`x-starter`): `settings` under `providers:`, `deployment` under
`deployments:`, and `output`, a reference worth printing.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent
from typing import Any

HEADER = """\
# What should be deployed, and where. Next:
#   reconciler plan --sandbox      rehearse it on the built-in simulators, without credentials
#   reconciler plan                the real thing
# An editor completes this file with the output of `reconciler schema`.
version: 1
stack: {stack}

providers:
"""

GITIGNORE = """\
# reconciler: what a state or a saved plan says is not for everybody
state/*
!state/README.md
!state/.gitignore
plan.json
"""


def starter_file(stack: str, documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of a first `reconciler.yaml` from the schemas of the chosen provider types."""
    starters = [document["x-starter"] for document in documents.values() if "x-starter" in document]
    text = HEADER.format(stack=stack)
    text += "".join(indent(starter["settings"], "  ") for starter in starters)
    text += "\ndeployments:\n" + "\n".join(indent(starter["deployment"], "  ") for starter in starters)
    text += "\noutputs:\n"
    for starter in starters:
        text += f"  {starter['output'].replace('.', '_')}: ${{deployments.{starter['output']}}}\n"
    return text
