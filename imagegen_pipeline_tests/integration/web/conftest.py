"""The real server on a free port, with the real simulator as its provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running as simulating
from imagegen_pipeline.web.options import ServeOptions
from imagegen_pipeline.web.server import GalleryServer, running
from imagegen_pipeline_tests.conftest import Project, Simulator

ACTOR = "0100_european_25_male"
DESCRIPTION = "european 25 year old male with short brown hair and blue eyes"
PARAMS = {
    "actorName": ACTOR,
    "description": DESCRIPTION,
    "width": 64,
    "height": 96,
    "steps": 5,
    "seed": -1,
}


@dataclass
class Served:
    """A server in a thread of this process."""

    project: Project
    simulator: Simulator
    pipeline: Pipeline
    running: GalleryServer
    _ends: ExitStack
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        """Its address, without a trailing slash."""
        return self.running.url

    def get(self, path: str, **more: Any) -> requests.Response:
        """A GET that follows no redirect."""
        more.setdefault("allow_redirects", False)
        return self.session.get(self.url + path, timeout=60, **more)

    def post(self, path: str, body: object = None, **more: Any) -> requests.Response:
        """A POST of JSON."""
        more.setdefault("allow_redirects", False)
        return self.session.post(self.url + path, json=body, timeout=60, **more)

    def make(self, **params: object) -> dict[str, Any]:
        """Generate a base image; returns the response's body."""
        answer = self.post("/api/generate-base-image", {**PARAMS, **params})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop(self) -> None:
        """Stop the server and wait for running jobs."""
        self.session.close()
        self._ends.close()


Serve = Callable[..., Served]


def _starter(project: Project, simulator: Simulator, servers: list[Served]) -> Serve:
    def start(**options: Any) -> Served:
        pipeline = project.pipeline()
        ends = ExitStack()
        ends.callback(pipeline.close)
        given = {"port": 0, "collect_seconds": 3600.0, "poll_seconds": 0.05, **options}
        server = ends.enter_context(running(pipeline, ServeOptions(**given)))
        served = Served(project, simulator, pipeline, server, ends)
        servers.append(served)
        return served

    return start


@pytest.fixture
def serve(project: Project, simulator: Simulator) -> Iterator[Serve]:
    """Starts servers with the given options on the scratch project."""
    servers: list[Served] = []
    yield _starter(project, simulator, servers)
    for server in servers:
        server.stop()


@pytest.fixture
def server(serve: Serve) -> Served:
    """A server on the scratch project: ``url``, ``pipeline``, ``project``, ``stop()``."""
    return serve()


@contextmanager
def _simulator(latency: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator of the test's own that takes ``latency`` seconds for an image."""
    with simulating(SimulatorOptions(latency=latency)) as url:
        monkeypatch.setenv("IMAGEGEN_SIMULATOR", url)
        yield Simulator(url)


@pytest.fixture
def slow(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that takes 0.6 s for an image."""
    with _simulator(0.6, monkeypatch) as simulator:
        yield simulator


@pytest.fixture
def serve_slow(project: Project, slow: Simulator) -> Iterator[Serve]:
    """As ``serve``, with the slow simulator."""
    servers: list[Served] = []
    yield _starter(project, slow, servers)
    for server in servers:
        server.stop()


@pytest.fixture
def serve_unfinished(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """As ``serve``, with a simulator whose jobs stay in flight for longer than any test."""
    servers: list[Served] = []
    with _simulator(3600.0, monkeypatch) as simulator:
        yield _starter(project, simulator, servers)
        for server in servers:
            server.stop()


@pytest.fixture
def serve_live(live_project: Project, simulator: Simulator) -> Iterator[Serve]:
    """As ``serve``, on a project that takes the simulator for the real providers."""
    servers: list[Served] = []
    yield _starter(live_project, simulator, servers)
    for server in servers:
        server.stop()
