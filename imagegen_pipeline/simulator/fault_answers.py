"""Answers that a transport fault has changed, or replaced."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from imagegen_pipeline.simulator.broken_connections import Connections
from imagegen_pipeline.simulator.faults import Fault

HTML_PAGE = (
    "<!DOCTYPE html><html><head><title>{title}</title></head>"
    "<body><center><h1>{title}</h1></center><hr><center>cloudflare</center></body></html>"
)
GATEWAY_TITLES = {
    500: "500 Internal Server Error",
    502: "502 Bad Gateway",
    504: "504 Gateway Time-out",
    524: "A timeout occurred | Error code 524",
}

DOCUMENTED_REFUSALS: dict[int, object] = {
    400: {
        "code": 20012,
        "message": "Model does not exist. Please check it carefully.",
        "data": None,
    },
    401: "Invalid token",
    403: {"code": 30003, "message": "Model disabled.", "data": None},
    429: {
        "message": "Request was rejected due to rate limiting. Details:TPM limit reached.",
        "data": None,
    },
    503: {
        "code": 50505,
        "message": "Model service overloaded. Please try again later.",
        "data": None,
    },
}
"""Duomi's body for a status, used when a scripted status brings no body of its own. [D]"""

CODES_IN_200: dict[str, object] = {
    "code": {"code": 400, "msg": "fail_to_submit_task"},
    "error": {"error": {"code": "invalid_request", "message": "The task could not be submitted."}},
}
"""Errors that come with HTTP 200, by the fault's ``form``. [C]"""

Work = Callable[[], Awaitable[Response]]


async def answer_through(
    fault: Fault | None, request: Request, connections: Connections, work: Work
) -> Response:
    """Answer the request with the answer that ``work`` gives, changed by the fault.

    Unless the fault's nature is that the work is done (`reset_after_work`,
    `reset_midbody`, `slow_drip`), it is done only when ``"work": true`` is scripted.
    """
    if fault is None or not fault.on_transport:
        return await work()
    if fault.name == "hang":
        return await _answer_late(fault, request, connections, work)
    if fault.name == "reset_midbody":
        return HalvedAnswer(await work(), connections)
    if fault.name == "slow_drip":
        chunk = max(1, int(fault.number("chunk", 1)))
        return DrippedAnswer(await work(), chunk, fault.number("seconds_per_byte", 0.01))
    if fault.name == "reset_after_work" or fault.params.get("work"):
        await work()
    if fault.name in ("reset_before", "reset_after_work"):
        return ResetAnswer(connections)
    return _scripted_answer(fault)


async def _answer_late(
    fault: Fault, request: Request, connections: Connections, work: Work
) -> Response:
    """Hang, then answer; without ``"work": true`` nothing is done for a client that has left."""
    done = await work() if fault.params.get("work") else None
    if await left_within(request.receive, fault.number("seconds", 3600)):
        return ResetAnswer(connections)
    return done if done is not None else await work()


def _scripted_answer(fault: Fault) -> Response:
    if fault.name == "html_200":
        return Response(HTML_PAGE.format(title="Just a moment..."), media_type="text/html")
    if fault.name == "broken_json":
        return Response('{"id": "broken-', media_type="application/json")
    if fault.name == "redirect":
        headers = {"Location": fault.text("location", "/")}
        return Response(status_code=int(fault.number("status", 302)), headers=headers)
    if fault.name == "code_in_200":
        return JSONResponse(CODES_IN_200[fault.text("form", "code")])
    return _scripted_status(fault)


def _scripted_status(fault: Fault) -> Response:
    status = int(fault.params["status"])
    body: Any = fault.params.get("body")
    media_type = fault.params.get("content_type")
    if body is None and status in DOCUMENTED_REFUSALS and fault.provider == "duomi":
        body = DOCUMENTED_REFUSALS[status]
        if isinstance(body, dict) and "code" in fault.params:
            body = body | {
                "code": fault.params["code"],
                "message": fault.text("message", "Refused."),
            }
        content = JSONResponse(body).body
        media_type = media_type or "application/json"
    elif body is None:
        title = GATEWAY_TITLES.get(status)
        content = HTML_PAGE.format(title=title).encode() if title else b""
        media_type = media_type or ("text/html" if title else None)
    else:
        as_text = isinstance(body, str)
        content = body.encode() if as_text else JSONResponse(body).body
        media_type = media_type or ("text/plain" if as_text else "application/json")
    headers = {str(name): str(value) for name, value in fault.params.get("headers", {}).items()}
    return Response(content, status_code=status, headers=headers, media_type=media_type)


async def left_within(receive: Receive, seconds: float) -> bool:
    """Wait ``seconds``, or until the client has left; returns whether it has left."""

    async def disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(disconnect(), seconds)
    except TimeoutError:
        return False
    return True


class ResetAnswer(Response):
    """No answer: the connection is reset."""

    def __init__(self, connections: Connections) -> None:
        """Keep what is needed to find the connection."""
        super().__init__()
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Break the connection, and wait until the server knows."""
        self._connections.reset(scope)
        await left_within(receive, 5)


class HalvedAnswer(Response):
    """Half of an answer, then the connection ends."""

    def __init__(self, whole: Response, connections: Connections) -> None:
        """Keep the whole answer, whose length is announced."""
        super().__init__()
        self._whole = whole
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the half."""
        body = bytes(self._whole.body)
        await _send_start(self._whole, send)
        half = body[: len(body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        self._connections.close(scope)
        await left_within(receive, 5)


class DrippedAnswer(Response):
    """A whole answer that is sent slowly."""

    def __init__(self, whole: Response, chunk: int, seconds_per_byte: float) -> None:
        """Keep the whole answer; ``chunk`` bytes are sent together."""
        super().__init__()
        self._whole = whole
        self._chunk = chunk
        self._pause = chunk * seconds_per_byte

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send chunk after chunk, until the client leaves."""
        body = bytes(self._whole.body)
        await _send_start(self._whole, send)
        for start in range(0, len(body), self._chunk):
            if await left_within(receive, self._pause):
                return
            part = body[start : start + self._chunk]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_start(answer: Response, send: Send) -> None:
    start = {"type": "http.response.start", "status": answer.status_code}
    await send(start | {"headers": answer.raw_headers})
