"""The users' default parameters, and the requests that are built from them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.domain.partition_keys import safe_file_stem
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import (
    DEFAULT_PROVIDERS,
    GenerationRequest,
    ProviderName,
)

DEFAULT_MODEL = "stabilityai/stable-diffusion-xl-base-1.0"
DEFAULT_SIZE = "1080x1920"
DEFAULT_STEPS = 20
DEFAULT_GUIDANCE = 7.5
DEFAULT_SEED = 51515151
FLUX_MODEL = "flux1-dev-fp8"
FLUX_GUIDANCE = 3.5
_SIZE = re.compile(r"([1-9]\d{0,4})\s*[xX×]\s*([1-9]\d{0,4})")  # noqa: RUF001 - people type it


def parse_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` as two numbers of pixels; raises RequestRefusedError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise RequestRefusedError(
            f"{text!r} is not a size.", remedy=f"Write WIDTHxHEIGHT, such as {DEFAULT_SIZE}."
        )
    return int(match[1]), int(match[2])


@dataclass(frozen=True, slots=True)
class PromptParameters:
    """Parameters of images of prompts. The defaults are Duomi's."""

    provider: ProviderName = DEFAULT_PROVIDERS["prompt"]
    model: str = DEFAULT_MODEL
    image_size: str = DEFAULT_SIZE
    steps: int = DEFAULT_STEPS
    guidance: float = DEFAULT_GUIDANCE
    seed: int = DEFAULT_SEED
    negative_prompt: str = ""

    def request(self, prompt: Prompt, *, workflow_digest: str = "") -> GenerationRequest:
        """The request for one prompt; raises RequestRefusedError for a malformed size.

        ``workflow_digest`` is the digest of the graph, for a provider that runs one.
        """
        width, height = parse_size(self.image_size)
        return GenerationRequest(
            provider=self.provider,
            model=self.model,
            prompt=prompt.text,
            negative_prompt=self.negative_prompt,
            width=width,
            height=height,
            steps=self.steps,
            guidance=float(self.guidance),
            seed=self.seed,
            workflow_digest=workflow_digest,
        )


def base_image_request(
    actor: Actor,
    *,
    provider: ProviderName,
    model: str = FLUX_MODEL,
    workflow_digest: str = "",
    guidance: float = FLUX_GUIDANCE,
) -> GenerationRequest:
    """The request for an actor's base image."""
    return GenerationRequest(
        provider=provider,
        model=model,
        prompt=actor.prompt,
        width=actor.width,
        height=actor.height,
        steps=actor.steps,
        guidance=guidance,
        seed=actor.seed,
        workflow_digest=workflow_digest,
    )


def file_prefix(prompt: Prompt) -> str:
    """The users' file name without its time: ``db_{name}``, ``{json stem}``, …"""
    if prompt.source == "database":
        return "db_" + safe_file_stem(str(prompt.descriptive_name or prompt.row_id))
    if prompt.source == "json":
        stem = (prompt.filename or prompt.key).rpartition(".")[0] or prompt.key
        return safe_file_stem(stem)
    return "single_prompt"


def file_time(now: float) -> str:
    """The time in a file's name: ``%Y%m%d_%H%M%S``, local time as in the users' script."""
    return time.strftime("%Y%m%d_%H%M%S", time.localtime(now))
