"""Asset checks: what is found of pictures, as Dagster's evaluations."""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

from imagegen_pipeline.dagster_ext.names import APPROVED_FILES_CHECK, asset_of
from imagegen_pipeline.dagster_ext.previews import drawing, drawn, preview_of
from imagegen_pipeline.domain.errors import StoreError, UnreadableError
from imagegen_pipeline.domain.image.decode import smaller_preview
from imagegen_pipeline.domain.image.quality_rules import QualityFinding
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.engine.quality_checker import PictureSighting, QualityChecker
from imagegen_pipeline.pipeline import Pipeline

Metadata = dict[str, dg.MetadataValue]
LISTED = 20
"""Broken approved pictures that the check's metadata names."""


class PictureChecks:
    """Inspects pictures, and says what was found as Dagster's evaluations; one thread's."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._inspector = QualityChecker(pipeline.engine_context)

    def expect(self, attempts: Sequence[Attempt]) -> None:
        """See ``QualityChecker.expect``."""
        self._inspector.expect(attempts)

    def forget(self) -> None:
        """Let go of the pictures that others were compared with; they can be read again."""
        self._inspector = QualityChecker(self._pipeline.engine_context)

    def evaluate(
        self,
        attempt: Attempt,
        seen: PictureSighting,
        target: Target | None,
    ) -> list[dg.AssetCheckEvaluation]:
        """An evaluation for each check of a picture; ``target`` is the picture's own event."""
        shown = _shown(self._pipeline, attempt)
        return [
            dg.AssetCheckEvaluation(
                asset_key=asset_of(attempt),
                check_name=finding.check,
                passed=finding.passed,
                severity=_severity(finding),
                description=finding.sentence,
                metadata={**shown[finding.passed], **self._numbers(attempt, finding)},
                target_materialization_data=target,
                partition=attempt.item_key,
                blocking=False,
            )
            for finding in self._inspector.findings(attempt, seen)
        ]

    def _numbers(self, attempt: Attempt, finding: QualityFinding) -> Metadata:
        metadata = {name: _value(value) for name, value in finding.numbers.items()}
        # As a text: the UI draws a plot of every number.
        metadata["attempt"] = dg.MetadataValue.text(str(attempt.id))
        if finding.lookalikes:
            others = [match.attempt for match in finding.lookalikes]
            metadata["looks like"] = _shown_others(self._pipeline, others)
        return metadata


def _severity(finding: QualityFinding) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if finding.grave else dg.AssetCheckSeverity.WARN


def _shown(pipeline: Pipeline, attempt: Attempt) -> dict[bool, Metadata]:
    """The picture as it is shown with what failed (False) and with what passed (True). A breach
    shows the whole preview, for a person to judge; what passed shows a smaller one, since each
    evaluation keeps a copy of its own, and Dagster three of each.
    """
    preview = preview_of(pipeline, attempt)
    if preview is None:
        return {False: {}, True: {}}
    sizes = {False: preview, True: smaller_preview(preview)}
    return {passed: {"picture": drawing(attempt.item_key, sizes[passed])} for passed in sizes}


def _value(value: float | str) -> dg.MetadataValue:
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.float(float(value))


def _shown_others(pipeline: Pipeline, attempts: Sequence[int]) -> dg.MetadataValue:
    parts = []
    for other in pipeline.ledger.attempts.get(attempts):
        preview = preview_of(pipeline, other)
        picture = drawn(other.item_key, preview) if preview is not None else ""
        parts.append(f"`{other.item_key}` {picture}")
    return dg.MetadataValue.md("\n\n".join(parts))


def approved_check(pipeline: Pipeline, rows: Sequence[Mapping[str, object]]) -> dg.AssetCheckResult:
    """Whether the file of every row of approved pictures is there as it was stored."""
    faults = [fault for row in rows if (fault := _fault(pipeline, row)) is not None]
    sentence = f"All {len(rows)} approved pictures are there as they were stored."
    if faults:
        sentence = f"{len(faults)} of {len(rows)} approved pictures are not as they were stored."
    lines = [f"- {fault}" for fault in faults[:LISTED]]
    if len(faults) > LISTED:
        lines.append(f"- … and {len(faults) - LISTED} more")
    metadata: Metadata = {
        "pictures": dg.MetadataValue.int(len(rows)),
        "broken": dg.MetadataValue.int(len(faults)),
    }
    if faults:
        metadata["files"] = dg.MetadataValue.md("\n".join(lines))
    return dg.AssetCheckResult(
        passed=not faults,
        check_name=APPROVED_FILES_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        description=sentence,
        metadata=metadata,
    )


def _fault(pipeline: Pipeline, row: Mapping[str, object]) -> str | None:
    path, key = str(row["path"]), row["key"]
    try:
        if pipeline.store.matches(path, str(row["sha256"])):
            return None
    except (UnreadableError, StoreError) as error:
        return f"`{key}`: {error}"
    file = pipeline.store.absolute(path)
    what = "has other bytes than were approved" if file.is_file() else "is not there"
    return f"`{key}`: {file} {what}."
