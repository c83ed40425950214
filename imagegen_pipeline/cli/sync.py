"""``imagegen sync``: look at the sources now and tell Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagegen_pipeline.pipeline import Pipeline


@click.command(short_help="Look at the sources now and tell Dagster; buys nothing.")
def sync() -> None:
    """Scan the sources now; register new, changed and gone items in Dagster. Buys nothing.

    Pictures that were made while Dagster did not look are reported to it too. Exit code 1
    means that something in the sources cannot be read; the rest is registered.
    """
    from imagegen_pipeline.defs.instance import open_instance
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    try:
        all_read = _scan(pipeline)
        instance = open_instance()
        if instance is None:
            raise SetupError(
                "There is no Dagster instance here.",
                remedy="Run this in the project, where dagster.yaml lies, or set DAGSTER_HOME.",
            )
        try:
            _tell(instance, pipeline)
        finally:
            instance.dispose()
    finally:
        pipeline.close()
    if not all_read:
        raise click.exceptions.Exit(1)


def _scan(pipeline: Pipeline) -> bool:
    """Look at every source, saying what is there; returns whether all of it could be read."""
    found = {"prompts": pipeline.scan_prompts(), "actors": pipeline.scan_actors()}
    for name, what in found.items():
        change = what.change
        click.echo(
            f"{name}: {len(change.new)} new, {len(change.changed)} changed, "
            f"{len(change.gone)} gone, {change.unchanged} as before"
        )
        for problem in what.problems:
            click.echo(f"unreadable {problem.line}", err=True)
    return not any(what.problems for what in found.values())


def _tell(instance: Any, pipeline: Pipeline) -> None:  # noqa: ANN401 - a DagsterInstance
    from imagegen_pipeline.cli.progress import count
    from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS, add_missing
    from imagegen_pipeline.defs.reporting import RunlessReporter

    added = add_missing(instance, PROMPTS, pipeline.ledger.items.keys("prompt"))
    added += add_missing(instance, ACTORS, pipeline.ledger.items.keys("actor"))
    reported = RunlessReporter(instance, pipeline).report_missed()
    click.echo(
        f"Dagster: {count(len(added), 'partition')} added, {count(reported, 'picture')} reported"
    )
