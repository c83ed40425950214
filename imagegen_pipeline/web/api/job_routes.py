"""Routes for jobs: cost estimates, generations, progress, stop."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
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
MAX_KEYS = 10_000
MAX_ID = 2**53 - 1
"""The largest integer that is exact in JavaScript."""
JobId = Annotated[str, Path(pattern=JOB_ID, alias="job_id")]
Key = Annotated[str, Field(min_length=1, max_length=200, pattern=schemas.KEY_PATTERN)]
Text = Annotated[str, Field(max_length=100_000)]
Side = Annotated[int, Field(ge=1, le=99_999)]


class OverridesBody(BaseModel):
    """Fields that differ from the shown image's request; omitted ones keep its value."""

    model_config = ConfigDict(strict=True, extra="forbid")

    prompt: Annotated[str, Field(json_schema_extra={"pattern": schemas.TEXT_PATTERN})] | None = (
        Field(None, description="The prompt; for an actor, its description.")
    )
    negative_prompt: Text | None = None
    seed: (
        Annotated[int, Field(ge=-1, le=2**64 - 1)]
        | Literal["new", "same"]
        | Annotated[str, Field(pattern="^[0-9]{1,20}$")]
    ) = Field(
        "new",
        description="`new` draws one, `same` is the shown image's, or a number; a string if it "
        "is larger than 2^53.",
    )
    steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    width: Side | None = None
    height: Side | None = None
    guidance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    model: (
        Annotated[str, Field(max_length=200, json_schema_extra={"pattern": schemas.TEXT_PATTERN})]
        | None
    ) = None

    def as_overrides(self) -> Overrides:
        """The overrides for ``plan_regenerate``."""
        seed = self.seed
        if isinstance(seed, str) and seed.isdigit():
            seed = int(seed)
        return Overrides(**{**self.model_dump(), "seed": seed})


class CostEstimateBody(BaseModel):
    """The items, the mode and the overrides to estimate."""

    model_config = ConfigDict(strict=True, extra="forbid")

    keys: Annotated[list[Key], Field(min_length=1, max_length=MAX_KEYS)]
    mode: Literal["regenerate", "retry"] = Field(
        description="`regenerate`: another image of each; `retry`: what failed, again."
    )
    overrides: OverridesBody = Field(default_factory=OverridesBody)


class GenerationBody(CostEstimateBody):
    """The items to generate; the client chooses ``id``, one for each intent."""

    id: str = Field(
        pattern=JOB_ID,
        description="Sent again with the same id, it is the same job: nothing is bought twice.",
    )


@router.post(
    "/api/cost-estimates",
    responses={
        200: {"model": schemas.CostEstimateSchema, "description": "The estimate."},
        **schemas.problems(400, 408, 413, 415, 500, 502, 503),
    },
    summary="Estimate what a generation would do and cost.",
)
def cost_estimates(request: Request, body: CostEstimateBody) -> Response:
    """Sends and writes nothing."""
    pipeline = app_state_of(request).pipeline
    estimate = estimate_cost(
        pipeline, body.keys, mode=Mode(body.mode), overrides=body.overrides.as_overrides()
    )
    return PlainJSON({**asdict(estimate), "sentence": cost_sentence(estimate)})


@router.post(
    "/api/generations",
    responses={
        202: {"model": schemas.GENERATION, "description": "The job is accepted."},
        **schemas.problems(400, 408, 409, 413, 415, 500, 502, 503),
    },
    summary="Generate other images, or retry failed ones.",
)
def generations(request: Request, body: GenerationBody) -> Response:
    """Costs money: `/api/cost-estimates` says how much. Returns the job at once."""
    state = app_state_of(request)
    mode, overrides = Mode(body.mode), body.overrides.as_overrides()
    body_json = json.dumps(body.model_dump(), sort_keys=True)
    job = state.job_manager.submit_generation(
        body.id,
        hashlib.sha256(body_json.encode()).hexdigest(),  # the body may have a megabyte
        lambda intent: plan_regenerate(
            state.pipeline, body.keys, mode=mode, overrides=overrides, intent=intent
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
            "description": "The job; see `status`.",
        },
        **schemas.problems(400, 404, 500, 503),
    },
    summary="A job's progress and result.",
)
def job(request: Request, job_id: JobId) -> Response:
    """The job of a base image has the guide's response once it has ended."""
    state = app_state_of(request)
    open_job = state.job_manager.get(job_id)
    if open_job is not None:
        return PlainJSON(_as_json(state.pipeline, open_job))
    earlier = _from_ledger(state.pipeline, job_id)
    if earlier is None:
        return failure(
            404,
            "There is no such job. A job that only reused images is forgotten after an hour.",
        )
    return PlainJSON(earlier)


@router.post(
    "/api/jobs/{job_id}/stop",
    responses={
        202: {
            "model": schemas.ACCEPTED
            | schemas.GENERATION
            | schemas.BASE_IMAGE
            | schemas.FAILED_JOB,
            "description": "The job sends nothing more.",
        },
        **schemas.problems(400, 404, 408, 413, 415, 500, 503),
    },
    summary="Stop a job.",
)
def stop(request: Request, job_id: JobId) -> Response:
    """Nothing more is sent. Images that were requested already are paid for, and are kept."""
    state = app_state_of(request)
    open_job = state.job_manager.get(job_id)
    if open_job is None:
        return failure(404, "There is no such open job.")
    state.job_manager.stop(open_job)
    return PlainJSON(_as_json(state.pipeline, open_job), 202)


def _as_json(pipeline: Pipeline, job: Job) -> dict[str, Any]:
    if isinstance(job, GenerationJob):
        return job.as_json()
    if not isinstance(job, BaseImageJob):
        raise TypeError(f"a job of an unknown kind: {type(job).__name__}")
    if job.answer is None or not job.done.done():
        return in_progress(job)
    return {**answer_of(pipeline, job).body, "jobId": job.id, "kind": "base-image"}


def _from_ledger(pipeline: Pipeline, job_id: str) -> dict[str, Any] | None:
    """A job of an earlier process; None if the ledger has no attempt of it."""
    attempts = pipeline.ledger.attempts
    of_generation = attempts.of_run(generation_intent(job_id))
    if of_generation:
        return generation_of_attempts(job_id, of_generation)
    of_base_image = attempts.of_run(base_image_intent(job_id))
    if of_base_image:
        return _base_image_from_ledger(pipeline, job_id, of_base_image[-1])
    return None


def _base_image_from_ledger(pipeline: Pipeline, job_id: str, attempt: Attempt) -> dict[str, Any]:
    params = params_from(attempt)
    job = {"jobId": job_id, "kind": "base-image"}
    if attempt.state in OPEN_STATES:
        return {
            **job,
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
    return {**answer.body, **job}
