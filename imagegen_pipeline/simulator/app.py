"""Routes of the simulated providers, in one application."""

import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from imagegen_pipeline.simulator.broken_connections import Connections
from imagegen_pipeline.simulator.comfyui import ComfyUI
from imagegen_pipeline.simulator.control import Control
from imagegen_pipeline.simulator.duomi import Duomi
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.result_urls import Files
from imagegen_pipeline.simulator.runpod import RunPod
from imagegen_pipeline.simulator.simulation import Simulation

Handler = Callable[[Request], Awaitable[Response]]


class SimulatorApp:
    """The ASGI application, which knows how long it has been idle."""

    def __init__(self, options: SimulatorOptions) -> None:
        """Build all parts for these options."""
        sim = Simulation(options)
        self._inner = Starlette(routes=_routes(sim))
        self.connections: Connections = sim.connections
        self._open_requests = 0
        self._last_activity = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long no request has been open."""
        return 0.0 if self._open_requests else time.monotonic() - self._last_activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and record the time."""
        self._open_requests += 1
        try:
            await self._inner(scope, receive, send)
        finally:
            self._open_requests -= 1
            self._last_activity = time.monotonic()


def _routes(sim: Simulation) -> list[Route]:
    files = Files(sim)
    duomi = Duomi(sim, files)
    runpod = RunPod(sim, files)
    comfyui = ComfyUI(sim)
    control = Control(sim, files, duomi, runpod, comfyui)

    def counted(method: str, path: str, handler: Handler) -> Route:
        template = f"{method} {path}"

        async def count_and_answer(request: Request) -> Response:
            sim.billing.requests[template] += 1
            return await handler(request)

        return Route(path, count_and_answer, methods=[method])

    endpoint = "/runpod/v2/{endpoint}"
    return [
        counted("POST", "/duomi/v1/images/generations", duomi.generate),
        counted("GET", "/duomi/v1/tasks/{id}", duomi.task),
        counted("POST", f"{endpoint}/run", runpod.run),
        counted("POST", f"{endpoint}/runsync", runpod.runsync),
        counted("GET", f"{endpoint}/status/{{id}}", runpod.status),
        counted("POST", f"{endpoint}/cancel/{{id}}", runpod.cancel),
        counted("POST", f"{endpoint}/retry/{{id}}", runpod.retry),
        counted("GET", f"{endpoint}/health", runpod.health),
        counted("POST", f"{endpoint}/purge-queue", runpod.purge_queue),
        counted("POST", "/comfyui/prompt", comfyui.prompt),
        counted("GET", "/comfyui/history/{id}", comfyui.history),
        counted("GET", "/comfyui/queue", comfyui.queue),
        counted("POST", "/comfyui/queue", comfyui.change_queue),
        counted("POST", "/comfyui/interrupt", comfyui.interrupt),
        counted("GET", "/comfyui/view", comfyui.view),
        counted("GET", "/comfyui/object_info/{name}", comfyui.object_info),
        counted("GET", "/files/{key}/{name}", files.download),
        Route("/_sim/stats", control.stats),
        Route("/_sim/faults", control.list_faults, methods=["GET"]),
        Route("/_sim/faults", control.add_faults, methods=["POST"]),
        Route("/_sim/faults", control.clear_faults, methods=["DELETE"]),
        Route("/_sim/comfyui/restart", comfyui.restart, methods=["POST"]),
        Route("/_sim/reset", control.reset, methods=["POST"]),
        counted("GET", "/{path:path}", _nothing_here),
        counted("POST", "/{path:path}", _nothing_here),
    ]


async def _nothing_here(_request: Request) -> Response:
    return JSONResponse({"detail": "Not Found"}, status_code=404)
