"""Reports a batch in a Dagster step: events as items finish, failures at the end."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from imagegen_pipeline.dagster_ext.asset_events import failure_observation, materialization
from imagegen_pipeline.dagster_ext.check_reporter import StepCheckReporter
from imagegen_pipeline.dagster_ext.data_versions import SourceVersions, table_tags
from imagegen_pipeline.dagster_ext.event_writer import (
    EventOrigin,
    planned_materialization,
    write_events,
)
from imagegen_pipeline.dagster_ext.names import RESULTS
from imagegen_pipeline.dagster_ext.results_metadata import refresh_table
from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.errors import ImagegenError, SourceError, StoreError
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import Attempt, Outcome, Status
from imagegen_pipeline.engine import Batch
from imagegen_pipeline.engine.quality_checker import PictureSighting
from imagegen_pipeline.legacy.logs import user_result, write_results_log
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.signals import StopRequest
from imagegen_pipeline.sources.scanner import KeyScanResult

StepResult = dg.MaterializeResult[None] | dg.AssetCheckResult | dg.Output[None]
StepContext = dg.AssetExecutionContext | dg.OpExecutionContext
_SourceItem = TypeVar("_SourceItem", Prompt, Actor)
LISTED = 50
"""Failed partitions that the failure names; the results table has all of them."""
_MAX_GROUP, _GROUP_SECONDS = 100, 1.0
"""Images whose events are written together, and how long the first of them waits at most: short
enough to see progress, and long enough to collect what 64 concurrent requests finish.
"""


@contextmanager
def typed_failure() -> Iterator[None]:
    """Turn an ``ImagegenError`` into a Dagster failure that says what happened and the remedy."""
    try:
        yield
    except ImagegenError as error:
        metadata = {"error_kind": error.kind, "error": str(error), "remedy": error.remedy}
        raise dg.Failure(error.sentence, metadata=metadata, allow_retries=False) from error


def intent_of(context: StepContext) -> str:
    """The id of the backfill or of the root run: a re-execution has the same intent."""
    root_id = context.run.root_run_id or context.run.run_id
    root = context.instance.get_run_by_id(root_id) or context.run
    # A retry lacks the backfill's tag; the root run has it.
    tags = {**context.run.tags, **root.tags}
    return tags.get("dagster/root_backfill_id") or tags.get("dagster/backfill") or root_id


def own_partitions(context: StepContext) -> list[str]:
    """The partitions that Dagster launched the run for: one, a range, or none."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    return []


def log_materializations(context: StepContext, events: Sequence[dg.AssetMaterialization]) -> None:
    """Write materializations of a step in one batch."""
    write_events(context.instance, events, EventOrigin.of_step(context))


def output_without_event(facts: Mapping[str, Any] | None = None) -> dg.MaterializeResult[None]:
    """The step's output, without a materialization of its own.

    Each partition has its event already. A normal output would add one more without metadata to
    each partition; a step without output would skip everything downstream without a message.
    Dagster uses this metadata key for outputs whose events the body has logged.
    """
    return dg.MaterializeResult(
        metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True, **(facts or {})}
    )


@dataclass
class StepCounts:
    """What a step has reported so far."""

    by_status: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)
    user_results: list[dict[str, Any]] = field(default_factory=list)
    """The results of prompts for the users' JSON log."""
    log_file: Path | None = None

    def log_metadata(self) -> dict[str, dg.MetadataValue]:
        """The location of the users' JSON log, if it was written."""
        file = self.log_file
        return {} if file is None else {"results log": dg.MetadataValue.path(str(file))}


def _ledger_items(pipeline: Pipeline, keys: Sequence[str]) -> KeyScanResult:
    items = pipeline.ledger.items.get(keys)
    gone = frozenset(key for key, item in items.items() if item.gone)
    problems = tuple(pipeline.ledger.items.problems())
    return KeyScanResult({key: item.source_item for key, item in items.items()}, gone, problems)


def _interrupt() -> None:
    raise dg.DagsterExecutionInterruptedError


class StepReporter:
    """Writes a step's outcomes into Dagster. Used from the step's own thread only."""

    def __init__(
        self,
        context: StepContext,
        pipeline: Pipeline,
        asset: dg.AssetKey,
        source: dg.AssetKey,
        keys: Sequence[str],
        *,
        scan: KeyScanResult | None = None,
        counts: StepCounts | None = None,
    ) -> None:
        """Partitions ``keys`` of ``asset``, which are made from those of the asset ``source``.

        ``scan`` are the items of the keys; without it they are read from the ledger. Partitions
        that the run was not launched for are announced here. ``counts`` are shared by the reporters
        of one step.
        """
        self.context = context
        self._pipeline = pipeline
        self._asset = asset
        self.keys = list(keys)
        self._origin = EventOrigin.of_step(context)
        self._announce(set(own_partitions(context)))
        scan = scan or _ledger_items(pipeline, self.keys)
        self._source_items, self._present = scan.items, scan.present
        self._versions = SourceVersions(context.instance, source, list(scan.items))
        in_source = [one for key, one in scan.items.items() if key not in scan.gone]
        new_versions = self._versions.unreported(in_source)
        if new_versions:
            log_materializations(context, new_versions)
            self._versions.read()
        self._checks = StepCheckReporter(context, pipeline)
        self._waiting: list[tuple[Attempt, PictureSighting, dg.AssetMaterialization]] = []
        self._waiting_since = 0.0
        self.counts = counts or StepCounts()

    def _announce(self, own: set[str]) -> None:
        """Announce partitions as Dagster does for the run's ``own`` when it creates the run.

        If the run fails, Dagster shows announced partitions without an event as failed.
        """
        planned = [planned_materialization(self._asset, key) for key in self.keys if key not in own]
        write_events(self.context.instance, planned, self._origin)

    def present(self, keys: Sequence[str], kind: type[_SourceItem]) -> dict[str, _SourceItem]:
        """The source items of these keys that exist now, by key."""
        items = ((key, self._present.get(key)) for key in keys)
        return {key: source_item for key, source_item in items if isinstance(source_item, kind)}

    def run(self, batch: Batch) -> None:
        """Report every outcome. On termination: submit nothing new, report what finishes.

        Dagster would raise in the middle of any line. Here the batch is told to stop, and the
        interrupt is raised when its unfinished work is reported.
        """
        stop = partial(batch.stop, leave_jobs=True)
        with batch, StopRequest(stop, again=_interrupt) as interrupts:
            try:
                for outcome in batch.arriving(_GROUP_SECONDS):
                    if outcome is not None:
                        self.report(outcome)
                    self._flush_if_due()
            finally:
                self.flush()
            if interrupts.happened:
                self.context.log.warning("Stopped: nothing new is submitted; sent jobs are kept.")
                self._checks.write_own()
                self.refresh_table()
        if interrupts.happened:
            _interrupt()

    def report_current(self, keys: Sequence[str]) -> list[str]:
        """Report the current images of ``keys`` again, at no cost; returns the keys reported.

        In a run that fails, Dagster shows every planned partition without an event as failed.
        """
        reported = []
        for key in keys:
            outcome = self._pipeline.current_outcome(key)
            if outcome is not None:
                self.report(outcome, seen=PictureSighting.NOTHING)
                reported.append(key)
        self.flush()
        return reported

    def absent(
        self, keys: Sequence[str], unreadable: Mapping[str, SourceProblem]
    ) -> Iterator[Outcome]:
        """Failed outcomes for keys without an item: unknown, gone, or unreadable now.

        ``unreadable`` are the problems of the last scan by location.
        """
        for key in keys:
            item = self._source_items.get(key)
            message = f"The ledger has no item {key}."
            remedy = "Materialize source_scan, or run `imagegen sync`, then try again."
            if item is not None:
                message = f"Its source no longer has it: {item.location}."
                remedy = "Restore it in its source, or skip its partition: its images are kept."
            problem = unreadable.get(item.location) if item is not None else None
            if problem is not None:
                message, remedy = problem.message, problem.remedy
            yield Outcome(
                key, Status.FAILED, error_kind=SourceError.kind, error=message, remedy=remedy
            )

    def report(self, outcome: Outcome, *, seen: PictureSighting | None = None) -> None:
        """Report an outcome: a materialization, or an observation with the reason of the failure.

        ``seen`` says what is known of the image file; by default what a batch has verified.
        """
        self.counts.by_status[str(outcome.status)] += 1
        source_item = self._source_items.get(outcome.item_key)
        if isinstance(source_item, Prompt):
            self.counts.user_results.append(user_result(source_item, outcome))
        if outcome.attempt is None or not outcome.ok:
            self.counts.failed.append(outcome)
            self.context.log.error(f"{outcome.item_key} {outcome.status}: {outcome.reason}")
            self.context.log_event(failure_observation(self._asset, outcome))
            return
        event = materialization(self._pipeline, outcome, self._tags(outcome.attempt))
        if not self._waiting:
            self._waiting_since = time.monotonic()
        seen = seen or PictureSighting.by_engine(outcome)
        self._waiting.append((outcome.attempt, seen, event))
        if len(self._waiting) >= _MAX_GROUP:
            self.flush()

    def _flush_if_due(self) -> None:
        if self._waiting and time.monotonic() - self._waiting_since >= _GROUP_SECONDS:
            self.flush()

    def _tags(self, attempt: Attempt) -> Mapping[str, str]:
        source_item = self._source_items.get(attempt.item_key)
        if source_item is None:
            return {}
        made_from = self._pipeline.request_builder.made_from(attempt, source_item)
        return self._versions.tags(attempt, made_from)

    def flush(self) -> None:
        """Write the events and checks of the reported images."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        log_materializations(self.context, [event for _, _, event in waiting])
        self._checks.report([(attempt, seen) for attempt, seen, _ in waiting])
        reported = [attempt.id for attempt, _, _ in waiting if not attempt.reported]
        if reported:
            self._pipeline.ledger.attempts.reported(reported)

    def finish(self) -> Iterator[StepResult]:
        """End an asset's step: its check results, then its output, or the failure that names the
        failed items. Refreshes the results table, without plots, if no later step of the run does.
        """
        if self.counts.failed or not self._results_selected():
            self.refresh_table()
        yield from self._checks.results()
        self.raise_failures()
        yield output_without_event({**self.counts.by_status, **self.counts.log_metadata()})

    def raise_failures(self) -> None:
        """Log the counts, and raise the failure that names the failed items, if any."""
        self._write_user_log()
        counts = self.counts.by_status
        self.context.log.info(", ".join(f"{n} {status}" for status, n in counts.items()))
        if self.counts.failed:
            raise self._failure()

    def _write_user_log(self) -> None:
        """Write the users' JSON log of the reported prompts, once, and release them."""
        results, self.counts.user_results = self.counts.user_results, []
        if not results:
            return
        folder = self._pipeline.settings.log_dir
        try:
            self.counts.log_file = write_results_log(results, folder, time.time())
        except StoreError as error:  # the images are stored, and the results table has it all
            self.context.log.error(f"The results log cannot be written: {error.sentence}")
        else:
            self.context.log.info(f"Results log: {self.counts.log_file}")

    def _release_memory(self) -> None:
        """Release what was held for each partition: the results table needs the memory."""
        self._source_items, self._present = {}, {}
        self._versions.forget()
        self._checks.forget()

    def _results_selected(self) -> bool:
        selection = self.context.run.asset_selection
        return selection is None or RESULTS in selection

    def refresh_table(self) -> None:
        """Refresh the results table, without plots, and report it. It must be the last report."""
        self._write_user_log()
        self._release_memory()
        metadata = refresh_table(self._pipeline)
        tags = table_tags(self.context.instance)
        self.context.log_event(dg.AssetMaterialization(RESULTS, metadata=metadata, tags=tags))

    def _failure(self) -> dg.Failure:
        failed = self.counts.failed
        lines = [f"- `{outcome.item_key}`: {outcome.reason}" for outcome in failed[:LISTED]]
        if len(failed) > LISTED:
            lines.append(f"- … and {len(failed) - LISTED} more, all in the results")
        skipped = self.counts.by_status[str(Status.SKIPPED)]
        reason = next((o for o in failed if o.status is not Status.SKIPPED), failed[0]).reason
        total = sum(self.counts.by_status.values())
        good = total - len(failed)
        others = f"; the other {good} are stored" if good else ""
        return dg.Failure(
            f"{len(failed)} of {total} have no image ({skipped} not submitted){others}. "
            f"First reason: {reason}",
            metadata={
                "failed": dg.MetadataValue.md("\n".join(lines)),
                **self.counts.log_metadata(),
            },
            allow_retries=False,
        )
