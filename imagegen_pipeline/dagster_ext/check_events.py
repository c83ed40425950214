"""Writes into Dagster what the checks of pictures find, in a run or outside of one."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

from imagegen_pipeline.dagster_ext.check_evaluations import LISTED, PictureChecks
from imagegen_pipeline.dagster_ext.event_log import (
    ProjectEventLog,
    evaluation_entry,
    store_evaluations,
)
from imagegen_pipeline.dagster_ext.names import asset_of
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.engine.quality_checker import PictureSighting
from imagegen_pipeline.pipeline import Pipeline

ERROR = dg.AssetCheckSeverity.ERROR
_log = logging.getLogger(__name__)


@dataclass
class _Count:
    """What one check has found in a whole step."""

    pictures: int = 0
    failed: int = 0
    grave: int = 0
    listed: list[str] = field(default_factory=list)

    def add(self, found: dg.AssetCheckEvaluation) -> None:
        self.pictures += 1
        if not found.passed:
            self.failed += 1
            self.grave += found.severity is ERROR
            if self.failed <= LISTED:
                self.listed.append(f"`{found.partition}`: {found.description}")

    def result(self, name: str) -> dg.AssetCheckResult:
        """All of the step's pictures together, as the check's newest evaluation."""
        lines = [f"- {line}" for line in self.listed]
        if self.failed > LISTED:
            lines.append(f"- … and {self.failed - LISTED} more, each in its own partition")
        return dg.AssetCheckResult(
            check_name=name,
            passed=not self.failed,
            severity=ERROR if self.grave else dg.AssetCheckSeverity.WARN,
            description=f"{self.pictures - self.failed} of {self.pictures} pictures passed.",
            metadata={
                "pictures": self.pictures,
                "failed": self.failed,
                **({"partitions": dg.MetadataValue.md("\n".join(lines))} if lines else {}),
            },
        )


class CheckLog:
    """The checks of a step's pictures: an evaluation for each partition, in groups, and at the
    end a result for each check. Used from the step's own thread only.
    """

    def __init__(
        self, context: dg.AssetExecutionContext | dg.OpExecutionContext, pipeline: Pipeline
    ) -> None:
        self._context = context
        is_asset = isinstance(context, dg.AssetExecutionContext)
        self._op = context.op_execution_context if is_asset else context
        # Dagster makes of a result in a run over one partition that partition's evaluation.
        self._own = context.partition_key if is_asset and context.has_partition_key else None
        self._checks = PictureChecks(pipeline)
        self._held: list[dg.AssetCheckEvaluation] = []
        self._counts: dict[str, _Count] = defaultdict(_Count)

    def run(self, pictures: Sequence[tuple[Attempt, PictureSighting]]) -> None:
        """Check these pictures, whose events were stored just now, and store what is found."""
        attempts = [attempt for attempt, _ in pictures]
        found: list[dg.AssetCheckEvaluation] = []
        targets = newest_events(self._context.instance, attempts, run_id=self._op.run_id)
        try:
            self._checks.expect(attempts)
        except Exception as error:  # noqa: BLE001 - each picture is still checked by itself
            self._context.log.warning(f"Pictures could not be looked up together: {error!r}")
        for attempt, seen in pictures:
            found += self._evaluated(attempt, seen, targets.get(attempt.item_key))
        for one in found:
            self._counts[one.check_name].add(one)
        self._held += [one for one in found if one.partition == self._own]
        self._store([one for one in found if one.partition != self._own])

    def _evaluated(
        self,
        attempt: Attempt,
        seen: PictureSighting,
        target: Target | None,
    ) -> list[dg.AssetCheckEvaluation]:
        try:
            return self._checks.evaluate(attempt, seen, target)
        except Exception as error:  # noqa: BLE001 - no check may stop the making of pictures
            self._context.log.error(f"{attempt.item_key} could not be checked: {error!r}")
            return []

    def store_held(self) -> None:
        """Store what ``results`` would have given to Dagster, of a step that ends before."""
        held, self._held = self._held, []
        self._store(held)

    def _store(self, found: Sequence[dg.AssetCheckEvaluation]) -> None:
        op = self._op
        step = StepHandle(op.op_handle, str(op.op_handle))
        entries = [evaluation_entry(one, op.job_name, op.run_id, step) for one in found]
        store_evaluations(self._context.instance, entries)

    def forget(self) -> None:
        """Let go of the other pictures that were compared, as no more are checked."""
        self._checks.forget()

    def results(self) -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
        """The result of each of the step's checks, which Dagster wants before the step ends."""
        held = {one.check_name: one for one in self._held}
        for key in sorted(self._context.selected_asset_check_keys):
            one = held.get(key.name)
            if one is not None:
                yield dg.AssetCheckResult(
                    check_name=one.check_name,
                    passed=one.passed,
                    severity=one.severity,
                    description=one.description,
                    metadata=one.metadata,
                )
            elif key.name in self._counts and self._own is None:
                yield self._counts[key.name].result(key.name)
            else:  # no picture to check: the check's step is done, and nothing is said of it
                name = f"{key.asset_key.to_python_identifier()}_{key.name}"
                yield dg.Output(None, output_name=name)


def newest_events(
    instance: dg.DagsterInstance, attempts: Sequence[Attempt], *, run_id: str
) -> dict[str, Target]:
    """The events of these items' pictures (all of one asset) that a run has logged just now, by
    key: what their evaluations are about.
    """
    storage = instance.event_log_storage
    asset, keys = asset_of(attempts[0]), [attempt.item_key for attempt in attempts]
    if isinstance(storage, ProjectEventLog):
        return storage.materializations_of(run_id, asset, keys)
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset, asset_partitions=keys), limit=len(keys)
    ).records
    return {
        str(record.partition_key): Target(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in reversed(records)
        if record.run_id == run_id
    }


class RunlessChecks:
    """The checks of pictures that were made outside of Dagster, one at a time."""

    def __init__(self, instance: dg.DagsterInstance, pipeline: Pipeline) -> None:
        self._instance = instance
        self._checks = PictureChecks(pipeline)

    def report(self, attempt: Attempt) -> None:
        """Check this picture, whose event was reported just now."""
        targets = newest_events(self._instance, [attempt], run_id=RUNLESS_RUN_ID)
        try:
            found = self._checks.evaluate(
                attempt, PictureSighting.NOTHING, targets.get(attempt.item_key)
            )
        except Exception:  # noqa: BLE001 - what cannot be checked is reported all the same
            _log.exception("%s could not be checked", attempt.item_key)
            return
        entries = [evaluation_entry(one, RUNLESS_JOB_NAME, RUNLESS_RUN_ID) for one in found]
        store_evaluations(self._instance, entries)
