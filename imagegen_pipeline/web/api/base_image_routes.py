"""``POST /api/generate-base-image``: the users' endpoint, as their guide has it."""

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
    picture_bytes,
    refusal,
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
    """What a base image is asked for with. Numbers are whole; other fields are refused."""

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
        description="-1 draws one at random.",
        json_schema_extra={"minimum": RANDOM_SEED, "maximum": LARGEST_SEED},
    )
    regenerate: bool = Field(
        default=False,
        description="Make another picture although there is one of this wish. It costs money.",
    )

    def params(self) -> BaseImageParams:
        """The wish; what makes it no wish is ``refusal``'s to say."""
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
        200: {"model": BASE_IMAGE, "description": "The picture is there."},
        202: {"model": ACCEPTED, "description": "With `async=1`: ask the job's address."},
        **problems(400, 408, 413, 415, 429, 500, 502, 503),
    },
    summary="Make an actor's base image.",
)
async def generate(
    request: Request,
    asked: BaseImageRequest,
    run_async: Annotated[
        int, Query(alias="async", ge=0, le=1, description="1: do not wait for the picture.")
    ] = 0,
) -> Response:
    """Make it, or answer with the one that is there: the same wish again costs nothing.

    The same request while the first is under way joins it. The picture is made to its end
    whether or not anybody waits for it; `GET /api/base-images/{actorName}` finds it again.
    """
    studio, params = app_state_of(request), asked.params()
    reason = _reason_against(params)
    if reason is not None:
        return _as_response(failed(400, params, reason))
    job = await run_in_threadpool(
        studio.job_manager.base_image, params, regenerate=asked.regenerate
    )
    if run_async:
        return PlainJSON(in_progress(job), 202, headers={"location": f"/api/jobs/{job.id}"})
    # Shielded: the job is everybody's who waits for it, and goes on without any of them.
    await asyncio.shield(asyncio.wrap_future(job.done))
    return await run_in_threadpool(lambda: _as_response(answer_of(studio.pipeline, job)))


def _reason_against(params: BaseImageParams) -> str | None:
    reason = refusal(params)
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
        202: {"model": ACCEPTED, "description": "It is being made."},
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
    """The users' answer for the picture that is there, or the job that makes one now."""
    studio = app_state_of(request)
    if not is_key(actor_name):
        return failure(404, "There is no actor of that name: a name has letters, digits, _ and -.")
    job = studio.job_manager.of_actor(actor_name)
    if job is not None:
        return PlainJSON(in_progress(job), 202, headers={"location": f"/api/jobs/{job.id}"})
    answer = base_image_answer(studio.pipeline, actor_name)
    if answer is None:
        return failure(
            404,
            f"{actor_name} has no base image. POST /api/generate-base-image makes one.",
        )
    return _as_response(answer)


def in_progress(job: BaseImageJob) -> dict[str, Any]:
    """A job that has not ended."""
    return {
        "status": "IN_QUEUE" if job.status == "IN_QUEUE" else "IN_PROGRESS",
        "jobId": job.id,
        "kind": "base-image",
        "job": f"/api/jobs/{job.id}",
        "warnings": job.params.warnings,
    }


def answer_of(pipeline: Pipeline, job: BaseImageJob) -> BaseImageAnswer:
    """The users' answer of a job that has ended, its picture read from the disk."""
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
        body.pop("filename", None)  # of a name that may be none
    return PlainJSON(body, answer.status_code)
