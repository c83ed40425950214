"""Names shared by definitions and events: asset keys, partition definitions, checks."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from imagegen_pipeline.domain.requests import Attempt

IMAGES = dg.AssetKey("generated_images")
BASE_IMAGES = dg.AssetKey("actor_base_images")
RESULTS = dg.AssetKey("generation_results")
APPROVED = dg.AssetKey("approved_pictures")
PROMPT_PARTITIONS = "prompts"
ACTOR_PARTITIONS = "actors"
APPROVED_FILES_CHECK = "approved_files_whole"


def asset_of(attempt: "Attempt") -> dg.AssetKey:
    """The asset that an attempt's picture belongs to."""
    return BASE_IMAGES if attempt.kind == "actor" else IMAGES
