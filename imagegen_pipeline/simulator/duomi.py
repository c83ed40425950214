"""The simulated Duomi: synchronous and asynchronous image generation."""

import json
import time
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegen_pipeline.simulator.duomi_wire import (
    TASK_STATES,
    RequestRefusedError,
    read_async_recipes,
    read_sync_recipes,
    refused,
)
from imagegen_pipeline.simulator.fault_answers import CODES_IN_200, answer_through
from imagegen_pipeline.simulator.faults import (
    JOB_FAULTS,
    OUTCOME_FAULTS,
    OUTPUT_FAULTS,
    PICTURE_FAULTS,
    TRANSPORT_FAULTS,
    Fault,
)
from imagegen_pipeline.simulator.result_urls import Files, encoding_under
from imagegen_pipeline.simulator.simulation import RateWindow, Simulation
from imagegen_pipeline.simulator.worker_pool import Job, WorkerPool

SYNC_FAULTS = TRANSPORT_FAULTS | OUTPUT_FAULTS | PICTURE_FAULTS | {"job_failed"}
ASYNC_FAULTS = TRANSPORT_FAULTS | OUTCOME_FAULTS

Fields = dict[str, Any]


class Duomi:
    """Answers ``/duomi/v1``."""

    def __init__(self, sim: Simulation, files: Files) -> None:
        """Start with no tasks."""
        self._sim = sim
        self._files = files
        self.worker_pool = WorkerPool(sim, "duomi")
        self._rate = RateWindow(sim.options.rate_limit, 60)

    def clear(self) -> None:
        """Forget all tasks and the rate so far."""
        self.worker_pool.clear()
        self._rate = RateWindow(self._sim.options.rate_limit, 60)

    async def generate(self, request: Request) -> Response:
        """``POST /v1/images/generations``, with ``?async=true`` a task."""
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        body = _fields(await request.body())
        in_background = request.query_params.get("async", "").lower() == "true"
        prompt = body.get("prompt") if body is not None else None
        fault = self._sim.faults.take(
            "duomi",
            "submit",
            prompt if isinstance(prompt, str) else None,
            ASYNC_FAULTS if in_background else SYNC_FAULTS,
        )

        async def work() -> Response:
            if not self._rate.admits():
                return _rate_limited()
            outcome = fault if fault is not None and not fault.on_transport else None
            try:
                if body is None:
                    raise refused("The request body is not a JSON object.")
                if in_background:
                    return self._begin_task(body, outcome)
                return await self._generate_now(request, body, outcome)
            except RequestRefusedError as refusal:
                return refusal.answer

        return await answer_through(fault, request, self._sim.connections, work)

    async def task(self, request: Request) -> Response:
        """``GET /v1/tasks/{id}``."""
        if (refusal := self._refuse_key(request)) is not None:
            return refusal
        job = self.worker_pool.jobs.get(request.path_params["id"])
        applicable = TRANSPORT_FAULTS
        if job is not None:
            applicable = applicable | JOB_FAULTS
            if job.state == "completed":
                applicable = applicable | OUTCOME_FAULTS
        prompt = job.prompt if job is not None else None
        fault = self._sim.faults.take("duomi", "status", prompt, applicable)

        async def work() -> Response:
            if job is None:
                return _no_such_task()
            return await self._task_answer(request, job, fault)

        return await answer_through(fault, request, self._sim.connections, work)

    def _refuse_key(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == self._sim.options.duomi_key:
            return None
        return JSONResponse("Invalid token", status_code=401)

    def _begin_task(self, body: Fields, fault: Fault | None) -> Response:
        recipes = read_async_recipes(body)
        job = Job(
            id=f"task-{uuid4()}",
            prompt=recipes[0].prompt,
            recipes=recipes,
            retention=self._sim.options.retention,
            fault=fault,
        )
        self.worker_pool.submit(job)
        return JSONResponse({"id": job.id})

    async def _generate_now(self, request: Request, body: Fields, fault: Fault | None) -> Response:
        recipes = read_sync_recipes(body, strict_sizes=self._sim.options.strict_sizes)
        job = Job(
            id=uuid4().hex, prompt=recipes[0].prompt, recipes=recipes, retention=0, fault=fault
        )
        self.worker_pool.submit(job)
        await self.worker_pool.wait(job)
        if job.state != "completed":
            error = {"code": "task_failed", "message": "The image could not be generated."}
            return JSONResponse({"error": error})
        if fault is not None and fault.name == "error_in_completed":
            return JSONResponse(CODES_IN_200[fault.text("form", "error")])
        return JSONResponse(await self._sync_body(request, job, fault))

    async def _sync_body(self, request: Request, job: Job, fault: Fault | None) -> Fields:
        list_name, field = self._sim.options.duomi_answer.split(":")
        if encoding_under(fault, "url") == "base64":
            field = "b64_json"
        elif fault is not None and fault.name == "expired_url":
            field = "url"
        images = await self._images(request, job, fault, field)
        shown: Fields = (
            {} if fault is not None and fault.name == "no_output" else {list_name: images}
        )
        if list_name == "data":
            return {"created": int(time.time()), **shown}
        timings = {"inference": job.execution_ms / 1000}
        return {**shown, "timings": timings, "seed": job.recipes[0].seed}

    async def _images(
        self, request: Request, job: Job, fault: Fault | None, field: str
    ) -> list[Fields]:
        name = fault.name if fault is not None else ""
        if name in ("empty_images", "no_output"):
            return []
        encoding = "base64" if field == "b64_json" else "url"
        key = job.id if fault is job.fault else uuid4().hex
        return [
            {
                field: await self._files.encoded(
                    f"{key}-{index}", recipe, fault, encoding, str(request.base_url)
                )
            }
            for index, recipe in enumerate(job.recipes)
        ]

    async def _task_answer(self, request: Request, job: Job, scripted: Fault | None) -> Response:
        fault = scripted if scripted is not None and not scripted.on_transport else job.fault
        name = fault.name if fault is not None else ""
        if name == "expired" and fault is scripted:
            return _no_such_task()
        if name == "error_in_completed" and fault is not None and job.state == "completed":
            return JSONResponse(CODES_IN_200[fault.text("form", "error")])
        body: Fields = {"id": job.id, "state": _task_state(job, fault, scripted), "progress": 0}
        if job.state == "running":
            body["progress"] = 40
        if body["state"] == "succeeded":
            body["progress"] = 100
            if name != "no_output":
                field = "b64_json" if name == "broken_base64" else "url"
                images = await self._images(request, job, fault, field)
                named = [image | {"file_name": f"{job.id}.png"} for image in images]
                body["data"] = {"images": named, "description": ""}
        elif body["state"] in ("failed", "error"):
            body["message"] = fault.text("error", "generation failed") if fault else "failed"
        return JSONResponse(body)


def _task_state(job: Job, fault: Fault | None, scripted: Fault | None) -> str:
    name = fault.name if fault is not None else ""
    if fault is not None and name == "unknown_status":
        return fault.text("state", "paused")
    if fault is not None and name == "job_failed" and (fault is scripted or not job.active):
        return fault.text("state", "failed")
    if fault is not None and fault is scripted:
        forced = {
            "job_cancelled": "cancelled",
            "job_timed_out": "error",
            "stuck_in_queue": "pending",
        }
        return forced.get(name, TASK_STATES[job.state])
    return TASK_STATES[job.state]


def _fields(raw: bytes) -> Fields | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _rate_limited() -> Response:
    message = "Request was rejected due to rate limiting. Details:RPM limit reached."
    return JSONResponse({"message": message, "data": None}, status_code=429)


def _no_such_task() -> Response:
    body = {"code": 404, "message": "task not found", "data": None}
    return JSONResponse(body, status_code=404)
