"""Jobs: pictures made anew, how far they are, and how they are stopped."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from imagegen_pipeline.app.base_image import completed, failed, failure_text, params_from
from imagegen_pipeline.app.cost_estimate import estimate_cost
from imagegen_pipeline.app.regenerate import Mode, Overrides, plan_regenerate
from imagegen_pipeline.domain.requests import OPEN_STATES, Attempt, Outcome, State, Status
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.api import schemas
from imagegen_pipeline.web.api.base_image_routes import answer_of, in_progress
from imagegen_pipeline.web.api.responses import PlainJSON, failure
from imagegen_pipeline.web.app_state import app_state_of
from imagegen_pipeline.web.gallery.cost_text import cost_sentence
from imagegen_pipeline.web.jobs.job import (
    BaseImageJob,
    GenerationJob,
    Job,
    base_image_intent,
    generation_intent,
    generation_of_attempts,
)

router = APIRouter(tags=["jobs"])
JOB_ID = r"^[A-Za-z0-9_-]{8,64}$"
MOST_KEYS = 10_000
LARGEST = 2**53 - 1
"""Exact in every script; no ledger has so many attempts."""
JobId = Annotated[str, Path(pattern=JOB_ID, alias="job_id")]
Key = Annotated[str, Field(min_length=1, max_length=200, pattern=schemas.KEY_PATTERN)]
Text = Annotated[str, Field(max_length=100_000)]
Side = Annotated[int, Field(ge=1, le=99_999)]


class OverridesBody(BaseModel):
    """What of the shown picture's request is to differ; what is left out stays as it was."""

    model_config = ConfigDict(strict=True, extra="forbid")

    prompt: Annotated[str, Field(json_schema_extra={"pattern": schemas.TEXT_PATTERN})] | None = (
        Field(None, description="The prompt; for an actor its description.")
    )
    negative_prompt: Text | None = None
    seed: (
        Annotated[int, Field(ge=-1, le=2**64 - 1)]
        | Literal["new", "same"]
        | Annotated[str, Field(pattern="^[0-9]{1,20}$")]
    ) = Field(
        "new",
        description="`new` draws one, `same` is the shown picture's, or a number; as a text "
        "where it is larger than a script's numbers are exact.",
    )
    steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    width: Side | None = None
    height: Side | None = None
    guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    model: (
        Annotated[str, Field(max_length=200, json_schema_extra={"pattern": schemas.TEXT_PATTERN})]
        | None
    ) = None

    def change(self) -> Overrides:
        """The change as ``remaking`` has it."""
        seed = self.seed
        if isinstance(seed, str) and seed.isdigit():
            seed = int(seed)
        return Overrides(**{**self.model_dump(), "seed": seed})


class CostEstimateBody(BaseModel):
    """What would be made."""

    model_config = ConfigDict(strict=True, extra="forbid")

    keys: Annotated[list[Key], Field(min_length=1, max_length=MOST_KEYS)]
    how: Literal["regenerate", "retry"] = Field(
        description="`regenerate`: another picture of each; `retry`: once more what failed."
    )
    change: OverridesBody = Field(default_factory=OverridesBody)


class GenerationBody(CostEstimateBody):
    """What is to be made; ``id`` is the client's own, and names this one click."""

    id: str = Field(
        pattern=JOB_ID, description="Sent again, it is the same job: nothing is bought twice."
    )


@router.post(
    "/api/quotes",
    responses={
        200: {"model": schemas.CostEstimateSchema, "description": "What it would do and cost."},
        **schemas.problems(400, 408, 413, 415, 500, 502, 503),
    },
    summary="Say what a generation would do and cost.",
)
def quotes(request: Request, asked: CostEstimateBody) -> Response:
    """Nothing is sent and nothing is written."""
    pipeline = app_state_of(request).pipeline
    found = estimate_cost(pipeline, asked.keys, how=Mode(asked.how), change=asked.change.change())
    figures = {name: getattr(found, name) for name in found.__slots__}
    return PlainJSON({**figures, "sentence": cost_sentence(found)})


@router.post(
    "/api/generations",
    responses={
        202: {"model": schemas.GENERATION, "description": "It is being made."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 502, 503),
    },
    summary="Make pictures anew, or those that failed.",
)
def generations(request: Request, asked: GenerationBody) -> Response:
    """Costs money: `/api/quotes` says how much. Answers at once, with the job."""
    studio = app_state_of(request)
    how, change = Mode(asked.how), asked.change.change()
    whole = json.dumps(asked.model_dump(), sort_keys=True)
    job = studio.job_manager.generation(
        asked.id,
        hashlib.sha256(whole.encode()).hexdigest(),  # the body may have a megabyte
        lambda intent: plan_regenerate(
            studio.pipeline, asked.keys, how=how, change=change, intent=intent
        ),
    )
    return PlainJSON(job.as_json(), 202, headers={"location": f"/api/jobs/{job.id}"})


@router.get(
    "/api/jobs/{job_id}",
    responses={
        200: {
            "model": schemas.BASE_IMAGE
            | schemas.ACCEPTED
            | schemas.FAILED_JOB
            | schemas.GENERATION,
            "description": "How it stands with the job: see `status`.",
        },
        **schemas.problems(400, 404, 500, 503),
    },
    summary="How far a job is.",
)
def job(request: Request, job_id: JobId) -> Response:
    """A base image's job has the users' answer once it has ended."""
    studio = app_state_of(request)
    known = studio.job_manager.get(job_id)
    if known is not None:
        return PlainJSON(_as_json(studio.pipeline, known))
    found = _of_ledger(studio.pipeline, job_id)
    if found is None:
        return failure(
            404, "There is no such job; one that only reused a picture is not kept for ever."
        )
    return PlainJSON(found)


@router.post(
    "/api/jobs/{job_id}/stop",
    responses={
        202: {
            "model": schemas.ACCEPTED
            | schemas.GENERATION
            | schemas.BASE_IMAGE
            | schemas.FAILED_JOB,
            "description": "Nothing more is sent.",
        },
        **schemas.problems(400, 404, 408, 413, 415, 500, 503),
    },
    summary="Send nothing more for a job.",
)
def stop(request: Request, job_id: JobId) -> Response:
    """What was sent already is paid for: it is waited for, and kept."""
    studio = app_state_of(request)
    known = studio.job_manager.get(job_id)
    if known is None:
        return failure(404, "There is no such job under way.")
    studio.job_manager.stop(known)
    return PlainJSON(_as_json(studio.pipeline, known), 202)


def _as_json(pipeline: Pipeline, job: Job) -> dict[str, Any]:
    if isinstance(job, GenerationJob):
        return job.as_json()
    if not isinstance(job, BaseImageJob):
        raise TypeError(f"a job of an unknown kind: {type(job).__name__}")
    if job.answer is None or not job.done.done():
        return in_progress(job)
    return {**answer_of(pipeline, job).body, "jobId": job.id, "kind": "base-image"}


def _of_ledger(pipeline: Pipeline, job_id: str) -> dict[str, Any] | None:
    """A job that this process does not know, as the ledger has it."""
    attempts = pipeline.ledger.attempts
    many = attempts.of_run(generation_intent(job_id))
    if many:
        return generation_of_attempts(job_id, many)
    made = attempts.of_run(base_image_intent(job_id))
    return _base_image_of_ledger(pipeline, job_id, made[-1]) if made else None


def _base_image_of_ledger(pipeline: Pipeline, job_id: str, attempt: Attempt) -> dict[str, Any]:
    params = params_from(attempt)
    named = {"jobId": job_id, "kind": "base-image"}
    if attempt.state in OPEN_STATES:
        return {
            **named,
            "status": "IN_PROGRESS",
            "job": f"/api/jobs/{job_id}",
            "warnings": params.warnings,
        }
    if attempt.state is State.STORED:
        path = str(pipeline.picture_path(attempt))
        outcome = Outcome(attempt.item_key, Status.REUSED, attempt=attempt, path=path)
        answer = completed(pipeline, params, attempt.sent_request.prompt, outcome)
    else:
        outcome = Outcome(
            attempt.item_key,
            Status.FAILED,
            attempt=attempt,
            error_kind=attempt.error_kind,
            error=attempt.error,
            remedy=attempt.remedy,
        )
        answer = failed(502, params, failure_text(pipeline, outcome), outcome)
    return {**answer.body, **named}
