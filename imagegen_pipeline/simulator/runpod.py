"""The simulated RunPod Serverless endpoint with a ComfyUI worker behind it."""

import json
from collections import Counter
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from imagegen_pipeline.simulator.comfy_graph import GraphRefusedError, prompt_text, read_recipes
from imagegen_pipeline.simulator.fault_answers import answer_through
from imagegen_pipeline.simulator.faults import (
    JOB_FAULTS,
    OUTCOME_FAULTS,
    TRANSPORT_FAULTS,
    Fault,
)
from imagegen_pipeline.simulator.options import ANY_ENDPOINT
from imagegen_pipeline.simulator.pictures import Recipe
from imagegen_pipeline.simulator.result_urls import Files, encoding_under
from imagegen_pipeline.simulator.runpod_wire import (
    OUTPUT_ERRORS,
    error_as_json,
    job_body,
    shaped_output,
)
from imagegen_pipeline.simulator.simulation import RateWindow, Simulation
from imagegen_pipeline.simulator.worker_pool import Job, WorkerPool

RUN_BODY_LIMIT = 10 * 1000 * 1000
RUNSYNC_BODY_LIMIT = 20 * 1000 * 1000
RUNSYNC_RETENTION = 60.0
WEEK_MS = 7 * 24 * 3600 * 1000
LIMITS_PER_10_S = {"run": 1000, "runsync": 2000, "status": 2000, "cancel": 100, "purge": 2}
"""Requests in ten seconds before a 429. [D]"""


class BadRequestError(ValueError):
    """RunPod refuses the body; the text is the answer."""


class RunPod:
    """Answers ``/runpod/v2/{endpoint}``."""

    def __init__(self, sim: Simulation, files: Files) -> None:
        """Start with no jobs and no worker."""
        self._sim = sim
        self._files = files
        self.worker_pool = WorkerPool(sim, "runpod", cold_start=sim.options.cold_start)
        self._set_rates()

    def clear(self) -> None:
        """Forget all jobs and the rates so far."""
        self.worker_pool.clear()
        self._set_rates()

    def _set_rates(self) -> None:
        limited = self._sim.options.platform_limits
        self._rates = {
            name: RateWindow(limit if limited else None, 10)
            for name, limit in LIMITS_PER_10_S.items()
        }
        self._submits = RateWindow(self._sim.options.rate_limit, 60)

    async def run(self, request: Request) -> Response:
        """``POST /run``: queue a job."""
        return await self._submit(request, "run", RUN_BODY_LIMIT)

    async def runsync(self, request: Request) -> Response:
        """``POST /runsync?wait=ms``: queue a job and wait for it, 90 s by default."""
        return await self._submit(request, "runsync", RUNSYNC_BODY_LIMIT)

    async def status(self, request: Request) -> Response:
        """``GET /status/{id}``."""
        if (refusal := self._refuse(request, "status")) is not None:
            return refusal
        job = self._job(request)
        applicable = TRANSPORT_FAULTS
        if job is not None:
            applicable = applicable | JOB_FAULTS
            if job.state == "completed":
                applicable = applicable | OUTCOME_FAULTS
        fault = self._take("status", job, applicable)

        async def work() -> Response:
            if job is None or (fault is not None and fault.name == "expired"):
                return _no_such_job()
            outcome = fault if fault is not None and not fault.on_transport else None
            return JSONResponse(await self._whole_body(request, job, outcome))

        return await answer_through(fault, request, self._sim.connections, work)

    async def cancel(self, request: Request) -> Response:
        """``POST /cancel/{id}``."""
        if (refusal := self._refuse(request, "cancel")) is not None:
            return refusal
        job = self._job(request)
        fault = self._take("cancel", job, TRANSPORT_FAULTS | {"expired"})

        async def work() -> Response:
            if job is None or (fault is not None and fault.name == "expired"):
                return _no_such_job()
            self.worker_pool.cancel(job)
            return JSONResponse({"id": job.id, "status": job_body(job, None)["status"]})

        return await answer_through(fault, request, self._sim.connections, work)

    async def retry(self, request: Request) -> Response:
        """``POST /retry/{id}``: only what FAILED or TIMED_OUT, under the same id."""
        if (refusal := self._refuse(request)) is not None:
            return refusal
        job = self._job(request)
        if job is None:
            return _no_such_job()
        if job.state not in ("failed", "timed_out"):
            return PlainTextResponse("only failed or timed out jobs are retried", status_code=400)
        self.worker_pool.retry(job)
        return JSONResponse({"id": job.id, "status": "IN_QUEUE"})

    async def health(self, request: Request) -> Response:
        """``GET /health``: jobs and workers by what they do."""
        if (refusal := self._refuse(request)) is not None:
            return refusal
        fault = self._take("health", None, TRANSPORT_FAULTS)

        async def work() -> Response:
            return JSONResponse(self._health())

        return await answer_through(fault, request, self._sim.connections, work)

    async def purge_queue(self, request: Request) -> Response:
        """``POST /purge-queue``: drop the jobs that wait."""
        if (refusal := self._refuse(request, "purge")) is not None:
            return refusal
        waiting = [job for job in self.worker_pool.jobs.values() if job.state == "queued"]
        for job in waiting:
            self.worker_pool.cancel(job)
        return JSONResponse({"removed": len(waiting), "status": "completed"})

    def _refuse(self, request: Request, operation: str | None = None) -> Response | None:
        options = self._sim.options
        if request.headers.get("authorization") != f"Bearer {options.runpod_key}":
            return Response(status_code=401)
        known = options.runpod_endpoint
        if known not in (ANY_ENDPOINT, request.path_params["endpoint"]):
            return JSONResponse({"detail": "endpoint not found"}, status_code=404)
        if operation is not None and not self._rates[operation].admits():
            return Response(status_code=429)
        return None

    def _job(self, request: Request) -> Job | None:
        return self.worker_pool.jobs.get(request.path_params["id"])

    def _take(self, operation: str, job: Job | None, applicable: frozenset[str]) -> Fault | None:
        prompt = job.prompt if job is not None else None
        return self._sim.faults.take("runpod", operation, prompt, applicable)

    async def _submit(self, request: Request, operation: str, limit: int) -> Response:
        if (refusal := self._refuse(request, operation)) is not None:
            return refusal
        raw = await request.body()
        if len(raw) > limit:
            text = f"request body: {len(raw)} bytes exceeded max body size of {limit} bytes"
            return PlainTextResponse(text, status_code=400)
        try:
            body = _submission(raw)
        except BadRequestError as error:
            return PlainTextResponse(str(error), status_code=400)
        prompt = prompt_text(body["input"].get("workflow"))
        applicable = TRANSPORT_FAULTS | OUTCOME_FAULTS
        fault = self._sim.faults.take("runpod", "submit", prompt, applicable)

        async def work() -> Response:
            if not self._submits.admits():
                return Response(status_code=429)
            outcome = fault if fault is not None and not fault.on_transport else None
            job = self._queue(body, prompt, outcome, synchronous=operation == "runsync")
            if operation == "run":
                return JSONResponse({"id": job.id, "status": "IN_QUEUE"})
            return await self._sync_answer(request, job)

        return await answer_through(fault, request, self._sim.connections, work)

    def _queue(
        self, body: dict[str, Any], prompt: str, fault: Fault | None, *, synchronous: bool
    ) -> Job:
        policy = body.get("policy", {})
        recipes, refusal = _read_graph(body["input"])
        retention = self._sim.options.retention
        job = Job(
            id=f"{'sync-' if synchronous else ''}{uuid4()}-u1",
            prompt=recipes[0].prompt if recipes else prompt,
            recipes=recipes,
            retention=min(retention, RUNSYNC_RETENTION) if synchronous else retention,
            refusal=refusal,
            fault=fault,
            execution_timeout=policy.get("executionTimeout", 600_000) / 1000,
        )
        self.worker_pool.submit(job, ttl=policy.get("ttl", 24 * 3600 * 1000) / 1000)
        return job

    async def _sync_answer(self, request: Request, job: Job) -> Response:
        wait = request.query_params.get("wait", "90000")
        if not wait.isdigit() or not 1000 <= int(wait) <= 300_000:
            wait = "90000"
        await self.worker_pool.wait(job, int(wait) / 1000)
        return JSONResponse(await self._whole_body(request, job, None))

    async def _whole_body(
        self, request: Request, job: Job, scripted: Fault | None
    ) -> dict[str, Any]:
        body = job_body(job, scripted)
        fault = scripted if scripted is not None else job.fault
        name = fault.name if fault is not None else ""
        if body["status"] != "COMPLETED" or name == "no_output":
            return body
        if fault is not None and name == "error_in_completed":
            return body | {"output": OUTPUT_ERRORS[fault.text("form", "status_error")]}
        if name == "empty_images":
            return body | {"output": {"images": []}}
        shape, _, encoding = self._sim.options.runpod_output.partition(":")
        encoding = encoding_under(fault, encoding or ("url" if shape == "image_url" else "base64"))
        key = job.id if scripted is None else uuid4().hex
        pictures = [
            await self._files.encoded(
                f"{key}-{index}", recipe, fault, encoding, str(request.base_url)
            )
            for index, recipe in enumerate(job.recipes)
        ]
        return body | {"output": shaped_output(shape, pictures, encoding)}

    def _health(self) -> dict[str, dict[str, int]]:
        jobs = list(self.worker_pool.jobs.values())
        states = Counter(job.state for job in jobs)
        running = states["running"]
        warm = self.worker_pool.warm
        idle = max(0, self._sim.options.capacity - running) if warm else 0
        return {
            "jobs": {
                "completed": states["completed"],
                "failed": states["failed"] + states["timed_out"],
                "inProgress": running,
                "inQueue": states["queued"],
                "retried": sum(job.retries for job in jobs),
            },
            "workers": {
                "idle": idle,
                "initializing": int(not warm and states["queued"] > 0),
                "ready": idle,
                "running": running,
                "throttled": 0,
                "unhealthy": 0,
            },
        }


def _read_graph(worker_input: dict[str, Any]) -> tuple[tuple[Recipe, ...], str | None]:
    if "workflow" not in worker_input:
        return (), "Missing 'workflow' parameter"
    try:
        return read_recipes(worker_input["workflow"]), None
    except GraphRefusedError as error:
        return (), error_as_json(f"Workflow validation failed: {error}")


def _submission(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise BadRequestError(f"invalid JSON in request body: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
        raise BadRequestError("input is required, and is an object")
    policy = body.get("policy", {})
    if not isinstance(policy, dict):
        raise BadRequestError("policy is an object")
    _check_policy(policy, "executionTimeout", 5_000)
    _check_policy(policy, "ttl", 10_000)
    return body


def _check_policy(policy: dict[str, Any], name: str, low: int) -> None:
    if name not in policy:
        return
    value = policy[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= WEEK_MS:
        raise BadRequestError(f"policy.{name} is from {low} to {WEEK_MS} milliseconds")


def _no_such_job() -> Response:
    return JSONResponse({"detail": "job not found"}, status_code=404)
