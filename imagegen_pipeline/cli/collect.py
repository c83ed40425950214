"""``imagegen collect``: collect finished jobs that were sent earlier; nothing new is sent."""

from __future__ import annotations

from collections import Counter
from functools import partial

import click


@click.command(short_help="Collect finished jobs that were sent earlier; sends nothing new.")
def collect() -> None:
    """Collect finished jobs that were sent earlier: after Ctrl-C, a crash or a failed download.

    Nothing new is sent. A job that still runs is listed and not waited for. Every
    batch collects for its own items first, and Dagster's `collect_sensor` does so each minute.
    Exit code 1 means that a job is still running or has failed.
    """
    from imagegen_pipeline.cli.background_reporter import BackgroundReporter
    from imagegen_pipeline.cli.progress import count_line, describe
    from imagegen_pipeline.cli.signal_messages import interruptible
    from imagegen_pipeline.legacy.logs import open_log
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    counts: Counter[str] = Counter()
    try:
        open_log(pipeline.settings.log_dir)
        batch = pipeline.collect()
        stop = partial(batch.stop, leave_jobs=True)
        with batch, BackgroundReporter(pipeline) as dagster, interruptible(stop):
            for outcome in batch:
                counts[str(outcome.status)] += 1
                click.echo(describe(outcome), err=True)
                dagster.report(outcome)
    finally:
        pipeline.close()
    click.echo(f"{count_line(counts)}." if counts else "Nothing is outstanding.")
    if counts["failed"] + counts["held"] + counts["skipped"]:
        raise click.exceptions.Exit(1)
