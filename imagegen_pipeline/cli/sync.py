"""``imagegen sync``: scan the sources and report changes to Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagegen_pipeline.pipeline import Pipeline

_LISTED = 10


@click.command(short_help="Scan the sources and report changes to Dagster; buys nothing.")
def sync() -> None:
    """Scan the sources now; register new, changed and gone items in Dagster. Buys nothing.

    Images that were generated without Dagster are reported to it too. Exit code 1 means that
    something in the sources cannot be read; the rest is registered. A missing source at its
    default path is named and is no failure.
    """
    from imagegen_pipeline.cli.dagster_instance import open_records
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    try:
        all_read = _scan(pipeline)
        instance = open_records()
        try:
            _report(instance, pipeline)
        finally:
            instance.dispose()
    finally:
        pipeline.close()
    if not all_read:
        raise click.exceptions.Exit(1)


def _scan(pipeline: Pipeline) -> bool:
    """Read and print every source, also unchanged ones; returns whether all could be read."""
    from imagegen_pipeline.app.source_problems import is_unused
    from imagegen_pipeline.cli.source_messages import print_problems

    all_read = True
    for kind, result in pipeline.sources.scan(force=True).items():
        change = result.change
        click.echo(
            f"{kind}s: {len(change.new)} new, {len(change.changed)} changed, "
            f"{len(change.gone)} gone, {change.unchanged} unchanged"
        )
        all_read &= all(is_unused(pipeline, problem) for problem in print_problems(result))
    return all_read


def _report(instance: Any, pipeline: Pipeline) -> None:  # noqa: ANN401 - a DagsterInstance
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
    from imagegen_pipeline.dagster_ext.source_sync import sync_all

    counts = sync_all(instance, pipeline)
    reported = RunlessReporter(instance, pipeline).report_missed()
    click.echo(f"Dagster: {counts.registered} partitions added, {reported} pictures reported")
    old = pipeline.out_of_date()
    if old:
        names = ", ".join(old[:_LISTED]) + (", …" if len(old) > _LISTED else "")
        click.echo(f"Out of date, since their source has changed: {len(old)} pictures ({names})")
