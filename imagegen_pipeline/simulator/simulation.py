"""State that the simulated providers share: options, counters, faults, connections."""

import asyncio
import os
from collections import deque

from starlette.concurrency import run_in_threadpool

from imagegen_pipeline.simulator.billing import Billing
from imagegen_pipeline.simulator.broken_connections import Connections
from imagegen_pipeline.simulator.damaged_pictures import render
from imagegen_pipeline.simulator.faults import Fault, FaultScript
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.pictures import Recipe
from imagegen_pipeline.simulator.prepared import PreparedPictures


class RateWindow:
    """At most ``limit`` requests in any ``seconds``; no limit lets everything through."""

    def __init__(self, limit: int | None, seconds: float) -> None:
        """Start with an empty window."""
        self._limit = limit
        self._seconds = seconds
        self._passed: deque[float] = deque()

    def admits(self) -> bool:
        """Whether one more request may pass now; if so it is counted."""
        if self._limit is None:
            return True
        now = asyncio.get_running_loop().time()
        while self._passed and self._passed[0] <= now - self._seconds:
            self._passed.popleft()
        if len(self._passed) >= self._limit:
            return False
        self._passed.append(now)
        return True


class Simulation:
    """One running simulator, on one event loop."""

    def __init__(self, options: SimulatorOptions) -> None:
        """Start with counters at 0 and no faults; raises NoPicturesError for an empty folder."""
        self.options = options
        self.billing = Billing()
        self.faults = FaultScript()
        self.connections = Connections()
        folder = options.pictures
        self._prepared = PreparedPictures.read(folder) if folder is not None else None
        self._brushes = asyncio.Semaphore(os.cpu_count() or 1)

    async def paint(self, recipe: Recipe, damage: Fault | None = None) -> tuple[bytes, str]:
        """Bytes and media type of the picture: a prepared one, or drawn outside the event
        loop; damage is done to a drawn one only.
        """
        if self._prepared is not None and damage is None:
            prepared = self._prepared.of(recipe)
            if prepared is not None:
                return prepared, "image/png"
        async with self._brushes:
            return await run_in_threadpool(render, recipe, damage)
