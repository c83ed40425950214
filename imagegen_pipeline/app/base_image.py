"""Generates one actor's base image and builds the guide's HTTP response."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.actors import (
    DEFAULT_HEIGHT,
    DEFAULT_STEPS,
    DEFAULT_WIDTH,
    RANDOM_SEED,
    Actor,
    description_in,
    description_warnings,
    size_warnings,
)
from imagegen_pipeline.domain.comfy.limits import LARGEST_SEED, MOST_STEPS
from imagegen_pipeline.domain.comfy.workflow import check_size
from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.partition_keys import LONGEST_KEY, is_key
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.domain.requests import Attempt, Outcome
from imagegen_pipeline.engine import Batch, BatchOptions
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.providers.registry import registry
from imagegen_pipeline.sources.actors import LEADS_OUTSIDE, MOVE_IT_HERE, leads_outside
from imagegen_pipeline.storage.atomic_files import temporary_file

MISSING_FIELDS = "Missing required fields: actorName and description are required"
_NO_RESPONSE = ("unreachable", "busy", "unknown", "bad_answer")
_REFUSED = ("account", "missing_key", "rate_limited", "bad_request")
_NOT_THE_PROMPT = (
    *("stopped", "given_up", "decision", "spending", "budget", "unknown_price", "day_limit"),
    *("store", "name_taken", "ledger", "attempt_moved", "lease_lost", "internal"),
)
"""Errors that another description would not avoid."""


@dataclass(frozen=True, slots=True)
class BaseImageParams:
    """The parameters of the endpoint and the command: pixels, steps, a seed (-1: random)."""

    actor_name: str
    description: str
    width: int = DEFAULT_WIDTH
    height: int = DEFAULT_HEIGHT
    steps: int = DEFAULT_STEPS
    seed: int = RANDOM_SEED

    @property
    def warnings(self) -> list[str]:
        """Advice on the description and size; nothing is refused for it."""
        return description_warnings(self.description) + size_warnings(self.width, self.height)


@dataclass(frozen=True, slots=True)
class BaseImageAnswer:
    """The guide's JSON with its HTTP status and the outcome that it describes."""

    status_code: int
    body: dict[str, Any]
    outcome: Outcome | None = field(default=None)


def invalid_reason(params: BaseImageParams) -> str | None:
    """Why the parameters are invalid; None if they are valid."""
    if not params.actor_name.strip() or not params.description.strip():
        return MISSING_FIELDS
    fault = prompt_text_fault(params.description, "description")
    if fault is not None:
        return " ".join(fault)
    if not is_key(params.actor_name):
        return (
            f"{params.actor_name[:LONGEST_KEY]!r} is not an actor's folder name: letters, digits, "
            f"_ and - only, such as 0100_european_25_male, and no more than {LONGEST_KEY}"
        )
    if not 1 <= params.steps <= MOST_STEPS:
        return f"steps are 1 to {MOST_STEPS}, not {params.steps}"
    if not RANDOM_SEED <= params.seed <= LARGEST_SEED:
        return f"seed is -1 (random) or 0 to {LARGEST_SEED}, not {params.seed}"
    return None


def generate_base_image(
    pipeline: Pipeline,
    params: BaseImageParams,
    *,
    options: BatchOptions | None = None,
    on_start: Callable[[Batch], None] = lambda _batch: None,
) -> BaseImageAnswer:
    """Generate an actor's base image, or reuse it.

    ``on_start`` gets the batch before anything is sent, so that the caller can stop it.

    An actor without an ``actor.json`` gets one. An existing one with another description is
    not changed, and this image counts for it.
    Raises RequestRefusedError for a size that the workflow cannot generate, and SetupError.
    """
    reason = invalid_reason(params) or _folder_fault(pipeline, params)
    if reason is not None:
        return failed(400, params, reason)
    check_size(params.width, params.height)
    # Raises for a missing key before an actor is written.
    pipeline.provider(pipeline.settings.actor_provider)
    actor, own = _register_actor(pipeline, params)
    batch = pipeline.generate_base_images([actor], options or pipeline.order(), own=own)
    on_start(batch)
    (outcome,) = tuple(batch)
    if not outcome.ok:
        return failed(502, params, failure_text(pipeline, outcome), outcome)
    return completed(pipeline, params, actor.prompt, outcome)


def base_image_answer(pipeline: Pipeline, actor_name: str) -> BaseImageAnswer | None:
    """The response for the actor's current base image; None without one."""
    outcome = pipeline.current_outcome(actor_name)
    attempt = None if outcome is None else outcome.attempt
    if outcome is None or attempt is None or attempt.kind != "actor":
        return None
    return completed(pipeline, params_from(attempt), attempt.sent_request.prompt, outcome)


def params_from(attempt: Attempt) -> BaseImageParams:
    """The parameters of an attempt, with the seed that was used."""
    request = attempt.sent_request
    return BaseImageParams(
        attempt.item_key,
        description_in(request.prompt) or request.prompt,
        request.width,
        request.height,
        request.steps,
        attempt.seed,
    )


def _folder_fault(pipeline: Pipeline, params: BaseImageParams) -> str | None:
    """Why nothing may be written to the actor's folder: it is a link that leads outside."""
    settings = pipeline.settings
    for roster in {settings.actors_dir, settings.base_images_dir}:
        if leads_outside(roster / params.actor_name, roster):
            return f"{params.actor_name}: {LEADS_OUTSIDE} {MOVE_IT_HERE}"
    return None


def _register_actor(pipeline: Pipeline, params: BaseImageParams) -> tuple[Actor, str | None]:
    """The actor to generate, and the fingerprint of the roster's request if it differs."""
    folder = pipeline.settings.actors_dir / params.actor_name
    actor = Actor(
        name=params.actor_name,
        description=params.description.strip(),
        container=str(pipeline.settings.actors_dir),
        location=str(folder / "actor.json"),
        width=params.width,
        height=params.height,
        steps=params.steps,
        seed=params.seed,
    )
    if not (folder / "actor.json").exists() and not pipeline.settings.simulator:
        _write_actor(folder / "actor.json", actor)
    known = pipeline.sources.scan_actor(params.actor_name)
    if known is None:
        pipeline.register(actor)
        return actor, None
    own = pipeline.base_image_request(known).fingerprint
    return actor, None if known == actor else own


def _write_actor(path: Path, actor: Actor) -> None:
    fields = {
        "description": actor.description,
        "width": actor.width,
        "height": actor.height,
        "steps": actor.steps,
        "seed": actor.seed,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(fields, ensure_ascii=False, indent=2) + "\n"
        temporary_file(path, text.encode()).replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from error


def _metadata(params: BaseImageParams, prompt: str) -> dict[str, Any]:
    return {
        "actor_name": params.actor_name,
        "description": params.description,
        "width": params.width,
        "height": params.height,
        "steps": params.steps,
        "prompt": prompt,
    }


def picture_bytes(pipeline: Pipeline, outcome: Outcome) -> bytes:
    """The PNG of the outcome's own attempt; raises StoreError.

    It is read from the attempt's file: a later request may have replaced the image at the
    actor's fixed path.
    """
    file, attempt = Path(outcome.path or ""), outcome.attempt
    if attempt is not None and attempt.path is not None:
        own = pipeline.store.absolute(attempt.path).with_suffix(".png")
        file = own if own.is_file() else file
    try:
        return file.read_bytes()
    except OSError as error:
        raise StoreError(f"{file} cannot be read: {error.strerror}.") from error


def completed(
    pipeline: Pipeline, params: BaseImageParams, prompt: str, outcome: Outcome
) -> BaseImageAnswer:
    """The response for a stored image; raises StoreError if it cannot be read."""
    attempt = outcome.attempt
    picture = picture_bytes(pipeline, outcome)
    name = f"{params.actor_name}_base.png"
    warnings = [*params.warnings, *outcome.warnings]
    if pipeline.settings.simulator:
        warnings.append(f"The simulator made this image; it is stored at {outcome.path}.")
    body = {
        "status": "COMPLETED",
        "output": {"job_results": {"images": [base64.b64encode(picture).decode()]}},
        "localPath": f"/data/actors/{params.actor_name}/base_image/{name}",
        "filename": name,
        "seed": attempt.seed if attempt else None,
        "metadata": _metadata(params, prompt),
        "warnings": warnings,
    }
    return BaseImageAnswer(200, body, outcome)


def failed(
    status_code: int, params: BaseImageParams, error: str, outcome: Outcome | None = None
) -> BaseImageAnswer:
    """The response for an error."""
    body: dict[str, Any] = {
        "status": "FAILED",
        "error": error,
        "filename": f"{params.actor_name}_base.png",
        "warnings": params.warnings,
    }
    return BaseImageAnswer(status_code, body, outcome)


def failure_text(pipeline: Pipeline, outcome: Outcome) -> str:
    """One of the guide's three error texts with cause and remedy. The provider's own hint is
    omitted if the description is not the cause (a stop, a budget, a full disk).
    """
    name = outcome.attempt.provider if outcome.attempt else pipeline.settings.actor_provider
    provider = registry().get(name)
    hints = provider.failure_hints
    if outcome.error_kind in _NO_RESPONSE:
        head, hint = f"No response from {provider.title}", hints.no_response
    elif outcome.error_kind in _REFUSED:
        head, hint = f"{provider.title} error", hints.refused
    else:
        head, hint = "Generation failed", hints.failed
    hint = "" if outcome.error_kind in _NOT_THE_PROMPT else hint
    return " ".join(filter(None, (f"{head}:", outcome.error, outcome.remedy, hint)))
