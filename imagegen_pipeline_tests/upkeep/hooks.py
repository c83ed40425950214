"""A webhook that is a real local server, and answers as it is told."""

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
class Hook:
    """What a webhook has had, and what it answers next: statuses, ``hang``, or ``drop``."""

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def posts(self) -> list[dict[str, Any]]:
        """What was posted, as JSON."""
        return [json.loads(body) for body in self.bodies]


@contextmanager
def webhook() -> Iterator[Hook]:
    """A webhook on a port of its own; with nothing told it answers 200."""
    hook = Hook()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            hook.headers.append({name.lower(): value for name, value in self.headers.items()})
            hook.paths.append(self.path)
            answer = hook.answers.pop(0) if hook.answers else 200
            if answer == "hang":
                ended.wait(60)
                return
            if answer == "drip":
                while not ended.is_set():
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n" if not hook.answers else b"x")
                    time.sleep(0.05)
                return
            if answer == "drop":
                self.connection.close()
                return
            self.send_response(int(answer))
            if 300 <= int(answer) < 400:
                self.send_header("location", f"{hook.url}/elsewhere")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.url = f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
