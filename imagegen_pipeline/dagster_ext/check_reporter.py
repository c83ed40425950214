"""Checks stored images and writes the evaluations into Dagster."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

from imagegen_pipeline.dagster_ext.check_evaluations import (
    LISTED,
    check_evaluations,
    markdown_list,
)
from imagegen_pipeline.dagster_ext.event_log import ProjectEventLog
from imagegen_pipeline.dagster_ext.event_writer import RUNLESS, EventOrigin, write_events
from imagegen_pipeline.dagster_ext.names import asset_of
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.engine.quality_checker import PictureSighting, QualityChecker
from imagegen_pipeline.pipeline import Pipeline

CheckedImage = tuple[Attempt, PictureSighting]
_log = logging.getLogger(__name__)


class CheckReporter:
    """Writes an evaluation for each check and image. Used by one thread."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        pipeline: Pipeline,
        origin: EventOrigin = RUNLESS,
        log: logging.Logger = _log,
    ) -> None:
        self._instance = instance
        self._pipeline = pipeline
        self._origin = origin
        self._log = log
        self._checker = QualityChecker(pipeline.engine_context)

    def report(self, images: Sequence[CheckedImage]) -> None:
        """Check these images, whose materializations were just written, and write the results."""
        self.write(self.evaluate(images))

    def write(self, evaluations: Sequence[dg.AssetCheckEvaluation]) -> None:
        """Write evaluations in one batch."""
        write_events(self._instance, evaluations, self._origin)

    def evaluate(self, images: Sequence[CheckedImage]) -> list[dg.AssetCheckEvaluation]:
        """The evaluations of these images (of one asset).

        A check never stops generation: an image that cannot be checked is logged and left out.
        """
        attempts = [attempt for attempt, _ in images]
        targets = newest_materializations(self._instance, attempts, run_id=self._origin.run_id)
        try:
            self._checker.expect(attempts)
        except Exception as error:  # noqa: BLE001 - each image is still checked by itself
            self._log.warning(f"The images cannot be looked up together: {error!r}")
        evaluations = []
        for attempt, seen in images:
            target = targets.get(attempt.item_key)
            try:
                evaluations += check_evaluations(
                    self._pipeline, self._checker, attempt, seen, target
                )
            except Exception as error:  # noqa: BLE001 - see above
                self._log.error(f"{attempt.item_key} cannot be checked: {error!r}")
        return evaluations

    def forget(self) -> None:
        """Release the images that others were compared with; they are read again when needed."""
        self._checker = QualityChecker(self._pipeline.engine_context)


def newest_materializations(
    instance: dg.DagsterInstance, attempts: Sequence[Attempt], *, run_id: str
) -> Mapping[str, Target]:
    """The newest materializations of these images (of one asset) in a run, by item key."""
    if not attempts:
        return {}
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


@dataclass
class _CheckCounts:
    """The results of one check in a whole step."""

    images: int = 0
    failed: int = 0
    errors: int = 0
    listed: list[str] = field(default_factory=list)

    def add(self, evaluation: dg.AssetCheckEvaluation) -> None:
        self.images += 1
        if not evaluation.passed:
            self.failed += 1
            self.errors += evaluation.severity is dg.AssetCheckSeverity.ERROR
            if self.failed <= LISTED:
                self.listed.append(f"`{evaluation.partition}`: {evaluation.description}")

    def result(self, name: str) -> dg.AssetCheckResult:
        """The check's result for the step."""
        metadata: dict[str, dg.MetadataValue] = {
            "pictures": dg.MetadataValue.int(self.images),
            "failed": dg.MetadataValue.int(self.failed),
        }
        if self.failed:
            rest = "more, each in its own partition"
            metadata["partitions"] = markdown_list(self.listed, self.failed, rest)
        severities = dg.AssetCheckSeverity
        return dg.AssetCheckResult(
            check_name=name,
            passed=not self.failed,
            severity=severities.ERROR if self.errors else severities.WARN,
            description=f"{self.images - self.failed} of {self.images} images passed.",
            metadata=metadata,
        )


class StepCheckReporter:
    """The checks of a step: evaluations of each partition, and a result for each check at the end.

    Used from the step's own thread only.
    """

    def __init__(
        self, context: dg.AssetExecutionContext | dg.OpExecutionContext, pipeline: Pipeline
    ) -> None:
        self._context = context
        is_asset = isinstance(context, dg.AssetExecutionContext)
        origin = EventOrigin.of_step(context)
        self._reporter = CheckReporter(context.instance, pipeline, origin, context.log)
        # In a run over one partition, Dagster writes a check result as that partition's evaluation,
        # so this partition's evaluations are kept until ``results``.
        self._own_key = context.partition_key if is_asset and context.has_partition_key else None
        self._own: list[dg.AssetCheckEvaluation] = []
        self._counts: dict[str, _CheckCounts] = defaultdict(_CheckCounts)

    def report(self, images: Sequence[CheckedImage]) -> None:
        """Check these images, whose materializations were just written, and write the results."""
        evaluations = self._reporter.evaluate(images)
        for one in evaluations:
            self._counts[one.check_name].add(one)
        self._own += [one for one in evaluations if one.partition == self._own_key]
        self._reporter.write([one for one in evaluations if one.partition != self._own_key])

    def write_own(self) -> None:
        """Write what ``results`` would return for the run's own partition, when the step stops."""
        own, self._own = self._own, []
        self._reporter.write(own)

    def forget(self) -> None:
        """Release the images that others were compared with."""
        self._reporter.forget()

    def results(self) -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
        """A result or an output for each selected check, as Dagster requires before a step ends."""
        own = {one.check_name: one for one in self._own}
        for key in sorted(self._context.selected_asset_check_keys):
            one = own.get(key.name)
            if one is not None:
                yield dg.AssetCheckResult(
                    check_name=one.check_name,
                    passed=one.passed,
                    severity=one.severity,
                    description=one.description,
                    metadata=one.metadata,
                )
            elif key.name in self._counts and self._own_key is None:
                yield self._counts[key.name].result(key.name)
            else:  # no image was checked: the output ends the check's step without a verdict
                name = f"{key.asset_key.to_python_identifier()}_{key.name}"
                yield dg.Output(None, output_name=name)
