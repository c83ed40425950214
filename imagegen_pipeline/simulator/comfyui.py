"""The simulated ComfyUI server: its queue and history are in memory only, as in the real one."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegen_pipeline.simulator.comfy_graph import GraphRefusedError, prompt_text, read_recipes
from imagegen_pipeline.simulator.comfyui_wire import (
    history_entry,
    object_info,
    queue_entry,
    refusal,
)
from imagegen_pipeline.simulator.fault_answers import answer_through
from imagegen_pipeline.simulator.faults import (
    COMFYUI_JOB_FAULTS,
    PICTURE_FAULTS,
    TRANSPORT_FAULTS,
    Fault,
)
from imagegen_pipeline.simulator.pictures import Recipe
from imagegen_pipeline.simulator.simulation import Simulation
from imagegen_pipeline.simulator.worker_pool import Job, WorkerPool

_UNTIL_RESTART = 10.0**7
"""Seconds that an ended prompt stays in the history: until the server restarts."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """Facts of a prompt beside its job."""

    number: int
    client_id: str | None


class ComfyUI:
    """Answers ``/comfyui``: one prompt runs at a time."""

    def __init__(self, sim: Simulation) -> None:
        """Start with an empty queue."""
        self._sim = sim
        self.worker_pool = WorkerPool(sim, "comfyui", capacity=1)
        self._prompts: dict[str, _Prompt] = {}
        self._files: dict[str, tuple[Recipe, Fault | None]] = {}
        self._number = 0

    def clear(self) -> None:
        """Forget queue, history and files."""
        self.worker_pool.clear()
        self._prompts.clear()
        self._files.clear()

    async def restart(self, _request: Request) -> Response:
        """``POST /_sim/comfyui/restart``: queue and history are lost, files stay."""
        self.worker_pool.clear()
        self._prompts.clear()
        return JSONResponse({"restarted": True})

    async def prompt(self, request: Request) -> Response:
        """``POST /prompt``: queue a graph, or refuse it with its errors."""
        if (refused := self._refuse(request)) is not None:
            return refused
        try:
            body = json.loads(await request.body())
        except ValueError:
            return Response("500 Internal Server Error", status_code=500)
        if not isinstance(body, dict) or "prompt" not in body:
            error = {"type": "no_prompt", "message": "No prompt provided", "details": ""}
            return JSONResponse({"error": error, "node_errors": {}}, status_code=400)
        graph = body["prompt"]
        fault = self._take("submit", prompt_text(graph), TRANSPORT_FAULTS | COMFYUI_JOB_FAULTS)

        async def work() -> Response:
            return self._queue(body, graph, fault)

        return await answer_through(fault, request, self._sim.connections, work)

    def _queue(self, body: dict[str, Any], graph: object, fault: Fault | None) -> Response:
        refused = refusal(graph)
        if refused is None:
            try:
                recipes = read_recipes(graph)
            except GraphRefusedError as fault_of_graph:
                message = str(fault_of_graph)
                refused = {"type": "invalid_prompt", "message": message, "details": ""}, {}
        if refused is not None:
            error, node_errors = refused
            return JSONResponse({"error": error, "node_errors": node_errors}, status_code=400)
        own_id = body.get("prompt_id") if self._sim.options.comfyui_own_ids else None
        job = Job(
            id=str(own_id or uuid4()),
            prompt=recipes[0].prompt,
            recipes=recipes,
            retention=_UNTIL_RESTART,
            fault=fault if fault is not None and not fault.on_transport else None,
        )
        client_id = body.get("client_id")
        self._prompts[job.id] = _Prompt(self._number, client_id if client_id else None)
        self._number += 1
        self.worker_pool.submit(job)
        answer = {"prompt_id": job.id, "number": self._prompts[job.id].number, "node_errors": {}}
        return JSONResponse(answer)

    async def history(self, request: Request) -> Response:
        """``GET /history/{id}``: empty until the prompt has ended."""
        if (refused := self._refuse(request)) is not None:
            return refused
        job = self._job(request.path_params["id"])
        fault = self._take("status", job.prompt if job else None, TRANSPORT_FAULTS)

        async def work() -> Response:
            if job is None or job.active or (job.state == "cancelled" and job.started_at is None):
                return JSONResponse({})
            files = [self._file(job, index) for index, _ in enumerate(job.recipes)]
            known = self._prompts[job.id]
            entry = history_entry(job, known.number, known.client_id, files)
            return JSONResponse({job.id: entry})

        return await answer_through(fault, request, self._sim.connections, work)

    def _file(self, job: Job, index: int) -> str:
        name = f"ComfyUI_{self._prompts[job.id].number:05}_{index}_.png"
        damage = job.fault if job.fault is not None and job.fault.name in PICTURE_FAULTS else None
        self._files[name] = (job.recipes[index], damage)
        return name

    async def queue(self, request: Request) -> Response:
        """``GET /queue``."""
        if (refused := self._refuse(request)) is not None:
            return refused
        fault = self._take("queue", None, TRANSPORT_FAULTS)

        async def work() -> Response:
            return JSONResponse(
                {"queue_running": self._listed("running"), "queue_pending": self._listed("queued")}
            )

        return await answer_through(fault, request, self._sim.connections, work)

    def _listed(self, state: str) -> list[list[Any]]:
        return [
            queue_entry(job, self._prompts[job.id].number, self._prompts[job.id].client_id)
            for job in self.worker_pool.jobs.values()
            if job.state == state
        ]

    async def change_queue(self, request: Request) -> Response:
        """``POST /queue`` with ``{"delete": [id, …]}``: only waiting prompts are deleted."""
        if (refused := self._refuse(request)) is not None:
            return refused
        fault = self._take("cancel", None, TRANSPORT_FAULTS)
        body = await request.json()

        async def work() -> Response:
            for job_id in body.get("delete", []):
                job = self._job(job_id)
                if job is not None and job.state == "queued":
                    self.worker_pool.cancel(job)
            return Response()

        return await answer_through(fault, request, self._sim.connections, work)

    async def interrupt(self, request: Request) -> Response:
        """``POST /interrupt``: stop the running prompt, or only the one that the body names."""
        if (refused := self._refuse(request)) is not None:
            return refused
        raw = await request.body()
        named = json.loads(raw).get("prompt_id") if raw else None
        for job in list(self.worker_pool.jobs.values()):
            if job.state == "running" and named in (None, job.id):
                self.worker_pool.cancel(job)
        return Response()

    async def view(self, request: Request) -> Response:
        """``GET /view``: the bytes of a file."""
        if (refused := self._refuse(request)) is not None:
            return refused
        found = self._files.get(request.query_params.get("filename", ""))
        fault = self._take(
            "view", found[0].prompt if found else None, TRANSPORT_FAULTS | PICTURE_FAULTS
        )

        async def work() -> Response:
            if found is None:
                return Response(status_code=404)
            damage = fault if fault is not None and not fault.on_transport else found[1]
            content, media_type = await self._sim.paint(found[0], damage)
            self._sim.billing.downloads += 1
            return Response(content, media_type=media_type)

        return await answer_through(fault, request, self._sim.connections, work)

    async def object_info(self, request: Request) -> Response:
        """``GET /object_info/{class}``."""
        if (refused := self._refuse(request)) is not None:
            return refused
        return JSONResponse(object_info(request.path_params["name"]))

    def _refuse(self, request: Request) -> Response | None:
        token = self._sim.options.comfyui_token
        if request.headers.get("authorization") != f"Bearer {token}":
            return Response(status_code=401)
        return None

    def _job(self, job_id: str) -> Job | None:
        return self.worker_pool.jobs.get(job_id)

    def _take(self, operation: str, prompt: str | None, applicable: frozenset[str]) -> Fault | None:
        return self._sim.faults.take("comfyui", operation, prompt, applicable)
