"""`import`: put a live deployment into the state, or print what would declare the unmanaged ones."""

from __future__ import annotations

import click

from reconciler.cli.context import Command, Globals, pass_globals
from reconciler.cli.options import lock_timeout, variables
from reconciler.cli.run import workspace
from reconciler.diagnostics import Diagnostic, UsageError


@click.command(
    "import",
    cls=Command,
    epilog="\b\nExamples:\n  reconciler import chat dep-abc123\n  reconciler import --generate neevcloud > found.yaml",
)
@click.argument("address", required=False)
@click.argument("deployment_id", metavar="ID", required=False)
@click.option("--generate", metavar="PROVIDER", help="Print a `deployments:` section for its unmanaged deployments.")
@variables
@lock_timeout
@pass_globals
def import_command(
    run: Globals, address: str | None, deployment_id: str | None, generate: str | None,
    var: tuple[str, ...], var_file: tuple[str, ...], lock_timeout: str,
) -> int:  # fmt: skip
    """Put the live deployment ID into the state as ADDRESS, which the file must declare."""
    from reconciler import importing

    if generate is not None and (address or deployment_id):
        raise UsageError(Diagnostic("--generate takes no ADDRESS and no ID"))
    if generate is None and not (address and deployment_id):
        raise UsageError(Diagnostic("import wants an ADDRESS and an ID, or --generate PROVIDER"))
    with workspace(run, var, var_file) as space:
        if generate is not None:
            from reconciler.render.generate import generate_yaml

            run.console.result(generate_yaml(importing.generate(space, generate)))
            return 0
        assert address is not None
        assert deployment_id is not None
        for line in importing.import_one(space, address, deployment_id, lock_timeout):
            run.console.tell(line)
    return 0
