"""The asset checks as Dagster shows them: what each looks at, and what to do when it fails."""

from collections.abc import Mapping

import dagster as dg
from dagster._utils.warnings import disable_dagster_warnings

from imagegen_pipeline.dagster_ext.names import APPROVED, APPROVED_FILES_CHECK, BASE_IMAGES, IMAGES
from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS
from imagegen_pipeline.domain.image import quality_rules as rules

_OF_PICTURES = {
    rules.PICTURE_DECODES: "The picture's file decodes: a new one was decoded whole, a reused "
    "one still has the bytes (SHA-256) that were decoded then. ERROR. If it fails: the file was "
    "damaged, replaced or removed by hand. Put it back from a backup, or materialize the "
    "partition: a picture that is not there as recorded is made anew, which costs money.",
    rules.ASKED_SIZE: "The picture has the width and height that were asked for. WARN when only "
    "the scale differs, ERROR when the shape does. If it fails: the model does not make that "
    "size; ask for one that it has (Duomi documents 1024x1024, 768x1024, 576x1024 and others).",
    rules.NOT_BLANK: "There is something in the picture: it is not black, white or of a single "
    "colour, as filtered pictures are. ERROR. If it fails: the service has probably refused the "
    "prompt; change its text, or regenerate with another seed.",
    rules.SHARP: "Something in the picture is in focus. WARN. If it fails: look at it. Mist "
    "and soft light may be wanted; else regenerate with more steps or another seed.",
    rules.NOT_A_DUPLICATE: "No older picture of another prompt looks the same (perceptual hash "
    "and colours); the same prompt twice may share a picture. WARN. If it fails: compare the "
    "two; the service may have answered with another request's picture. Regenerate this one.",
}
_OF_BASE_IMAGES = {
    rules.NEUTRAL_BORDER: "The base image stands before a neutral, even backdrop, by its top "
    "and side edges. WARN. If it fails: regenerate, or take colours and places out of the "
    "description. Simulated base images are landscapes and fail.",
    rules.PORTRAIT_SHAPE: "The base image is higher than wide, so that a full body fits. WARN. "
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
        APPROVED_FILES_CHECK,
        asset=APPROVED,
        blocking=True,
        description="Every approved picture's file is there with its recorded bytes (SHA-256). "
        "ERROR, and blocking: what comes after approved_pictures in the same run, such as "
        "training, does not begin. If it fails: put the named files back from a backup, or "
        "materialize their partitions and approve the new pictures.",
    )
]
