"""A webhook on a real local server, with scripted responses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0p53cr3tPath"


@dataclass
class WebhookServer:
    """Received requests and scripted responses: a status, ``hang``, ``drip`` or ``drop``."""

    url: str = ""
    responses: list[int | str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def posts(self) -> list[dict[str, Any]]:
        """The received bodies, parsed as JSON."""
        return [json.loads(body) for body in self.bodies]


@contextmanager
def run_webhook_server() -> Iterator[WebhookServer]:
    """A server on a free port; without scripted responses it answers 200."""
    webhook = WebhookServer()
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            webhook.headers.append({name.lower(): value for name, value in self.headers.items()})
            webhook.paths.append(self.path)
            response = webhook.responses.pop(0) if webhook.responses else 200
            if response == "hang":
                stopped.wait(60)
                return
            if response == "drip":
                while not stopped.is_set():
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n" if not webhook.responses else b"x")
                    time.sleep(0.05)
                return
            if response == "drop":
                self.connection.close()
                return
            self.send_response(int(response))
            if 300 <= int(response) < 400:
                self.send_header("location", f"{webhook.url}/elsewhere")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    webhook.url = f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield webhook
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
