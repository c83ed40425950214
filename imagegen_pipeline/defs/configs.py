"""What a run can be told in the launchpad: each field says what it does and what it costs."""

from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from imagegen_pipeline.domain.actors import Actor


class KeysConfig(dg.Config):
    """Which partitions are made."""

    keys: list[str] = Field(
        [],
        description="Exactly these partitions, the run's own or others. Those of the run that are "
        "not named are passed over: what is made is reported as reused, nothing is bought. Empty "
        "means the run's own partitions.",
    )


class PicturesConfig(KeysConfig):
    """What pictures of prompts and base images have in common."""

    limit: int | None = Field(
        None,
        ge=0,
        description="Make at most so many pictures, the first in the sources' order. What is "
        "there already, or is free, does not count. Empty: as many as are wanted.",
    )
    regenerate: bool = Field(
        False,
        description="Make pictures anew that are there already: costs money, once for each run "
        "and picture; a re-execution of the run buys none again. The old pictures are kept.",
    )
    seed: int | None = Field(
        None,
        description="A seed for all; -1 draws one for each. A regenerate without it draws a new "
        "one. Empty: the users' default, or the actor's own.",
    )


class ImagesConfig(PicturesConfig):
    """How pictures of prompts are made; what is left empty is the users' default."""

    model: str | None = Field(
        None, description="The provider's model, such as stabilityai/stable-diffusion-xl-base-1.0."
    )
    image_size: str | None = Field(None, description="WIDTHxHEIGHT in pixels, such as 1080x1920.")
    steps: int | None = Field(None, description="Inference steps. Duomi: 1 to 100, 20 by default.")
    guidance: float | None = Field(
        None, description="How closely the prompt is followed. Duomi: 0 to 20, 7.5 by default."
    )
    negative_prompt: str | None = Field(None, description="What the pictures should not show.")

    def parameters(self) -> dict[str, Any]:
        """The fields of PromptParameters that are set here."""
        names = ("model", "image_size", "steps", "guidance", "seed", "negative_prompt")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}


class BaseImagesConfig(PicturesConfig):
    """How base images are made; what is left empty is the actor's own, or the default."""

    width: int | None = Field(None, description="Pixels, in steps of 16. The default is 1024.")
    height: int | None = Field(
        None, description="Pixels, in steps of 16. The default is 1536: full bodies want height."
    )
    steps: int | None = Field(None, description="Sampling steps. The default is 25.")

    def apply(self, actor: Actor) -> Actor:
        """The actor with what is set here."""
        names = ("width", "height", "steps", "seed")
        given = {name: getattr(self, name) for name in names}
        return replace(actor, **{k: v for k, v in given.items() if v is not None})
