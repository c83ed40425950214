"""Jobs that a person or a schedule launches: retry what failed, refresh what is out of date,
collect what was sent, and make the picture of a typed prompt. Each op imports what it needs when it
runs, as the assets do.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from imagegen_pipeline.dagster_ext.names import PROMPT_PARTITIONS
from imagegen_pipeline.dagster_ext.partition_registry import add_missing
from imagegen_pipeline.defs.configs import ImagesConfig
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.settings import load_settings

if TYPE_CHECKING:
    from imagegen_pipeline.app.retry_eligibility import RetryEligibility
    from imagegen_pipeline.pipeline import Pipeline

SETTINGS = load_settings()
PAID, FREE = {"cost": "paid"}, {"cost": "free"}


class RetryConfig(dg.Config):
    """Which of the failed are tried again."""

    keys: list[str] = Field([], description="Only these of the failed; empty means all of them.")
    limit: int | None = Field(None, ge=0, description="Try at most so many; empty: all.")
    at_once: bool = Field(
        False,
        description="Do not wait for the pauses (an hour, six, a day after each failure in a row), "
        "and try once more what is final after the fourth. A person's word: no schedule sets it.",
    )


class RefreshConfig(dg.Config):
    """What is made anew."""

    limit: int | None = Field(None, ge=0, description="Make at most so many; empty: all.")
    missing: bool = Field(
        False, description="Make what has no picture yet too, not only what is out of date."
    )


class PromptConfig(ImagesConfig):
    """A prompt typed here, and how its picture is made."""

    prompt: str = Field(description="What the picture is to show.")


@dg.op(
    tags=PAID,
    pool=SETTINGS.prompt_provider,
    description="Tries what failed once more, as it was asked for.",
)
def retry_failed_op(
    context: dg.OpExecutionContext,
    config: RetryConfig,
    pipeline: PipelineResource,
) -> None:
    """Try what failed once more: the pictures that come are events of their partitions."""
    from imagegen_pipeline.app.retry_eligibility import failed_items, retry_requests
    from imagegen_pipeline.dagster_ext.step_reporter import intent_of, typed_failure
    from imagegen_pipeline.defs.materialize import materialize_requests

    with typed_failure():
        work = _looked(pipeline)
        due = failed_items(work, among=config.keys, at_once=config.at_once)
        chosen = due.now[: config.limit]
        _say(context, due, chosen)
        orders = retry_requests(work, chosen, intent=intent_of(context))
        materialize_requests(context, work, orders)


@dg.op(
    tags=PAID,
    pool=SETTINGS.prompt_provider,
    description="Makes the pictures anew whose prompt or actor has changed.",
)
def refresh_stale_op(
    context: dg.OpExecutionContext,
    config: RefreshConfig,
    pipeline: PipelineResource,
) -> None:
    """Make what is out of date, until all is made or the day's budget is reached."""
    from imagegen_pipeline.app.retry_eligibility import refresh_requests, stale_items
    from imagegen_pipeline.dagster_ext.step_reporter import intent_of, typed_failure
    from imagegen_pipeline.defs.materialize import materialize_requests

    with typed_failure():
        work = _looked(pipeline)
        due = stale_items(work, missing=config.missing)
        chosen = due.now[: config.limit]
        _say(context, due, chosen)
        orders = refresh_requests(work, chosen, intent=intent_of(context))
        materialize_requests(context, work, orders)


@dg.op(tags=FREE, description="Brings home what was sent and is done; sends nothing.")
def collect_outstanding_op(context: dg.OpExecutionContext, pipeline: PipelineResource) -> None:
    """Bring home what was sent and is done, and report what Dagster has not heard of."""
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure

    with typed_failure():
        work = pipeline.get()
        reporter = RunlessReporter(context.instance, work)
        after = 0
        while unfinished := work.ledger.attempts.unfinished(after=after):
            with work.collect(after=after) as batch:
                for outcome in batch:
                    reporter.report(outcome)
                    said = outcome.path or outcome.reason
                    context.log.info(f"{outcome.item_key} {outcome.status}: {said}")
            after = unfinished[-1].id
        context.log.info(f"{reporter.report_missed()} reported late.")


@dg.op(tags=PAID, description="Registers a typed prompt as a partition and makes its picture.")
def generate_one_prompt_op(
    context: dg.OpExecutionContext,
    config: PromptConfig,
    pipeline: PipelineResource,
) -> None:
    """Register a typed prompt as a partition and make its picture; the same text is reused."""
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.defs.materialize import materialize_images
    from imagegen_pipeline.sources.typed_prompts import typed_prompt

    with typed_failure():
        work = pipeline.get()
        prompt = typed_prompt(config.prompt)
        work.register(prompt)
        add_missing(context.instance, PROMPT_PARTITIONS, [prompt.key])
        asked = config.model_copy(update={"keys": [prompt.key]})
        log = materialize_images(context, asked, work)
        log.refresh_table()
        log.raise_failures()
        context.add_output_metadata(
            {"partition": prompt.key, "gallery": _gallery(work, prompt.key)}
        )


def _gallery(work: "Pipeline", key: str) -> dg.MetadataValue:
    return dg.MetadataValue.url(f"{work.settings.gallery_url}/picture/{key}")


def _looked(pipeline: PipelineResource) -> "Pipeline":
    """The pipeline, with its sources as they are now."""
    work = pipeline.get()
    work.sources.scan()
    return work


def _say(context: dg.OpExecutionContext, due: "RetryEligibility", chosen: Sequence[str]) -> None:
    context.log.info(
        f"{len(chosen)} are due of {len(due.now)}; {len(due.paused)} wait for their next try."
    )
    for key in due.final:
        context.log.warning(
            f"{key} has failed again and again and is not tried any more by itself. When its "
            f"cause is gone: imagegen resolve {key} --allow-retry."
        )


def _opens_with(op: str, **config: object) -> dict[str, object]:
    """What a job's launchpad shows at first. Without it that is every default, the resources'
    too, and not the one field that has none.
    """
    return {"ops": {op: {"config": config}}}


@dg.job(
    tags=PAID,
    description="Tries everything once more that failed, within its patience.",
    config=_opens_with("retry_failed_op", at_once=False),
)
def retry_failed() -> None:
    """Tries everything once more that failed."""
    retry_failed_op()


@dg.job(
    tags=PAID,
    description="Makes anew whatever is out of date, within the day's budget.",
    config=_opens_with("refresh_stale_op", missing=False),
)
def refresh_stale() -> None:
    """Makes anew whatever is out of date."""
    refresh_stale_op()


@dg.job(tags=FREE, description="Brings home what was sent and is done. Costs nothing.")
def collect_outstanding() -> None:
    """Brings home what was sent."""
    collect_outstanding_op()


@dg.job(
    tags=PAID,
    description="Makes the picture of a prompt that is typed in the launchpad.",
    config=_opens_with(
        "generate_one_prompt_op", prompt=""
    ),  # a blank one is refused, and buys nothing
)
def generate_one_prompt() -> None:
    """Makes the picture of a typed prompt."""
    generate_one_prompt_op()


@dg.schedule(
    job=retry_failed,
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    tags=PAID,
    description="Tries what failed once more, after pauses that grow, and at most four times in a "
    "row. Off until it is switched on: it buys pictures.",
)
def hourly_retry(pipeline: PipelineResource) -> dg.RunRequest | dg.SkipReason:
    """Launches ``retry_failed`` when something is due."""
    from imagegen_pipeline.app.retry_eligibility import failed_items

    due = failed_items(pipeline.get())
    if due.now:
        return dg.RunRequest()
    return dg.SkipReason(
        f"Nothing that failed is due: {len(due.paused)} wait for their next try, {len(due.final)} "
        "are final until a person allows a retry."
    )


nightly_refresh = dg.ScheduleDefinition(
    name="nightly_refresh",
    job=refresh_stale,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    tags=PAID,
    description="Makes anew what is out of date, within IMAGEGEN_BUDGET_DAY (days are UTC). Off "
    "until it is switched on: it buys pictures.",
)
JOBS = [retry_failed, refresh_stale, collect_outstanding, generate_one_prompt]
SCHEDULES = [hourly_retry, nightly_refresh]
