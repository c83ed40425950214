"""Schedules that retry failed items and refresh stale images. Both are off by default."""

import dagster as dg

from imagegen_pipeline.defs.jobs import PAID, refresh_stale, retry_failed
from imagegen_pipeline.defs.resources import PipelineResource


@dg.schedule(
    job=retry_failed,
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    tags=PAID,
    description="Retries failed items after growing delays, up to four attempts in a row. Off by "
    "default: it spends money.",
)
def hourly_retry(pipeline: PipelineResource) -> dg.RunRequest | dg.SkipReason:
    """Launches ``retry_failed`` when a failed item is eligible for a retry."""
    from imagegen_pipeline.app.retry_eligibility import failed_items

    eligible = failed_items(pipeline.get())
    if eligible.now:
        return dg.RunRequest()
    return dg.SkipReason(
        f"No failed item is eligible for a retry: {len(eligible.paused)} wait for their next "
        f"attempt, {len(eligible.final)} need `imagegen resolve KEY --allow-retry`."
    )


nightly_refresh = dg.ScheduleDefinition(
    name="nightly_refresh",
    job=refresh_stale,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    tags=PAID,
    description="Regenerates stale images within IMAGEGEN_BUDGET_DAY (days are UTC). Off by "
    "default: it spends money.",
)
SCHEDULES = [hourly_retry, nightly_refresh]
