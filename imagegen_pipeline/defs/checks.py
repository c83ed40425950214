"""Asset checks: what each looks at, and what is found as Dagster's evaluations."""

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._utils.warnings import disable_dagster_warnings

from imagegen_pipeline.defs.asset_keys import APPROVED, BASE_IMAGES, IMAGES, asset_of
from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS
from imagegen_pipeline.defs.previews import drawing, drawn, preview_of
from imagegen_pipeline.domain import findings
from imagegen_pipeline.domain.errors import StoreError, UnreadableError
from imagegen_pipeline.domain.findings import Finding
from imagegen_pipeline.domain.generation import Attempt
from imagegen_pipeline.domain.images import smaller_preview
from imagegen_pipeline.engine.inspecting import Inspector, Seen
from imagegen_pipeline.pipeline import Pipeline

Metadata = dict[str, dg.MetadataValue]
LISTED = 20
"""Broken approved pictures that the check's metadata names."""
WHOLE_FILES = "approved_files_whole"
_OF_PICTURES = {
    findings.PICTURE_DECODES: "The picture's file decodes: a new one was decoded whole, a reused "
    "one still has the bytes (SHA-256) that were decoded then. ERROR. If it fails: the file was "
    "damaged, replaced or removed by hand. Put it back from a backup, or materialize the "
    "partition: a picture that is not there as recorded is made anew, which costs money.",
    findings.ASKED_SIZE: "The picture has the width and height that were asked for. WARN when only "
    "the scale differs, ERROR when the shape does. If it fails: the model does not make that "
    "size; ask for one that it has (Duomi documents 1024x1024, 768x1024, 576x1024 and others).",
    findings.NOT_BLANK: "There is something in the picture: it is not black, white or of a single "
    "colour, as filtered pictures are. ERROR. If it fails: the service has probably refused the "
    "prompt; change its text, or regenerate with another seed.",
    findings.SHARP: "Something in the picture is in focus. WARN. If it fails: look at it. Mist "
    "and soft light may be wanted; else regenerate with more steps or another seed.",
    findings.NOT_A_DUPLICATE: "No older picture of another prompt looks the same (perceptual hash "
    "and colours); the same prompt twice may share a picture. WARN. If it fails: compare the "
    "two; the service may have answered with another request's picture. Regenerate this one.",
}
_OF_BASE_IMAGES = {
    findings.NEUTRAL_BORDER: "The base image stands before a neutral, even backdrop, by its top "
    "and side edges. WARN. If it fails: regenerate, or take colours and places out of the "
    "description. Simulated base images are landscapes and fail.",
    findings.PORTRAIT_SHAPE: "The base image is higher than wide, so that a full body fits. WARN. "
    "If it fails: ask for a height above the width, 1024x1536 by default.",
}


def _specs(
    asset: dg.AssetKey, partitions: dg.PartitionsDefinition[str], about: Mapping[str, str]
) -> list[dg.AssetCheckSpec]:
    with disable_dagster_warnings():  # a check's partitions are a preview; the lock file pins it
        return [
            dg.AssetCheckSpec(name, asset=asset, description=text, partitions_def=partitions)
            for name, text in about.items()
        ]


IMAGE_CHECKS = _specs(IMAGES, PROMPTS, _OF_PICTURES)
BASE_IMAGE_CHECKS = _specs(BASE_IMAGES, ACTORS, {**_OF_PICTURES, **_OF_BASE_IMAGES})
APPROVED_CHECKS = [
    dg.AssetCheckSpec(
        WHOLE_FILES,
        asset=APPROVED,
        blocking=True,
        description="Every approved picture's file is there with its recorded bytes (SHA-256). "
        "ERROR, and blocking: what comes after approved_pictures in the same run, such as "
        "training, does not begin. If it fails: put the named files back from a backup, or "
        "materialize their partitions and approve the new pictures.",
    )
]


class PictureChecks:
    """Inspects pictures, and says what was found as Dagster's evaluations; one thread's."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._inspector = Inspector(pipeline.workshop)

    def expect(self, attempts: Sequence[Attempt]) -> None:
        """See ``Inspector.expect``."""
        self._inspector.expect(attempts)

    def evaluate(
        self,
        attempt: Attempt,
        seen: Seen,
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

    def _numbers(self, attempt: Attempt, finding: Finding) -> Metadata:
        metadata = {name: _value(value) for name, value in finding.numbers.items()}
        # As a text: the UI draws a plot of every number.
        metadata["attempt"] = dg.MetadataValue.text(str(attempt.id))
        if finding.lookalikes:
            others = [match.attempt for match in finding.lookalikes]
            metadata["looks like"] = _shown_others(self._pipeline, others)
        return metadata


def _severity(finding: Finding) -> dg.AssetCheckSeverity:
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
        check_name=WHOLE_FILES,
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
