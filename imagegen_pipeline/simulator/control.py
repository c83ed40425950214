"""``/_sim``: counters and faults, for tests."""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imagegen_pipeline.simulator.billing import Billing
from imagegen_pipeline.simulator.comfyui import ComfyUI
from imagegen_pipeline.simulator.duomi import Duomi
from imagegen_pipeline.simulator.posted_faults import read_fault
from imagegen_pipeline.simulator.result_urls import Files
from imagegen_pipeline.simulator.runpod import RunPod
from imagegen_pipeline.simulator.simulation import Simulation


class Control:
    """Shows the counters, scripts faults, resets everything."""

    def __init__(self, sim: Simulation, *parts: Files | Duomi | RunPod | ComfyUI) -> None:
        """``parts`` are cleared by a reset."""
        self._sim = sim
        self._parts = parts

    async def stats(self, request: Request) -> Response:
        """``GET /_sim/stats``, with ``?prompts=0`` without the list by prompt."""
        prompts = request.query_params.get("prompts", "1") != "0"
        return JSONResponse(self._sim.billing.as_json(prompts=prompts))

    async def list_faults(self, _request: Request) -> Response:
        """``GET /_sim/faults``: those that are pending."""
        return JSONResponse(self._sim.faults.as_json())

    async def add_faults(self, request: Request) -> Response:
        """``POST /_sim/faults``: one fault or a list; all are read before any is added."""
        try:
            posted = json.loads(await request.body())
            faults = [read_fault(one) for one in (posted if isinstance(posted, list) else [posted])]
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        for fault in faults:
            self._sim.faults.add(fault)
        return JSONResponse(self._sim.faults.as_json())

    async def clear_faults(self, _request: Request) -> Response:
        """``DELETE /_sim/faults``."""
        self._sim.faults.clear()
        return JSONResponse([])

    async def reset(self, _request: Request) -> Response:
        """``POST /_sim/reset``: no jobs, no files, no faults, counters at 0."""
        self._sim.faults.clear()
        for part in self._parts:
            part.clear()
        self._sim.billing = Billing()
        return JSONResponse({"reset": True})
