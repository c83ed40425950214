"""Routes for base images; ``POST /api/generate-base-image`` is the guide's endpoint."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from imagegen_pipeline.app.base_image import (
    BaseImageAnswer,
    BaseImageParams,
    base_image_answer,
    failed,
    invalid_reason,
    picture_bytes,
)
from imagegen_pipeline.domain.actors import (
    DEFAULT_HEIGHT,
    DEFAULT_STEPS,
    DEFAULT_WIDTH,
    RANDOM_SEED,
)
from imagegen_pipeline.domain.comfy.limits import (
    LARGEST_SEED,
    LARGEST_SIDE,
    MOST_STEPS,
    SIZE_STEP,
    SMALLEST_SIDE,
)
from imagegen_pipeline.domain.comfy.workflow import check_size
from imagegen_pipeline.domain.errors import RequestRefusedError
from imagegen_pipeline.domain.partition_keys import LONGEST_KEY, is_key
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.web.api.responses import PlainJSON, failure
from imagegen_pipeline.web.api.schemas import (
    ACCEPTED,
    BASE_IMAGE,
    KEY_PATTERN,
    TEXT_PATTERN,
    problems,
)
from imagegen_pipeline.web.app_state import app_state_of
from imagegen_pipeline.web.jobs.job import BaseImageJob

router = APIRouter(tags=["base images"])
_SIDE: dict[str, Any] = {
    "minimum": SMALLEST_SIDE,
    "maximum": LARGEST_SIDE,
    "multipleOf": SIZE_STEP,
}


class BaseImageRequest(BaseModel):
    """The body of the guide's endpoint. Numbers are integers; other fields are refused."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "example": {
                "actorName": "0100_european_25_male",
                "description": "european 25 year old male with short brown hair and blue eyes",
                "width": 1024,
                "height": 1536,
                "steps": 25,
                "seed": -1,
            }
        },
    )

    actor_name: str = Field(
        alias="actorName",
        description="The actor's folder name.",
        json_schema_extra={"minLength": 1, "maxLength": LONGEST_KEY, "pattern": KEY_PATTERN},
    )
    description: str = Field(
        description="Ethnicity, age, gender and distinctive features.",
        json_schema_extra={"minLength": 1, "pattern": TEXT_PATTERN},
    )
    width: int = Field(DEFAULT_WIDTH, description="Pixels.", json_schema_extra=_SIDE)
    height: int = Field(DEFAULT_HEIGHT, description="Pixels.", json_schema_extra=_SIDE)
    steps: int = Field(
        DEFAULT_STEPS,
        description="Sampling steps.",
        json_schema_extra={"minimum": 1, "maximum": MOST_STEPS},
    )
    seed: int = Field(
        RANDOM_SEED,
        description="-1 draws a random one.",
        json_schema_extra={"minimum": RANDOM_SEED, "maximum": LARGEST_SEED},
    )
    regenerate: bool = Field(
        default=False,
        description="Generate another image although one exists for this request. Costs money.",
    )

    def params(self) -> BaseImageParams:
        """The parameters, not validated."""
        return BaseImageParams(
            self.actor_name,
            self.description.strip(),
            self.width,
            self.height,
            self.steps,
            self.seed,
        )


@router.post(
    "/api/generate-base-image",
    responses={
        200: {"model": BASE_IMAGE, "description": "The image is stored."},
        202: {"model": ACCEPTED, "description": "With `async=1`: the job's address."},
        **problems(400, 408, 413, 415, 429, 500, 502, 503),
    },
    summary="Generate an actor's base image.",
)
async def generate(
    request: Request,
    body: BaseImageRequest,
    run_async: Annotated[
        int, Query(alias="async", ge=0, le=1, description="1: do not wait for the image.")
    ] = 0,
) -> Response:
    """Generate the image, or return the existing one: the same request again costs nothing.

    The same request while the first is in flight joins it. The generation does not depend on
    the client; `GET /api/base-images/{actorName}` returns the image later.
    """
    state, params = app_state_of(request), body.params()
    reason = _invalid_reason(params)
    if reason is not None:
        return _as_response(failed(400, params, reason))
    job = await run_in_threadpool(
        state.job_manager.submit_base_image, params, regenerate=body.regenerate
    )
    if run_async:
        return PlainJSON(in_progress(job), 202, headers={"location": f"/api/jobs/{job.id}"})
    # Shielded: a client that disconnects must not cancel the job that others wait for.
    await asyncio.shield(asyncio.wrap_future(job.done))
    return await run_in_threadpool(lambda: _as_response(answer_of(state.pipeline, job)))


def _invalid_reason(params: BaseImageParams) -> str | None:
    reason = invalid_reason(params)
    if reason is not None:
        return reason
    try:
        check_size(params.width, params.height)
    except RequestRefusedError as error:
        return error.sentence
    return None


@router.get(
    "/api/base-images/{actorName}",
    responses={
        200: {"model": BASE_IMAGE, "description": "The actor's current base image."},
        202: {"model": ACCEPTED, "description": "It is being generated."},
        **problems(400, 404, 500, 503),
    },
    summary="An actor's current base image.",
)
def current(
    request: Request,
    actor_name: Annotated[
        str,
        Path(
            alias="actorName",
            json_schema_extra={"pattern": KEY_PATTERN, "minLength": 1, "maxLength": LONGEST_KEY},
        ),
    ],
) -> Response:
    """The guide's response for the current image, or the job that is generating one."""
    state = app_state_of(request)
    if not is_key(actor_name):
        return failure(404, "That is not an actor's name: a name has letters, digits, _ and -.")
    job = state.job_manager.find_base_image(actor_name)
    if job is not None:
        return PlainJSON(in_progress(job), 202, headers={"location": f"/api/jobs/{job.id}"})
    answer = base_image_answer(state.pipeline, actor_name)
    if answer is None:
        return failure(
            404,
            f"{actor_name} has no base image. POST /api/generate-base-image generates one.",
        )
    return _as_response(answer)


def in_progress(job: BaseImageJob) -> dict[str, Any]:
    """The body for a job that has not ended."""
    return {
        "status": "IN_QUEUE" if job.status == "IN_QUEUE" else "IN_PROGRESS",
        "jobId": job.id,
        "kind": "base-image",
        "job": f"/api/jobs/{job.id}",
        "warnings": job.params.warnings,
    }


def answer_of(pipeline: Pipeline, job: BaseImageJob) -> BaseImageAnswer:
    """The response of a job that has ended, with the image read from disk."""
    answer = job.answer
    if answer is None:
        raise RuntimeError(f"job {job.id} has ended without an answer")
    if answer.status_code != 200 or answer.outcome is None:
        return answer
    picture = base64.b64encode(picture_bytes(pipeline, answer.outcome)).decode()
    output = {"job_results": {"images": [picture]}}
    return BaseImageAnswer(200, {**answer.body, "output": output}, answer.outcome)


def _as_response(answer: BaseImageAnswer) -> Response:
    body = dict(answer.body)
    if answer.status_code == 400:
        body.pop("filename", None)  # the actor's name may be invalid
    return PlainJSON(body, answer.status_code)
