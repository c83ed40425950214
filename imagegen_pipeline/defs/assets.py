"""The assets: sources → prompts and actors → pictures → the table of results.

Each imports what it needs when it runs: the UI, its daemon and every run load this module, and most
of them make nothing.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from imagegen_pipeline.dagster_ext.data_versions import CODE_VERSION, source_event
from imagegen_pipeline.dagster_ext.table_schema import column_schema
from imagegen_pipeline.defs.checks import APPROVED_CHECKS, BASE_IMAGE_CHECKS, IMAGE_CHECKS
from imagegen_pipeline.defs.configs import BaseImagesConfig, ImagesConfig, KeysConfig
from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors.automation import source_changed_condition
from imagegen_pipeline.settings import load_settings

if TYPE_CHECKING:
    from imagegen_pipeline.domain.actors import Actor
    from imagegen_pipeline.domain.prompts import Prompt, SourceProblem

StepResults = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult | dg.Output[None]]
ONE_RUN = dg.BackfillPolicy.single_run()
SOURCES, PICTURES, RESULTS_GROUP, APPROVED_GROUP = "sources", "pictures", "results", "approved"
OWNERS = ["team:pictures"]
SETTINGS = load_settings()
"""Read once for the whole code location, when it is loaded."""
DUE = source_changed_condition(backlog=SETTINGS.sensor_backlog == "launch")
FREE, PAID = {"cost": "free"}, {"cost": "paid"}
"""Tags by which the UI finds what spends money: ``tag:cost=paid``."""
TABLE = {"dagster/column_schema": column_schema()}
"""What is known of the tables before they are made."""


@dg.asset(group_name=SOURCES, kinds={"python", "sqlite", "json"}, owners=OWNERS, tags=FREE)
def source_scan(
    context: dg.AssetExecutionContext, pipeline: PipelineResource
) -> dg.MaterializeResult[None]:
    """Scans the database, the JSON files and the actors' folders, and registers their items as
    partitions. Start here on an empty instance. Buys nothing.
    """
    from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
    from imagegen_pipeline.dagster_ext.results_metadata import listed_keys
    from imagegen_pipeline.dagster_ext.source_sync import sync_all
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure

    with typed_failure():
        work = pipeline.get()
        results = work.sources.scan(force=True)
    told = sync_all(context.instance, work)
    reported = RunlessReporter(context.instance, work).report_missed()
    result = results["prompt"] + results["actor"]
    _log_problems(context, result.problems)
    return dg.MaterializeResult(
        metadata={
            "prompts": len(work.ledger.items.keys("prompt")),
            "actors": len(work.ledger.items.keys("actor")),
            "partitions registered": told.registered,
            "changed": len(result.change.changed),
            "gone": len(result.change.gone),
            "pictures reported": reported,
            "out of date": listed_keys(work.out_of_date()),
            "problems": dg.MetadataValue.md(_problem_list(result.problems)),
        }
    )


def _problem_list(problems: "tuple[SourceProblem, ...]") -> str:
    return "\n".join(f"- {problem.line}" for problem in problems) or "none"


@dg.asset(
    partitions_def=PROMPTS,
    backfill_policy=ONE_RUN,
    group_name=SOURCES,
    kinds={"python"},
    owners=OWNERS,
    tags=FREE,
)
def prompts(
    context: dg.AssetExecutionContext, config: KeysConfig, pipeline: PipelineResource
) -> Iterator[dg.MaterializeResult[None]]:
    """A prompt as its source has it now: a row of the database, a JSON file, or a typed one."""
    from imagegen_pipeline.dagster_ext.step_reporter import output_without_event, typed_failure
    from imagegen_pipeline.defs.materialize import covered_keys

    with typed_failure():
        work = pipeline.get()
        keys = config.keys or covered_keys(context, config)
        result = work.sources.scan_keys(keys)
        _log_problems(context, result.problems)
        _log_source_items(context, result.present)
        yield output_without_event()


@dg.asset(
    partitions_def=ACTORS,
    backfill_policy=ONE_RUN,
    group_name=SOURCES,
    kinds={"python"},
    owners=OWNERS,
    tags=FREE,
)
def actors(
    context: dg.AssetExecutionContext, config: KeysConfig, pipeline: PipelineResource
) -> Iterator[dg.MaterializeResult[None]]:
    """An actor as its ``actor.json`` describes it now."""
    from imagegen_pipeline.dagster_ext.step_reporter import output_without_event, typed_failure
    from imagegen_pipeline.defs.materialize import covered_keys

    with typed_failure():
        work = pipeline.get()
        keys = config.keys or covered_keys(context, config)
        result = work.sources.scan_keys(keys)
        _log_problems(context, result.problems)
        _log_source_items(context, result.present)
        yield output_without_event()


def _log_problems(context: dg.AssetExecutionContext, problems: "tuple[SourceProblem, ...]") -> None:
    for problem in problems:
        context.log.warning(problem.line)


def _log_source_items(
    context: dg.AssetExecutionContext, known: "Mapping[str, Prompt | Actor]"
) -> None:
    """An event for each partition, with the text's digest as its data version.

    A key that no source has gets none: what is downstream says so.
    """
    from imagegen_pipeline.dagster_ext.event_log import log_together

    log_together(
        context.op_execution_context, [source_event(source_item) for source_item in known.values()]
    )


@dg.asset(
    partitions_def=PROMPTS,
    backfill_policy=ONE_RUN,
    deps=[prompts],
    code_version=CODE_VERSION,
    automation_condition=DUE,
    check_specs=IMAGE_CHECKS,
    group_name=PICTURES,
    kinds={"python", "image"},
    owners=OWNERS,
    tags={**PAID, "provider": SETTINGS.prompt_provider},
    pool=SETTINGS.prompt_provider,
)
def generated_images(
    context: dg.AssetExecutionContext,
    config: ImagesConfig,
    pipeline: PipelineResource,
) -> StepResults:
    """An image of each prompt. What is made already is reused at no cost; a
    prompt that fails is red with its reason, and the others stand.
    """
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.defs.materialize import materialize_images

    with typed_failure():
        yield from materialize_images(context, config, pipeline.get()).finish()


@dg.asset(
    partitions_def=ACTORS,
    backfill_policy=ONE_RUN,
    deps=[actors],
    code_version=CODE_VERSION,
    automation_condition=DUE,
    check_specs=BASE_IMAGE_CHECKS,
    group_name=PICTURES,
    kinds={"python", "image"},
    owners=OWNERS,
    tags={**PAID, "provider": SETTINGS.actor_provider},
    pool=SETTINGS.actor_provider,
)
def actor_base_images(
    context: dg.AssetExecutionContext,
    config: BaseImagesConfig,
    pipeline: PipelineResource,
) -> StepResults:
    """A full-body base portrait of each actor."""
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.defs.materialize import materialize_base_images

    with typed_failure():
        yield from materialize_base_images(context, config, pipeline.get()).finish()


@dg.asset(
    deps=[generated_images, actor_base_images],
    backfill_policy=ONE_RUN,
    group_name=RESULTS_GROUP,
    kinds={"python", "parquet"},
    owners=OWNERS,
    tags=FREE,
    metadata=TABLE,
)
def generation_results(pipeline: PipelineResource) -> dg.MaterializeResult[None]:
    """The results table: one row per attempt and per unreadable source item, with plots."""
    from imagegen_pipeline.dagster_ext.results_metadata import refresh_results
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure

    with typed_failure():
        return dg.MaterializeResult(metadata=refresh_results(pipeline.get()))


@dg.asset(
    deps=[generated_images, actor_base_images],
    backfill_policy=ONE_RUN,
    check_specs=APPROVED_CHECKS,
    group_name=APPROVED_GROUP,
    kinds={"python", "parquet"},
    owners=OWNERS,
    tags=FREE,
    metadata=TABLE,
)
def approved_pictures(pipeline: PipelineResource) -> Iterator[dg.MaterializeResult[None]]:
    """The current pictures that were approved in the gallery, as they are now: what training
    and whatever else comes after goes on with: depend on it, and select it with what follows
    as ``approved_pictures+``. The columns are those of ``generation_results``.
    """
    from imagegen_pipeline.dagster_ext.check_evaluations import approved_check
    from imagegen_pipeline.dagster_ext.results_metadata import approved_metadata
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.results.attempt_rows import approved_rows
    from imagegen_pipeline.results.parquet import write_results

    with typed_failure():
        work = pipeline.get()
        rows = list(approved_rows(work.ledger))
        write_results(rows, work.approved_file)
        yield dg.MaterializeResult(
            metadata=approved_metadata(work, rows), check_results=[approved_check(work, rows)]
        )


ASSETS = [
    *(source_scan, prompts, actors),
    *(generated_images, actor_base_images),
    *(generation_results, approved_pictures),
]
