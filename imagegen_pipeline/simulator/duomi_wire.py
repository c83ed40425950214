"""Duomi's requests and answers on the wire."""

import re
import secrets
from typing import Any

from starlette.responses import JSONResponse

from imagegen_pipeline.simulator.pictures import Recipe
from imagegen_pipeline.simulator.worker_pool import State

SYNC_MODELS = frozenset(
    {
        "stabilityai/stable-diffusion-2-1",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "stabilityai/stable-diffusion-3-medium",
        "stabilityai/stable-diffusion-3-5-large",
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.1-dev",
    }
)
"""The models of the synchronous mode. [D]"""

ASYNC_MODELS = frozenset({"gpt-image-2"})
"""The models of the asynchronous mode. [C]"""

LISTED_SIZES = frozenset({"1024x1024", "512x1024", "768x512", "768x1024", "1024x576", "576x1024"})
"""The sizes that the documentation lists. [D]"""

GPT_PIXELS = range(655_360, 8_294_400 + 1)
LARGEST_SEED = 9_999_999_999

TASK_STATES: dict[State, str] = {
    "queued": "pending",
    "running": "running",
    "completed": "succeeded",
    "failed": "failed",
    "timed_out": "error",
    "cancelled": "cancelled",
}
"""Duomi's names of a task's states. [C]"""


class RequestRefusedError(Exception):
    """Duomi refuses the request; carries the answer to give."""

    def __init__(self, status: int, body: object) -> None:
        """Keep the HTTP status and the JSON body."""
        super().__init__(status, body)
        self.answer = JSONResponse(body, status_code=status)


def refused(message: str, code: int = 400, status: int = 400) -> RequestRefusedError:
    """A refusal in the documented form."""
    return RequestRefusedError(status, {"code": code, "message": message, "data": None})


def read_sync_recipes(body: dict[str, Any], *, strict_sizes: bool) -> tuple[Recipe, ...]:
    """The pictures that a synchronous request asks for; raises RequestRefusedError."""
    model = _known_model(body, SYNC_MODELS)
    prompt = _prompt(body)
    size = _size(body.get("image_size"))
    if strict_sizes and body["image_size"] not in LISTED_SIZES:
        raise _bad_size(body["image_size"])
    seed = body.get("seed", secrets.randbelow(LARGEST_SEED + 1))
    seed = int(_between(body | {"seed": seed}, "seed", 0, LARGEST_SEED, 0, whole=True))
    count = int(_between(body, "batch_size", 1, 4, 1, whole=True))
    steps = int(_between(body, "num_inference_steps", 1, 100, 20, whole=True))
    guidance = _between(body, "guidance_scale", 0, 20, 7.5)
    negative = body.get("negative_prompt") or ""
    return tuple(
        Recipe(prompt, seed + index, size, model, str(negative), steps, guidance)
        for index in range(count)
    )


def read_async_recipes(body: dict[str, Any]) -> tuple[Recipe, ...]:
    """The pictures that an asynchronous request asks for; raises RequestRefusedError."""
    model = _known_model(body, ASYNC_MODELS)
    prompt = _prompt(body)
    size = _size(body.get("size", "1024x1024"))
    if size[0] % 16 or size[1] % 16 or size[0] * size[1] not in GPT_PIXELS:
        raise _bad_size(body["size"])
    quality = body.get("quality", "auto")
    if quality not in ("auto", "low", "medium", "high"):
        raise refused(f"Invalid quality {quality!r}.")
    count = int(_between(body, "n", 1, 10, 1, whole=True))
    drawn = secrets.randbelow(LARGEST_SEED + 1)
    return tuple(Recipe(prompt, drawn + index, size, model, quality) for index in range(count))


def _known_model(body: dict[str, Any], known: frozenset[str]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or model not in known:
        raise refused("Model does not exist. Please check it carefully.", code=20012)
    return model


def _prompt(body: dict[str, Any]) -> str:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise refused("The parameter prompt is required.")
    return prompt


def _bad_size(size: object) -> RequestRefusedError:
    return refused(f"The image size {size!r} is not supported.", code=20026)


def _size(size: object) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size) if isinstance(size, str) else None
    if found is None:
        raise _bad_size(size)
    width, height = int(found[1]), int(found[2])
    if not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise _bad_size(size)
    return width, height


def _between(
    body: dict[str, Any],
    name: str,
    low: float,
    high: float,
    default: float,
    *,
    whole: bool = False,
) -> float:
    value = body.get(name, default)
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        raise refused(f"The parameter {name} must be between {low} and {high}.")
    return value
