"""A batch inside a Dagster step: each partition's event as it finishes, failures at the end."""

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
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
)

from imagegen_pipeline.dagster_ext.asset_events import failure_observation, materialization
from imagegen_pipeline.dagster_ext.check_events import CheckLog
from imagegen_pipeline.dagster_ext.data_versions import SourceVersions, table_tags
from imagegen_pipeline.dagster_ext.event_log import log_together, marked
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
"""Failed partitions that are listed in the failure itself; all are in the results."""
_GROUP, _GROUP_SECONDS = 100, 1.0
"""Pictures whose events are stored together, at most, and how long the first of them waits: a
person who looks on sees them come, and a second holds all that 64 requests at once bring.
"""


@contextmanager
def typed_failure() -> Iterator[None]:
    """What stops a whole step as a failure that says what happened and what to do."""
    try:
        yield
    except ImagegenError as error:
        metadata = {"error_kind": error.kind, "error": str(error), "remedy": error.remedy}
        raise dg.Failure(error.sentence, metadata=metadata, allow_retries=False) from error


def intent_of(context: StepContext) -> str:
    """Who asks: the backfill or the root run, so that a re-execution is the same intent."""
    root_id = context.run.root_run_id or context.run.run_id
    root = context.instance.get_run_by_id(root_id) or context.run
    # Dagster drops the backfill's tag from a retry, so the root run is asked.
    tags = {**context.run.tags, **root.tags}
    return tags.get("dagster/root_backfill_id") or tags.get("dagster/backfill") or root_id


def op_context(context: StepContext) -> dg.OpExecutionContext:
    """The part of a step's context that assets and ops have in common."""
    if isinstance(context, dg.AssetExecutionContext):
        return context.op_execution_context
    return context


def own_partitions(context: StepContext) -> list[str]:
    """The partitions that Dagster has made the run for: one, a range, or none."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    return []


def output_without_event(facts: Mapping[str, Any] | None = None) -> dg.MaterializeResult[None]:
    """The step's output, by which what is downstream goes on, without an event of its own.

    Each partition has had its event already; Dagster would write one more for each, without
    metadata, on top. A step without output has everything downstream skipped in silence. This
    mark is what Dagster itself puts on outputs whose events the body has logged.
    """
    return dg.MaterializeResult(
        metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True, **(facts or {})}
    )


@dataclass
class StepCounts:
    """What a step has reported so far."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)
    of_prompts: list[dict[str, Any]] = field(default_factory=list)
    """What came of prompts, as the users' JSON log has it."""
    log_file: Path | None = None

    def log_metadata(self) -> dict[str, dg.MetadataValue]:
        """Where the users' log of it lies, if it was written."""
        file = self.log_file
        return {} if file is None else {"results log": dg.MetadataValue.path(str(file))}


def _interrupt() -> None:
    raise dg.DagsterExecutionInterruptedError


class StepReporter:
    """Writes a step's outcomes into Dagster; used from the step's own thread only."""

    def __init__(
        self,
        context: StepContext,
        pipeline: Pipeline,
        asset: dg.AssetKey,
        source: dg.AssetKey,
        keys: Sequence[str],
        *,
        scan: KeyScanResult | None = None,
        tally: StepCounts | None = None,
    ) -> None:
        """``source`` is the asset whose partitions ``asset`` is made from; both are as the
        ledger has them now, so the sources are to be looked at before. ``keys`` are the
        partitions that the step covers; those that are not the run's own are announced here.
        ``tally`` is that of the whole step, where it has several such logs.
        """
        self.context = context
        self._op = op_context(context)
        self._pipeline = pipeline
        self._asset = asset
        self.keys = list(keys)
        self._announce(set(own_partitions(context)))
        if scan is None:
            items = pipeline.ledger.items.get(self.keys)
            gone = frozenset(key for key, item in items.items() if item.gone)
            problems = tuple(pipeline.ledger.items.problems())
            source_items = {key: item.source_item for key, item in items.items()}
            scan = KeyScanResult(source_items, gone, problems)
        self._source_items, self._present = scan.items, scan.present
        self._versions = SourceVersions(context.instance, source, list(scan.items))
        news = self._versions.news([one for key, one in scan.items.items() if key not in scan.gone])
        if news:
            log_together(self._op, news)
            self._versions.read()
        self._checks = CheckLog(context, pipeline)
        self._waiting: list[tuple[Attempt, PictureSighting, dg.AssetMaterialization]] = []
        self._waits_since = 0.0
        self.tally = tally or StepCounts()

    def _announce(self, own: set[str]) -> None:
        """Say which partitions are meant, as Dagster does of the run's ``own`` when it makes the
        run: if it fails, those that got no event are shown as failed, and no others are.
        """
        op = self._op
        planned = [
            DagsterEvent.build_asset_materialization_planned_event(
                op.job_name,
                str(op.op_handle),
                AssetMaterializationPlannedData(self._asset, partition=key),
            )
            for key in self.keys
            if key not in own
        ]
        for event, mark in marked(planned):
            op.instance.report_dagster_event(event, op.run_id, batch_metadata=mark)

    def present(self, keys: Sequence[str], kind: type[_SourceItem]) -> dict[str, _SourceItem]:
        """Of these keys of the step, what is there to make a picture of."""
        found = ((key, self._present.get(key)) for key in keys)
        return {key: source_item for key, source_item in found if isinstance(source_item, kind)}

    def run(self, batch: Batch) -> None:
        """Report every outcome. On *terminate*: take nothing new, report what finishes.

        Dagster would raise into the middle of whatever line is running; here the batch is told
        to stop instead, and the interrupt is raised when all it was at has been reported.
        """
        stop = partial(batch.stop, leave_jobs=True)
        with batch, StopRequest(stop, again=_interrupt) as interrupts:
            try:
                for outcome in batch.arriving(_GROUP_SECONDS):
                    if outcome is not None:
                        self.report(outcome)
                    self._flush_in_time()
            finally:
                self.flush()
            if interrupts.happened:
                self.context.log.warning("Stopped: nothing new was begun; what was sent is kept.")
                self._checks.store_held()
                self.refresh_table()
        if interrupts.happened:
            _interrupt()

    def pass_over(self, keys: Sequence[str]) -> list[str]:
        """Report again what is made of ``keys``, at no cost; returns the keys reported.

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
        """Why these partitions have no item: never seen, gone, or not readable now."""
        for key in keys:
            item = self._source_items.get(key)
            message = f"Nothing of the name {key} is in the ledger."
            remedy = "Materialize source_scan, or run `imagegen sync`, then try again."
            if item is not None:
                message = f"Its source no longer has it: {item.location}."
                remedy = "Put it back, or leave its partition alone: the pictures made stay."
            problem = unreadable.get(item.location) if item is not None else None
            if problem is not None:
                message, remedy = problem.message, problem.remedy
            yield Outcome(
                key, Status.FAILED, error_kind=SourceError.kind, error=message, remedy=remedy
            )

    def report(self, outcome: Outcome, *, seen: PictureSighting | None = None) -> None:
        """One outcome: a materialization, or an observation that says why there is none.

        ``seen`` is what was seen of the picture's file, by default what a batch sees of it.
        """
        self.tally.counts[str(outcome.status)] += 1
        source_item = self._source_items.get(outcome.item_key)
        if isinstance(source_item, Prompt):
            self.tally.of_prompts.append(user_result(source_item, outcome))
        if outcome.attempt is not None and outcome.ok:
            event = materialization(self._pipeline, outcome, self._tags(outcome.attempt))
            if not self._waiting:
                self._waits_since = time.monotonic()
            self._waiting.append(
                (outcome.attempt, seen or PictureSighting.by_engine(outcome), event)
            )
            if len(self._waiting) >= _GROUP:
                self.flush()
        else:
            self.tally.failed.append(outcome)
            self.context.log.error(f"{outcome.item_key} {outcome.status}: {outcome.reason}")
            self.context.log_event(failure_observation(self._asset, outcome))

    def _flush_in_time(self) -> None:
        if self._waiting and time.monotonic() - self._waits_since >= _GROUP_SECONDS:
            self.flush()

    def _tags(self, attempt: Attempt | None) -> Mapping[str, str]:
        source_item = None if attempt is None else self._source_items.get(attempt.item_key)
        if attempt is None or source_item is None:
            return {}
        return self._versions.tags(
            attempt, self._pipeline.request_builder.made_from(attempt, source_item)
        )

    def flush(self) -> None:
        """Store the events of what was reported, and of its checks."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        log_together(self._op, [event for _, _, event in waiting])
        self._checks.run([(attempt, seen) for attempt, seen, _ in waiting])
        told = [attempt.id for attempt, _, _ in waiting if not attempt.reported]
        if told:
            self._pipeline.ledger.attempts.reported(told)

    def finish(self) -> Iterator[StepResult]:
        """The end of an asset's step: what its checks have found, then its output, or the failure
        that names what failed.

        The results table is refreshed here, without plots, if no step downstream will do it:
        `generation_results` is not selected, or the failure skips it.
        """
        if self.tally.failed or not self._results_follow():
            self.refresh_table()
        yield from self._checks.results()
        self.raise_failures()
        yield output_without_event({**self.tally.counts, **self.tally.log_metadata()})

    def raise_failures(self) -> None:
        """Say how it went; raises the failure that names what failed."""
        self._write_log()
        counts = self.tally.counts
        self.context.log.info(", ".join(f"{n} {status}" for status, n in counts.items()))
        if self.tally.failed:
            raise self._failure()

    def _write_log(self) -> None:
        """Write the users' JSON log of what the step has reported of prompts, unless that is done:
        what is written is no longer kept.
        """
        of_prompts, self.tally.of_prompts = self.tally.of_prompts, []
        if not of_prompts:
            return
        folder = self._pipeline.settings.log_dir
        try:
            self.tally.log_file = write_results_log(of_prompts, folder, time.time())
        except StoreError as error:  # the pictures are made, and the table has it all
            self.context.log.error(f"The results log is missing: {error.sentence}")
        else:
            self.context.log.info(f"Results log: {self.tally.log_file}")

    def _let_go(self) -> None:
        """Forget what was kept of each partition: the table wants the room."""
        self._source_items, self._present = {}, {}
        self._versions.forget()
        self._checks.forget()

    def _results_follow(self) -> bool:
        selection = self.context.run.asset_selection
        return selection is None or RESULTS in selection

    def refresh_table(self) -> None:
        """Bring the results table up to date, without plots, and report it at the step's end."""
        self._write_log()
        self._let_go()
        metadata = refresh_table(self._pipeline)
        tags = table_tags(self.context.instance)
        self.context.log_event(dg.AssetMaterialization(RESULTS, metadata=metadata, tags=tags))

    def _failure(self) -> dg.Failure:
        failed = self.tally.failed
        lines = [f"- `{outcome.item_key}`: {outcome.reason}" for outcome in failed[:LISTED]]
        if len(failed) > LISTED:
            lines.append(f"- … and {len(failed) - LISTED} more, all in the results")
        skipped = self.tally.counts[str(Status.SKIPPED)]
        reason = next((o for o in failed if o.status is not Status.SKIPPED), failed[0]).reason
        good = sum(self.tally.counts.values()) - len(failed)
        stand = f"; the other {good} stand" if good else ""
        return dg.Failure(
            f"{len(failed)} of {good + len(failed)} have no picture ({skipped} not begun){stand}. "
            f"First reason: {reason}",
            metadata={
                "failed": dg.MetadataValue.md("\n".join(lines)),
                **self.tally.log_metadata(),
            },
            allow_retries=False,
        )
