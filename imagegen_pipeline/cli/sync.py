"""``imagegen sync``: look at the sources now and tell Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagegen_pipeline.pipeline import Pipeline

_LISTED = 10


@click.command(short_help="Look at the sources now and tell Dagster; buys nothing.")
def sync() -> None:
    """Scan the sources now; register new, changed and gone items in Dagster. Buys nothing.

    Pictures that were made while Dagster did not look are reported to it too. Exit code 1
    means that something in the sources cannot be read; the rest is registered. A source at
    its default place that never was there is named and fails nothing.
    """
    from imagegen_pipeline.cli.dagster_instance import open_records
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    try:
        all_read = _scan(pipeline)
        instance = open_records()
        try:
            _tell(instance, pipeline)
        finally:
            instance.dispose()
    finally:
        pipeline.close()
    if not all_read:
        raise click.exceptions.Exit(1)


def _scan(pipeline: Pipeline) -> bool:
    """Read every source, whatever its stamps, saying what is there; returns whether all could be
    read.
    """
    from imagegen_pipeline.app.source_problems import is_unused
    from imagegen_pipeline.cli.source_messages import print_problems

    all_read = True
    for kind, look in pipeline.sources.look(afresh=True).items():
        click.echo(
            f"{kind}s: {look.new} new, {look.changed} changed, "
            f"{look.gone} gone, {look.unchanged} as before"
        )
        all_read &= all(is_unused(pipeline, problem) for problem in print_problems(look))
    return all_read


def _tell(instance: Any, pipeline: Pipeline) -> None:  # noqa: ANN401 - a DagsterInstance
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
    from imagegen_pipeline.dagster_ext.source_sync import sync_all

    told = sync_all(instance, pipeline)
    reported = RunlessReporter(instance, pipeline).report_missed()
    click.echo(f"Dagster: {told.registered} partitions added, {reported} pictures reported")
    old = pipeline.out_of_date()
    if old:
        names = ", ".join(old[:_LISTED]) + (", …" if len(old) > _LISTED else "")
        click.echo(f"Out of date, since their source has changed: {len(old)} pictures ({names})")
