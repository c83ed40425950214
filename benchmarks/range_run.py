"""Range runs in this process: of this project's assets, and of a bare one that only logs events.

The bare asset has the same partitions and writes the same events by ``context.log_event``, so that
a run of it shows what Dagster itself takes. *Stock* is an instance with the storage that Dagster
has by default (SQLite, as this project's), *ours* is the one of ``dagster.yaml``.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

PROMPTS, IMAGES = "prompts", "generated_images"
SMALL = {IMAGES: {"config": {"image_size": "64x64"}}}
"""What is measured is this project and Dagster, so the pictures are small."""


@dataclass(frozen=True)
class ReportedEvents:
    """What is logged of each partition: a materialization, and evaluations of checks."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    checks: Sequence[dg.AssetCheckEvaluation] = ()


def bare_definitions(reported: ReportedEvents) -> dg.Definitions:
    """A location with the one asset ``bare``, which logs this of each partition.

    Its checks are declared without partitions: Dagster's own storage would write all of the range's
    keys into each of their planned rows, 20 GB for 10,000 partitions.
    """

    @dg.asset(
        partitions_def=dg.DynamicPartitionsDefinition(name="prompts"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec(one.check_name, asset="bare") for one in reported.checks],
        output_required=False,
    )
    def bare(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]  # noqa: ANN202
        for key in context.partition_keys:
            context.log_event(
                dg.AssetMaterialization(
                    "bare", partition=key, metadata=reported.metadata, tags=reported.tags
                )
            )
            for one in reported.checks:
                context.log_event(_of_bare(one, key))
        for one in reported.checks:
            yield dg.AssetCheckResult(check_name=one.check_name, passed=True)

    return dg.Definitions(assets=[bare], executor=dg.in_process_executor)


def _of_bare(one: dg.AssetCheckEvaluation, key: str) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("bare"),
        check_name=one.check_name,
        passed=one.passed,
        metadata=one.metadata,
        severity=one.severity,
        description=one.description,
        partition=key,
    )


def newest_events(instance: dg.DagsterInstance, key: str) -> ReportedEvents:
    """What the newest run has logged of a picture's partition."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(IMAGES), asset_partitions=[key])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    made = record.asset_materialization
    assert made is not None
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    entries = instance.all_logs(record.run_id, of_type=kind)
    events = [entry.get_dagster_event().event_specific_data for entry in entries]
    found = [one for one in events if isinstance(one, dg.AssetCheckEvaluation)]
    return ReportedEvents(
        made.metadata, dict(made.tags or {}), [one for one in found if one.partition == key]
    )


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """The tags by which a run is about all partitions from the first key to the last."""
    return {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }


def run(
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    asset: str,
    keys: Sequence[str],
    ops: Mapping[str, Any] | None = None,
) -> None:
    """One run over all the keys; raises what stops it."""
    job = defs.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        run_config={"ops": dict(ops or {})},
        instance=instance,
        asset_selection=[dg.AssetKey(asset)],
        tags=range_tags(keys),
    )
    assert done.success


def timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def ours() -> Iterator[dg.DagsterInstance]:
    """The current project's instance."""
    from imagegen_pipeline.dagster_ext.instance import open_instance

    instance = open_instance()
    assert instance is not None
    with instance:
        yield instance


@contextmanager
def stock(folder: Path, keys: Sequence[str]) -> Iterator[dg.DagsterInstance]:
    """An instance in this folder as Dagster makes it by itself, that knows these partitions."""
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.add_dynamic_partitions("prompts", list(keys))
        yield instance


def register() -> list[str]:
    """Scan the sources, register them in Dagster, and return the prompt partitions in order."""
    from imagegen_pipeline.definitions import defs

    with ours() as instance:
        scan = defs.resolve_implicit_global_asset_job_def()
        scan.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("source_scan")])
        return list(instance.get_dynamic_partitions("prompts"))
