"""``imagegen collect``: bring home what was sent; nothing new is sent."""

from __future__ import annotations

from collections import Counter
from functools import partial

import click


@click.command(short_help="Bring home jobs that were sent and are done; sends nothing new.")
def collect() -> None:
    """Bring home what was sent and is done: after Ctrl-C, a crash, or a download that failed.

    Nothing new is sent and no job is waited for: one that still runs is named and left. Every
    run does this for its own items first, and Dagster's `collect_sensor` does it each minute.
    Exit code 1 means that something is left or came to nothing.
    """
    from imagegen_pipeline.cli.progress import count_line, describe
    from imagegen_pipeline.cli.signal_messages import interruptible
    from imagegen_pipeline.dagster_ext.reporter import DagsterReporter
    from imagegen_pipeline.legacy.logs import open_log
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    counts: Counter[str] = Counter()
    try:
        open_log(pipeline.settings.log_dir)
        batch = pipeline.collect()
        with (
            batch,
            DagsterReporter(pipeline, partial(click.echo, err=True)) as dagster,
            interruptible(partial(batch.stop, leave_jobs=True)),
        ):
            for outcome in batch:
                counts[str(outcome.status)] += 1
                dagster.report(outcome)
                click.echo(describe(outcome), err=True)
    finally:
        pipeline.close()
    click.echo(f"{count_line(counts)}." if counts else "Nothing is outstanding.")
    if counts["failed"] + counts["held"] + counts["skipped"]:
        raise click.exceptions.Exit(1)
