"""Specifications of the asset checks: what each one verifies and what to do when it fails."""

import dagster as dg

from imagegen_pipeline.dagster_ext.beta_features import partitioned_check_specs
from imagegen_pipeline.dagster_ext.names import APPROVED, APPROVED_FILES_CHECK, BASE_IMAGES, IMAGES
from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS
from imagegen_pipeline.domain.image import quality_rules as rules

_IMAGE_CHECKS = {
    rules.PICTURE_DECODES: "The image file decodes. A new image was decoded completely; a reused "
    "one still has the bytes (SHA-256) that were decoded when it was stored. ERROR. If it fails: "
    "the file was damaged, replaced or deleted. Restore it from a backup, or materialize the "
    "partition: an image whose file is missing or changed is generated again, which costs money.",
    rules.ASKED_SIZE: "The image has the requested width and height. WARN when only the scale "
    "differs, ERROR when the aspect ratio differs. If it fails: the model does not support that "
    "size; request one that it supports (Duomi documents 1024x1024, 768x1024, 576x1024 and "
    "others).",
    rules.NOT_BLANK: "The image is not black, white or of a single colour, as filtered images are. "
    "ERROR. If it fails: the provider has probably refused the prompt; change its text, or "
    "regenerate with another seed.",
    rules.SHARP: "Some part of the image is in focus. WARN. If it fails: look at the image. Mist "
    "and soft light may be intended; otherwise regenerate with more steps or another seed.",
    rules.NOT_A_DUPLICATE: "No older image of another prompt is nearly identical (perceptual "
    "hash and colours). The same prompt twice may share an image. WARN. If it fails: compare the "
    "two; the provider may have returned the result of another request. Regenerate this one.",
}
_BASE_IMAGE_CHECKS = {
    rules.NEUTRAL_BORDER: "The top and side edges show a neutral, even backdrop. WARN. If it "
    "fails: regenerate, or remove colours and places from the description. Simulated base images "
    "are landscapes and fail.",
    rules.PORTRAIT_SHAPE: "The base image is higher than wide, so that a full body fits. WARN. "
    "If it fails: request a height above the width, 1024x1536 by default.",
}

IMAGE_CHECKS = partitioned_check_specs(IMAGES, PROMPTS, _IMAGE_CHECKS)
BASE_IMAGE_CHECKS = partitioned_check_specs(
    BASE_IMAGES, ACTORS, {**_IMAGE_CHECKS, **_BASE_IMAGE_CHECKS}
)
APPROVED_CHECKS = [
    dg.AssetCheckSpec(
        APPROVED_FILES_CHECK,
        asset=APPROVED,
        blocking=True,
        description="The file of every approved image has its recorded bytes (SHA-256). ERROR and "
        "blocking: assets downstream of approved_pictures in the same run, such as training, do "
        "not start. If it fails: restore the named files from a backup, or materialize their "
        "partitions and approve the new images.",
    )
]
