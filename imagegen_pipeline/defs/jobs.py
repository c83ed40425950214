"""Jobs: retry failed items, refresh stale images, collect finished jobs, generate one prompt.

Each op imports what it needs when it runs, as the assets do.
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
    """Which failed items are retried."""

    keys: list[str] = Field([], description="Retry only these failed items. Empty: all of them.")
    limit: int | None = Field(None, ge=0, description="Retry at most this many items. Empty: all.")
    at_once: bool = Field(
        False,
        description="Ignore the delays after failures in a row (1 hour, 6 hours, 1 day), and retry "
        "items that are final after the fourth. Set it by hand only: no schedule does.",
    )


class RefreshConfig(dg.Config):
    """Which images are generated."""

    limit: int | None = Field(
        None, ge=0, description="Generate at most this many images. Empty: all."
    )
    missing: bool = Field(
        False, description="Also generate missing images, not only those that are stale."
    )


class PromptConfig(ImagesConfig):
    """A typed prompt and its generation parameters."""

    prompt: str = Field(description="The text of the prompt. Required.")


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
    """Retry failed items with their former parameters. Images become events of their partitions."""
    from imagegen_pipeline.app.retry_eligibility import failed_items, retry_requests
    from imagegen_pipeline.dagster_ext.step_reporter import intent_of, typed_failure
    from imagegen_pipeline.defs.materialize import materialize_requests

    with typed_failure():
        work = _scanned(pipeline)
        eligible = failed_items(work, among=config.keys, at_once=config.at_once)
        chosen = eligible.now[: config.limit]
        _log_eligible(context, eligible, chosen)
        orders = retry_requests(work, chosen, intent=intent_of(context))
        materialize_requests(context, work, orders)


@dg.op(
    tags=PAID,
    pool=SETTINGS.prompt_provider,
    description="Generates the images again whose prompt or actor has changed.",
)
def refresh_stale_op(
    context: dg.OpExecutionContext,
    config: RefreshConfig,
    pipeline: PipelineResource,
) -> None:
    """Generate stale images until all are generated or the day's budget is exhausted."""
    from imagegen_pipeline.app.retry_eligibility import refresh_requests, stale_items
    from imagegen_pipeline.dagster_ext.step_reporter import intent_of, typed_failure
    from imagegen_pipeline.defs.materialize import materialize_requests

    with typed_failure():
        work = _scanned(pipeline)
        eligible = stale_items(work, missing=config.missing)
        chosen = eligible.now[: config.limit]
        _log_eligible(context, eligible, chosen)
        orders = refresh_requests(work, chosen, intent=intent_of(context))
        materialize_requests(context, work, orders)


@dg.op(tags=FREE, description="Collects finished jobs. Submits nothing.")
def collect_outstanding_op(context: dg.OpExecutionContext, pipeline: PipelineResource) -> None:
    """Collect finished jobs and report images that Dagster does not have."""
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
                    result = outcome.path or outcome.reason
                    context.log.info(f"{outcome.item_key} {outcome.status}: {result}")
            after = unfinished[-1].id
        context.log.info(f"{reporter.report_missed()} reported late.")


@dg.op(tags=PAID, description="Registers a typed prompt as a partition and generates its image.")
def generate_one_prompt_op(
    context: dg.OpExecutionContext,
    config: PromptConfig,
    pipeline: PipelineResource,
) -> None:
    """Register a typed prompt as a partition and generate its image; the same text is reused."""
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


def _scanned(pipeline: PipelineResource) -> "Pipeline":
    """The pipeline, after a scan of its sources."""
    work = pipeline.get()
    work.sources.scan()
    return work


def _log_eligible(
    context: dg.OpExecutionContext, eligible: "RetryEligibility", chosen: Sequence[str]
) -> None:
    context.log.info(
        f"{len(chosen)} of {len(eligible.now)} eligible items are generated; "
        f"{len(eligible.paused)} wait for their next attempt."
    )
    for key in eligible.final:
        context.log.warning(
            f"{key} has failed too often in a row and is not retried automatically. When the cause "
            f"is fixed: imagegen resolve {key} --allow-retry."
        )


def _launchpad(op: str, **config: object) -> dict[str, object]:
    """The configuration that a job's launchpad shows first.

    By default Dagster shows every default value, those of resources too, but no required field.
    """
    return {"ops": {op: {"config": config}}}


@dg.job(
    tags=PAID,
    description="Retries failed items, subject to backoff. Costs money.",
    config=_launchpad("retry_failed_op", at_once=False),
)
def retry_failed() -> None:
    """Retries failed items."""
    retry_failed_op()


@dg.job(
    tags=PAID,
    description="Generates stale images again, within the day's budget. Costs money.",
    config=_launchpad("refresh_stale_op", missing=False),
)
def refresh_stale() -> None:
    """Generates stale images again."""
    refresh_stale_op()


@dg.job(tags=FREE, description="Collects finished jobs. Submits nothing and costs nothing.")
def collect_outstanding() -> None:
    """Collects finished jobs."""
    collect_outstanding_op()


@dg.job(
    tags=PAID,
    description="Generates the image of a prompt that is typed in the launchpad. Costs money.",
    # An empty prompt is refused before anything is submitted.
    config=_launchpad("generate_one_prompt_op", prompt=""),
)
def generate_one_prompt() -> None:
    """Generates the image of a typed prompt."""
    generate_one_prompt_op()


JOBS = [retry_failed, refresh_stale, collect_outstanding, generate_one_prompt]
