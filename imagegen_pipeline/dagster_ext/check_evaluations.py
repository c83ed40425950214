"""Asset checks of images: findings of the quality checker as Dagster evaluations."""

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
"""Images that failed a check and are named in its metadata."""


def check_evaluations(
    pipeline: Pipeline,
    checker: QualityChecker,
    attempt: Attempt,
    seen: PictureSighting,
    target: Target | None,
) -> list[dg.AssetCheckEvaluation]:
    """Check a stored image; returns an evaluation for each check.

    ``seen`` says whether the caller has decoded or compared the file already. ``target`` is the
    image's materialization; without it Dagster shows the partition's check as missing.
    """
    previews = _previews(pipeline, attempt)
    return [
        dg.AssetCheckEvaluation(
            asset_key=asset_of(attempt),
            check_name=finding.check,
            passed=finding.passed,
            severity=_severity(finding),
            description=finding.sentence,
            metadata={**previews[finding.passed], **_metadata(pipeline, attempt, finding)},
            target_materialization_data=target,
            partition=attempt.item_key,
            blocking=False,
        )
        for finding in checker.findings(attempt, seen)
    ]


def _severity(finding: QualityFinding) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if finding.grave else dg.AssetCheckSeverity.WARN


def _previews(pipeline: Pipeline, attempt: Attempt) -> dict[bool, Metadata]:
    """The preview for evaluations that failed (False) and that passed (True).

    A failed one shows the whole preview, for a person to judge. A passed one shows a smaller
    preview: each evaluation has its own copy, which Dagster stores three times.
    """
    preview = preview_of(pipeline, attempt)
    if preview is None:
        return {False: {}, True: {}}
    sizes = {False: preview, True: smaller_preview(preview)}
    return {passed: {"picture": drawing(attempt.item_key, sizes[passed])} for passed in sizes}


def _metadata(pipeline: Pipeline, attempt: Attempt, finding: QualityFinding) -> Metadata:
    metadata: Metadata = {name: _value(value) for name, value in finding.numbers.items()}
    # As text: the UI plots every number.
    metadata["attempt"] = dg.MetadataValue.text(str(attempt.id))
    if finding.duplicates:
        others = [match.attempt for match in finding.duplicates]
        metadata["similar images"] = _duplicates(pipeline, others)
    return metadata


def _value(value: float | str) -> dg.MetadataValue:
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.float(float(value))


def _duplicates(pipeline: Pipeline, attempts: Sequence[int]) -> dg.MetadataValue:
    parts = []
    for other in pipeline.ledger.attempts.get(attempts):
        preview = preview_of(pipeline, other)
        image = drawn(other.item_key, preview) if preview is not None else ""
        parts.append(f"`{other.item_key}` {image}")
    return dg.MetadataValue.md("\n\n".join(parts))


def markdown_list(lines: Sequence[str], total: int, rest: str = "more") -> dg.MetadataValue:
    """A markdown list of the first ``LISTED`` lines, and how many of ``total`` are left out."""
    shown = [f"- {line}" for line in lines[:LISTED]]
    if total > LISTED:
        shown.append(f"- … and {total - LISTED} {rest}")
    return dg.MetadataValue.md("\n".join(shown))


def approved_check(pipeline: Pipeline, rows: Sequence[Mapping[str, object]]) -> dg.AssetCheckResult:
    """Checks that the file of every row of approved images has its recorded bytes."""
    faults = [fault for row in rows if (fault := _file_fault(pipeline, row)) is not None]
    sentence = f"All {len(rows)} approved images have the bytes that were stored."
    if faults:
        sentence = f"{len(faults)} of {len(rows)} approved images are missing or changed."
    metadata: Metadata = {
        "pictures": dg.MetadataValue.int(len(rows)),
        "broken": dg.MetadataValue.int(len(faults)),
    }
    if faults:
        metadata["files"] = markdown_list(faults, len(faults))
    return dg.AssetCheckResult(
        passed=not faults,
        check_name=APPROVED_FILES_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        description=sentence,
        metadata=metadata,
    )


def _file_fault(pipeline: Pipeline, row: Mapping[str, object]) -> str | None:
    path, key = str(row["path"]), row["key"]
    try:
        if pipeline.store.matches(path, str(row["sha256"])):
            return None
    except (UnreadableError, StoreError) as error:
        return f"`{key}`: {error}"
    file = pipeline.store.absolute(path)
    fault = "has other bytes than were approved" if file.is_file() else "does not exist"
    return f"`{key}`: {file} {fault}."
