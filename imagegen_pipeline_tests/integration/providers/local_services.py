"""Requests and clients for the tests of providers, and a server that sends exactly what it is told.

The simulator plays the providers wherever it can; ``Recorder`` is for what no provider would do,
and for looking at what was sent.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from imagegen_pipeline.domain.comfy.workflow import Workflow, parse_workflow
from imagegen_pipeline.domain.requests import GenerationRequest
from imagegen_pipeline.providers.base import Timeouts
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.providers.runpod.client import RunPodClient
from imagegen_pipeline_tests.conftest import ROOT

SHIPPED = ROOT / "workflows" / "normal_image_v4_workflow.json"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
DUOMI_KEY, RUNPOD_KEY = "simulated-duomi-key", "simulated-runpod-key"
ENDPOINT = "simulated-endpoint"
FAST = Timeouts(connect=5, read=10, download=10)
HURRIED = Timeouts(connect=5, read=0.3, download=0.3)


def sdxl(**changes: Any) -> GenerationRequest:
    """A small picture of the synchronous mode."""
    facts: dict[str, Any] = {
        "provider": "duomi",
        "model": SDXL,
        "prompt": "a lighthouse",
        "width": 64,
        "height": 64,
        "steps": 20,
        "guidance": 7.5,
        "seed": 51515151,
    }
    return GenerationRequest(**{**facts, **changes})


def gpt(**changes: Any) -> GenerationRequest:
    """The smallest picture that gpt-image-2 makes."""
    return sdxl(**{"model": "gpt-image-2", "width": 1024, "height": 640, **changes})


def flux(**changes: Any) -> GenerationRequest:
    """A small picture of the FLUX workflow."""
    return sdxl(**{"provider": "runpod", "model": "flux1-dev-fp8", "guidance": 3.5, **changes})


def flux_workflow() -> Workflow:
    """The graph that the project ships."""
    return parse_workflow(SHIPPED.read_bytes(), name=SHIPPED.name)


def duomi_at(root: str, *, key: str = DUOMI_KEY, **more: Any) -> DuomiClient:
    """A client for the Duomi of a simulator."""
    return DuomiClient(api_key=key, base_url=f"{root}/duomi", **{"timeouts": FAST, **more})


def runpod_at(root: str, *, key: str = RUNPOD_KEY, **more: Any) -> RunPodClient:
    """A client for the RunPod endpoint of a simulator."""
    settings: dict[str, Any] = {"endpoint_id": ENDPOINT, "timeouts": FAST, **more}
    return RunPodClient(
        api_key=key, base_url=f"{root}/runpod/v2", workflow=flux_workflow(), **settings
    )


class Recorder:
    """Notes every request, and answers with what ``answer`` writes to the open connection."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.requests: list[dict[str, Any]] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                recorder.note(self)
                answer(self)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def note(self, handler: BaseHTTPRequestHandler) -> None:
        """Keep the request's path, headers and JSON."""
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append(
            {
                "path": handler.path,
                "headers": {name.lower(): value for name, value in handler.headers.items()},
                "json": json.loads(raw) if raw else None,
            }
        )


@contextmanager
def recording(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Recorder]:
    """A recorder that listens for the length of a ``with``."""
    recorder = Recorder(answer)
    thread = threading.Thread(target=recorder.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.server.shutdown()
        recorder.server.server_close()
        thread.join(10)


def json_answer(body: object, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answerer that always sends this JSON."""
    content = json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
