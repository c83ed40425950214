"""``imagegen env``: shell lines that point Dagster's tools at this project."""

from __future__ import annotations

import click


@click.command(short_help="Print shell lines that point Dagster's tools here.")
def env() -> None:
    """Print shell lines that point Dagster's tools at this project.

    \b
    Use it as:  eval "$(imagegen env)"
    Then `dagster asset materialize --select source_scan` needs no -m and works anywhere.
    """
    import shlex

    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.settings import project_root

    root = project_root()
    if not (root / "dagster.yaml").is_file():
        raise SetupError(
            f"There is no project here: no dagster.yaml in {root} or above.",
            remedy="Run this in the project, where dagster.yaml lies.",
        )
    click.echo(f"export DAGSTER_HOME={shlex.quote(str(root))}")
    click.echo("export DAGSTER_MODULE_NAME=imagegen_pipeline.definitions")
