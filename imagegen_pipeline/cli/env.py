"""``imagegen env``: shell lines that point Dagster's tools at this project."""

from __future__ import annotations

import click

PERFORMANCE = {"DAGSTER_EVENT_BATCH_SIZE": "1000", "MALLOC_ARENA_MAX": "2"}
"""How many events Dagster writes in one transaction, and how many memory pools glibc uses: with its
default of eight a core, a process keeps more freed memory. ``make dev`` sets the same values.
"""


@click.command(short_help="Print shell lines that point Dagster's tools here.")
def env() -> None:
    """Print shell lines that point Dagster's tools at this project and make them fast.

    \b
    Use it as:  eval "$(imagegen env)"
    Then `dagster asset materialize --select source_scan` needs no -m and works anywhere.
    DAGSTER_EVENT_BATCH_SIZE and MALLOC_ARENA_MAX keep the values that are already set.
    """
    import os
    import shlex

    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.settings import project_root

    root = project_root()
    if not (root / "dagster.yaml").is_file():
        raise SetupError(
            f"There is no project here: no dagster.yaml in {root} or above.",
            remedy="Run this in the project, where dagster.yaml is.",
        )
    click.echo(f"export DAGSTER_HOME={shlex.quote(str(root))}")
    click.echo("export DAGSTER_MODULE_NAME=imagegen_pipeline.definitions")
    for name, value in PERFORMANCE.items():
        click.echo(f"export {name}={shlex.quote(os.environ.get(name) or value)}")
