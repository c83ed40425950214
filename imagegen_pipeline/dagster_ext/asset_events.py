"""Outcomes as Dagster events, and their reporter outside of runs."""

from collections.abc import Mapping

import dagster as dg

from imagegen_pipeline.dagster_ext.check_reporter import CheckReporter
from imagegen_pipeline.dagster_ext.data_versions import SourceVersions, source_asset, table_tags
from imagegen_pipeline.dagster_ext.event_writer import write_events
from imagegen_pipeline.dagster_ext.names import (
    ACTOR_PARTITIONS,
    PROMPT_PARTITIONS,
    RESULTS,
    asset_of,
)
from imagegen_pipeline.dagster_ext.partition_registry import add_missing
from imagegen_pipeline.dagster_ext.previews import drawing, preview_of
from imagegen_pipeline.dagster_ext.results_metadata import refresh_table
from imagegen_pipeline.domain.requests import Attempt, Outcome, Status
from imagegen_pipeline.engine.quality_checker import PictureSighting
from imagegen_pipeline.pipeline import Pipeline

MAX_PROMPT_LENGTH = 2000
"""Characters of the prompt in an event's metadata."""


def materialization(
    pipeline: Pipeline, outcome: Outcome, tags: Mapping[str, str]
) -> dg.AssetMaterialization:
    """The event of a generated image; ``tags`` name the source version that it was made from."""
    attempt = outcome.attempt
    if attempt is None:
        raise ValueError(f"{outcome.item_key} has no image to report")
    return dg.AssetMaterialization(
        asset_key=asset_of(attempt),
        partition=outcome.item_key,
        description=f"{outcome.status}: {outcome.path}",
        metadata=_picture_metadata(pipeline, outcome, attempt),
        tags=dict(tags),
    )


def _picture_metadata(
    pipeline: Pipeline, outcome: Outcome, attempt: Attempt
) -> Mapping[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    preview = preview_of(pipeline, attempt)
    if preview is not None:
        metadata["preview"] = drawing(outcome.item_key, preview)
    request = attempt.sent_request
    metadata |= {
        "path": dg.MetadataValue.path(outcome.path or ""),
        "status": dg.MetadataValue.text(str(outcome.status)),
        "source": dg.MetadataValue.text(_source(outcome)),
        "seed": dg.MetadataValue.text(str(attempt.seed)),  # seeds outgrow GraphQL's numbers
        "size": dg.MetadataValue.text(f"{attempt.width}x{attempt.height}"),
        "seconds": dg.MetadataValue.float(_seconds(outcome, attempt)),
        "cost": _cost(outcome.cost),
        "model": dg.MetadataValue.text(attempt.model),
        "prompt": dg.MetadataValue.text(request.prompt[:MAX_PROMPT_LENGTH]),
        "sha256": dg.MetadataValue.text(attempt.digest or ""),
        "attempt": dg.MetadataValue.int(attempt.id),
        "gallery": dg.MetadataValue.url(
            f"{pipeline.settings.gallery_url}/picture/{outcome.item_key}"
        ),
    }
    if attempt.simulated:
        metadata["simulated"] = dg.MetadataValue.bool(True)
    if outcome.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {w}" for w in outcome.warnings))
    return metadata


def _seconds(outcome: Outcome, attempt: Attempt) -> float:
    """How long this materialization took: no time for a reused image."""
    return 0.0 if outcome.status is Status.REUSED else round(attempt.seconds or 0.0, 3)


def _source(outcome: Outcome) -> str:
    if outcome.status is Status.REUSED:
        return "reused"
    attempt = outcome.attempt
    if outcome.status is Status.SHARED and attempt is not None:
        return f"shared with attempt {attempt.shared_from}"
    return attempt.provider if attempt is not None else "unknown"


def _cost(cost: float | None) -> dg.MetadataValue:
    return dg.MetadataValue.text("unknown") if cost is None else dg.MetadataValue.float(cost)


def failure_observation(asset: dg.AssetKey, outcome: Outcome) -> dg.AssetObservation:
    """The reason why an item has no image, for the list of events of its partition."""
    return dg.AssetObservation(
        asset_key=asset,
        partition=outcome.item_key,
        description=f"{outcome.status}: {outcome.reason}",
        metadata={
            "status": str(outcome.status),
            "error_kind": outcome.error_kind or "",
            "error": outcome.error or "",
            "remedy": outcome.remedy or "",
        },
    )


class RunlessReporter:
    """Reports images to Dagster that were generated outside of a run."""

    def __init__(self, instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
        self._instance = instance
        self._pipeline = pipeline
        self._checks = CheckReporter(instance, pipeline)
        self._registered: dict[str, set[str]] = {}

    def prepare(self) -> None:
        """Do the slow imports and open Dagster's databases ahead of the first report."""
        import pyarrow.compute
        import pyarrow.parquet  # noqa: F401 - the results table is written with both

        for partitions in (PROMPT_PARTITIONS, ACTOR_PARTITIONS):
            self._instance.get_dynamic_partitions(partitions)

    def report(self, outcome: Outcome) -> bool:
        """Report an outcome unless it has no image or was reported before; returns whether."""
        attempt = outcome.attempt
        if not outcome.ok or attempt is None or attempt.reported:
            return False
        self._register(
            ACTOR_PARTITIONS if attempt.kind == "actor" else PROMPT_PARTITIONS,
            outcome.item_key,
        )
        tags = self._report_source(attempt)
        write_events(self._instance, [materialization(self._pipeline, outcome, tags)])
        self._checks.report([(attempt, PictureSighting.NOTHING)])
        self._pipeline.ledger.attempts.reported([attempt.id])
        return True

    def _report_source(self, attempt: Attempt) -> Mapping[str, str]:
        """Report the source item's version if Dagster has another one; returns the image's tags."""
        items = self._pipeline.ledger.items.get([attempt.item_key])
        source_item = items[attempt.item_key].source_item
        versions = SourceVersions(self._instance, source_asset(source_item), [source_item.key])
        events = versions.unreported([source_item])
        if events:
            write_events(self._instance, events)
            versions.read()
        return versions.tags(
            attempt, self._pipeline.request_builder.made_from(attempt, source_item)
        )

    def report_results(self) -> None:
        """Bring the results table up to date, without plots, and report it; raises StoreError."""
        metadata = refresh_table(self._pipeline)
        tags = table_tags(self._instance)
        event = dg.AssetMaterialization(RESULTS, metadata=metadata, tags=tags)
        write_events(self._instance, [event])

    def _register(self, partitions: str, key: str) -> None:
        if partitions not in self._registered:
            self._registered[partitions] = set(self._instance.get_dynamic_partitions(partitions))
        if key not in self._registered[partitions]:
            add_missing(self._instance, partitions, [key])
            self._registered[partitions].add(key)

    def report_missed(self, *, before: float | None = None) -> int:
        """Report every current image that Dagster does not have; returns how many.

        ``before`` (seconds since the epoch) limits this to images that were stored earlier.
        """
        count = 0
        while missed := _unreported(self._pipeline, before):
            count += sum(self.report(outcome) for outcome in missed)
        return count


def _unreported(pipeline: Pipeline, before: float | None) -> list[Outcome]:
    """Current images that Dagster does not have, oldest first; a thousand at most."""
    return [
        Outcome(
            attempt.item_key,
            Status.SHARED if attempt.shared_from else Status.MADE,
            attempt=attempt,
            path=str(pipeline.picture_path(attempt)),
            cost=0.0 if attempt.shared_from else attempt.cost,
            warnings=attempt.warnings,
        )
        for attempt in pipeline.ledger.attempts.unreported(before=before)
    ]
