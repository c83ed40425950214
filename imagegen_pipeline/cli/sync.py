"""``imagegen sync``: look at the sources now and tell Dagster."""

from __future__ import annotations

import click


@click.command()
def sync() -> None:
    """Scan the sources now; register new, changed and gone items in Dagster. Buys nothing.

    Pictures that were made while Dagster did not look are reported to it too.
    """
    from imagegen_pipeline.defs.instance import open_instance
    from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS, add_missing
    from imagegen_pipeline.defs.reporting import RunlessReporter
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    try:
        found = {"prompts": pipeline.scan_prompts(), "actors": pipeline.scan_actors()}
        for name, what in found.items():
            change = what.change
            click.echo(
                f"{name}: {len(change.new)} new, {len(change.changed)} changed, "
                f"{len(change.gone)} gone, {change.unchanged} as before"
            )
            for problem in what.problems:
                click.echo(f"unreadable {problem.line}", err=True)
        instance = open_instance()
        if instance is None:
            raise SetupError(
                "There is no Dagster instance here.",
                remedy="Run this in the project, where dagster.yaml lies, or set DAGSTER_HOME.",
            )
        added = add_missing(instance, PROMPTS, pipeline.ledger.items.keys("prompt"))
        added += add_missing(instance, ACTORS, pipeline.ledger.items.keys("actor"))
        reported = RunlessReporter(instance, pipeline).report_missed()
        click.echo(f"Dagster: {len(added)} partitions added, {reported} pictures reported")
        if any(what.unreadable for what in found.values()):
            raise click.exceptions.Exit(1)
    finally:
        pipeline.close()
