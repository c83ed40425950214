"""Run configuration. Each field's description states its effect and its cost."""

from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from imagegen_pipeline.domain.actors import Actor


class KeysConfig(dg.Config):
    """Which partitions are materialized."""

    keys: list[str] = Field(
        [],
        description="Materialize exactly these partitions, the run's own or others. The run's "
        "other partitions report their current image as reused, at no cost. Empty: the run's own "
        "partitions.",
    )


class PicturesConfig(KeysConfig):
    """Fields of both image assets."""

    limit: int | None = Field(
        None,
        ge=0,
        description="Generate at most this many images, in the sources' order. Images that exist "
        "or cost nothing do not count. Empty: no limit.",
    )
    regenerate: bool = Field(
        False,
        description="Generate images again that exist. Costs money once for each run and image; "
        "a re-execution of the run does not pay again. The old images are kept.",
    )
    seed: int | None = Field(
        None,
        description="The seed of all images; -1 draws one for each. Regenerating without it draws "
        "new ones. Empty: the default, or the actor's own.",
    )


class ImagesConfig(PicturesConfig):
    """Generation parameters of prompts. An empty field means the default."""

    model: str | None = Field(
        None, description="The provider's model, such as stabilityai/stable-diffusion-xl-base-1.0."
    )
    image_size: str | None = Field(None, description="WIDTHxHEIGHT in pixels, such as 1080x1920.")
    steps: int | None = Field(None, description="Inference steps. Duomi: 1 to 100, 20 by default.")
    guidance: float | None = Field(
        None, description="How closely the prompt is followed. Duomi: 0 to 20, 7.5 by default."
    )
    negative_prompt: str | None = Field(None, description="Text that the images must not show.")

    def parameters(self) -> dict[str, Any]:
        """The fields of PromptParameters that are set here."""
        names = ("model", "image_size", "steps", "guidance", "seed", "negative_prompt")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}


class BaseImagesConfig(PicturesConfig):
    """Generation parameters of actors. Empty: the actor's own value, or the default."""

    width: int | None = Field(None, description="Pixels, in steps of 16. The default is 1024.")
    height: int | None = Field(
        None, description="Pixels, in steps of 16. The default is 1536: full bodies need height."
    )
    steps: int | None = Field(None, description="Sampling steps. The default is 25.")

    def apply(self, actor: Actor) -> Actor:
        """The actor with the fields that are set here."""
        names = ("width", "height", "steps", "seed")
        given = {name: getattr(self, name) for name in names}
        return replace(actor, **{k: v for k, v in given.items() if v is not None})
