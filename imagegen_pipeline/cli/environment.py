"""``imagegen env``: shell lines that point Dagster's tools at this project."""

from __future__ import annotations

import click


@click.command()
def env() -> None:
    """Print shell lines that point Dagster's tools at this project.

    \b
    Use it as:  eval "$(imagegen env)"
    Then `dagster asset materialize --select source_scan` needs no -m and works anywhere.
    """
    import shlex

    from imagegen_pipeline.settings import project_root

    click.echo(f"export DAGSTER_HOME={shlex.quote(str(project_root()))}")
    click.echo("export DAGSTER_MODULE_NAME=imagegen_pipeline.definitions")
