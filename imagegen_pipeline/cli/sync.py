"""``imagegen sync``: look at the sources now and tell Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.actors import Actor
    from imagegen_pipeline.domain.prompts import Prompt
    from imagegen_pipeline.pipeline import Pipeline

_LISTED = 10


@click.command(short_help="Look at the sources now and tell Dagster; buys nothing.")
def sync() -> None:
    """Scan the sources now; register new, changed and gone items in Dagster. Buys nothing.

    Pictures that were made while Dagster did not look are reported to it too. Exit code 1
    means that something in the sources cannot be read; the rest is registered. A source at
    its default place that never was there is named and fails nothing.
    """
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    try:
        things, all_read = _scan(pipeline)
        instance = _open_instance()
        try:
            _tell(instance, pipeline, things)
        finally:
            instance.dispose()
    finally:
        pipeline.close()
    if not all_read:
        raise click.exceptions.Exit(1)


def _open_instance() -> Any:  # noqa: ANN401 - a DagsterInstance
    from imagegen_pipeline.defs.instance import open_instance
    from imagegen_pipeline.domain.errors import SetupError

    remedy = "Run this in the project, where dagster.yaml lies, or mend what DAGSTER_HOME names."
    try:
        instance = open_instance()
    except SetupError:
        raise
    except Exception as error:
        raise SetupError(f"Dagster cannot be opened: {error}", remedy=remedy) from error
    if instance is None:
        raise SetupError("There is no Dagster instance here.", remedy=remedy)
    return instance


def _scan(pipeline: Pipeline) -> tuple[list[Prompt | Actor], bool]:
    """Look at every source, saying what is there; returns that, and whether all could be read."""
    from imagegen_pipeline.cli.looking import say_problems
    from imagegen_pipeline.unused_sources import is_unused

    all_read = True
    things: list[Prompt | Actor] = []
    for name, what in {
        "prompts": pipeline.scan_prompts(),
        "actors": pipeline.scan_actors(),
    }.items():
        change = what.change
        things += (*what.prompts, *what.actors)
        click.echo(
            f"{name}: {len(change.new)} new, {len(change.changed)} changed, "
            f"{len(change.gone)} gone, {change.unchanged} as before"
        )
        all_read &= all(is_unused(pipeline, problem) for problem in say_problems(what))
    return things, all_read


def _tell(
    instance: Any,  # noqa: ANN401 - a DagsterInstance
    pipeline: Pipeline,
    things: list[Prompt | Actor],
) -> None:
    from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS, add_missing
    from imagegen_pipeline.defs.reporting import RunlessReporter

    added = add_missing(instance, PROMPTS, pipeline.ledger.items.keys("prompt"))
    added += add_missing(instance, ACTORS, pipeline.ledger.items.keys("actor"))
    reporter = RunlessReporter(instance, pipeline)
    reporter.report_changes(things)
    reported = reporter.report_missed()
    click.echo(f"Dagster: {len(added)} partitions added, {reported} pictures reported")
    old = pipeline.out_of_date()
    if old:
        names = ", ".join(old[:_LISTED]) + (", …" if len(old) > _LISTED else "")
        click.echo(f"Out of date, since their source has changed: {len(old)} pictures ({names})")
