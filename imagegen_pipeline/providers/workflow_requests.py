"""What the providers that run the ComfyUI graph have in common: limits, defaults, binding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.comfy.limits import (
    LARGEST_SEED,
    LARGEST_SIDE,
    MOST_GUIDANCE,
    MOST_STEPS,
    SIZE_STEP,
    SMALLEST_SIDE,
)
from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.domain.parameters import FLUX_GUIDANCE, FLUX_MODEL, PromptParameters
from imagegen_pipeline.domain.requests import GenerationRequest, ProviderName
from imagegen_pipeline.providers.base import Capabilities

if TYPE_CHECKING:
    from imagegen_pipeline.domain.comfy.workflow import Workflow

GRAPH_CAPABILITIES = Capabilities(
    steps=(1, MOST_STEPS),
    guidance=(0, MOST_GUIDANCE),
    seed=(0, LARGEST_SEED),
    side=(SMALLEST_SIDE, LARGEST_SIDE),
    side_step=SIZE_STEP,
    health=True,
    cancel=True,
)
_SIZE = "1088x1920"
"""The nearest size to the users' 1080x1920 whose sides are multiples of 16."""
_STEPS = 25


def graph_parameters(provider: ProviderName) -> PromptParameters:
    """The defaults for images of prompts that the FLUX graph makes."""
    return PromptParameters(
        provider=provider,
        model=FLUX_MODEL,
        image_size=_SIZE,
        steps=_STEPS,
        guidance=FLUX_GUIDANCE,
    )


def bind_request(request: GenerationRequest, workflow: Workflow) -> dict[str, Any]:
    """The graph with the request's values; raises RequestRefusedError."""
    if request.model != FLUX_MODEL:
        raise RequestRefusedError(
            f"The workflow decides the model, so {request.model[:200]!r} cannot be asked for.",
            remedy="Leave the model out, or swap in a graph that has it (IMAGEGEN_WORKFLOW).",
        )
    return workflow.bind(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        steps=request.steps,
        seed=request.seed,
        guidance=None if workflow.guidance is None else request.guidance,
    )


def check_graph_request(request: GenerationRequest, workflow: Workflow) -> None:
    """Raises RequestRefusedError for what ComfyUI, or this graph, would refuse."""
    bind_request(request, workflow)
