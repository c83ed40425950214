"""Providers that repeat the received key in every part of an answer."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

from imagegen_pipeline_tests.integration.hostile.pictures import encoded

PICTURE = base64.b64encode(encoded("PNG")).decode()


class EchoingServices:
    """Duomi at ``/duomi``, RunPod at ``/runpod``: a word of the prompt chooses the answer.

    ``asked`` counts each of these words; ``sent`` has the received keys.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent: set[str] = set()
        providers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                providers.answer(self)

            do_GET = do_POST  # noqa: N815 - the name that the server looks for

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Find the word and send its answer, with the key in each header and in the body."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        message = str(handler.headers.get("Authorization"))
        self.sent.add(message)
        if handler.path.startswith("/runpod"):
            status, content = self._runpod(handler, body, message)
        else:
            status, content = self._duomi(body, message)
        raw = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        handler.send_response(status, f"Said {message}")
        handler.send_header("Content-Length", str(len(raw)))
        handler.send_header("X-Request", message)
        handler.send_header("Set-Cookie", f"session={message}")
        handler.send_header("Retry-After", message)
        if status in (302, 307):
            handler.send_header("Location", f"http://127.0.0.1:9/?key={message}")
        handler.end_headers()
        handler.wfile.write(raw)

    def _duomi(self, body: str, message: str) -> tuple[int, Any]:
        word = next((word for word in DUOMI if f" {word} " in body), "works")
        self.asked.append(word)
        status, content = DUOMI[word]
        return status, _echoing(content, message)

    def _runpod(self, handler: BaseHTTPRequestHandler, body: str, message: str) -> tuple[int, Any]:
        word = next((word for word in RUNPOD if f" {word} " in body or word in handler.path), "")
        if handler.path.endswith("/run") and word not in ("unauthorized", "crashes"):
            return 200, {"id": f"job-{word or 'works'}", "status": "IN_QUEUE", "note": message}
        self.asked.append(f"runpod {word}")
        status, content = RUNPOD.get(word, RUNPOD["works"])
        return status, _echoing(content, message)


def _echoing(content: Any, message: str) -> Any:
    """The content with the key in place of each ECHOED_KEY."""
    if isinstance(content, dict):
        return {
            name.replace("ECHOED_KEY", message): _echoing(value, message)
            for name, value in content.items()
        }
    if isinstance(content, list):
        return [_echoing(value, message) for value in content]
    if not isinstance(content, str):
        return content
    in_json = json.dumps(message)[1:-1].replace("/", "\\/")
    for word, spelt in (
        ("IN_JSON", in_json),
        ("IN_HTML", escape(message)),
        ("IN_URL", quote(message)),
    ):
        content = content.replace(word, spelt)
    return content.replace("ECHOED_KEY", message)


DUOMI: dict[str, tuple[int, Any]] = {
    "works": (
        200,
        {"images": [{"b64_json": PICTURE, "note": "ECHOED_KEY"}], "by ECHOED_KEY": ["ECHOED_KEY"]},
    ),
    "unauthorized": (401, "Invalid token ECHOED_KEY"),
    "forbidden": (403, {"code": 30003, "message": "Key ECHOED_KEY may not.", "data": None}),
    "refused": (
        400,
        {"code": 20012, "message": "Key ECHOED_KEY has no such model.", "data": "ECHOED_KEY"},
    ),
    "coded": (200, {"code": 400, "msg": "fail ECHOED_KEY"}),
    "named": (200, {"error": {"code": "ECHOED_KEY", "message": "for ECHOED_KEY"}}),
    "paged": (200, "<html><body>ECHOED_KEY</body></html>"),
    "broken": (200, '{"images": [{"b64_json": "ECHOED_KEY'),
    "spelt": (400, '<html>IN_HTML <a href=\'/?key=IN_URL\'></a> {"key": "IN_JSON"}'),
    "crashes": (500, "Traceback: requests.post(headers={'Authorization': 'ECHOED_KEY'})"),
    "moved": (302, "see ECHOED_KEY"),
    "empty": (200, {"images": [], "request": {"headers": {"Authorization": "ECHOED_KEY"}}}),
    "elsewhere": (200, {"images": [{"url": "http://127.0.0.1:9/a.png?key=ECHOED_KEY"}]}),
}
TRACE = json.dumps(
    {"error_message": "worker got ECHOED_KEY", "error_traceback": "key='ECHOED_KEY'"}
)
OUTPUT = {
    "images": [{"data": PICTURE, "filename": "ECHOED_KEY"}],
    "errors": ["warned of ECHOED_KEY"],
}
RUNPOD: dict[str, tuple[int, Any]] = {
    "works": (200, {"status": "COMPLETED", "output": OUTPUT, "executionTime": 9}),
    "unauthorized": (401, "Invalid token ECHOED_KEY"),
    "crashes": (500, "<html>ECHOED_KEY</html>"),
    "fails": (200, {"status": "FAILED", "error": TRACE}),
    "strange": (200, {"status": "ECHOED_KEY"}),
    "without": (
        200,
        {"status": "COMPLETED", "output": {"status": "error", "message": "ECHOED_KEY"}},
    ),
}


@contextmanager
def echoing_services() -> Iterator[EchoingServices]:
    """Run such providers inside a ``with`` block."""
    providers = EchoingServices()
    thread = threading.Thread(target=providers.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield providers
    finally:
        providers.server.shutdown()
        providers.server.server_close()
        thread.join(10)
