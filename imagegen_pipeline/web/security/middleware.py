"""ASGI middleware: security headers, Host and Origin checks, and the limit on bodies.

Access by token is in ``access``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen_pipeline.web.api.responses import failure
from imagegen_pipeline.web.security.allowed_hosts import AllowedHosts

MAX_BODY_BYTES = 1_000_000
_MAX_DRAINED_BYTES = 16 * MAX_BODY_BYTES
_DRAIN_SECONDS = 5.0
_EVENT_STREAM = "/api/events"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# "no-referrer" would make the Origin of the gallery's own forms "null", and browsers send no
# Sec-Fetch-Site over plain HTTP: nobody could log in.
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
_request_log = logging.getLogger("imagegen.requests")
"""One line for each changing or refused request; not written to the users' log."""


class SecurityHeaders:
    """Adds the security headers to every response, and logs the request."""

    def __init__(self, app: ASGIApp, *, cors: Iterable[str] = ()) -> None:
        self._app = app
        self._cors = frozenset(cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_cors = Headers(scope=scope).get("origin", "").lower() in self._cors
        inner_scope = scope
        if scope["method"] == "HEAD" and scope["path"] != _EVENT_STREAM:
            inner_scope = {**scope, "method": "GET"}  # uvicorn sends no body for HEAD

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if is_cors:
                    headers["cross-origin-resource-policy"] = "cross-origin"
                if scope["path"].startswith("/api/"):
                    headers.setdefault("cache-control", "no-store")
                _log_request(scope, message["status"])
            await send(message)

        await self._app(inner_scope, receive, send_with_headers)


def _log_request(scope: Scope, status: int) -> None:
    if scope["method"] in SAFE_METHODS and status < 400:
        return
    # The path percent-encoded, and never the query, which may contain secrets.
    path = scope.get("raw_path", b"").partition(b"?")[0][:200].decode("ascii", "replace")
    client = (scope.get("client") or ("?",))[0]
    _request_log.info("%s %s %s %s", client, scope["method"][:20], path, status)


class CrossOriginGuard:
    """Refuses requests for other hosts, and writes from other sites' pages."""

    def __init__(
        self, app: ASGIApp, allowed_hosts: AllowedHosts, *, cors: Iterable[str] = ()
    ) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._cors = frozenset(cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._allowed_hosts.allows(host):
            refusal = failure(
                421,
                "The request names another host. Use the address that the server printed, or "
                "start it with --allow-host NAME.",
            )
            await refusal(scope, receive, send)
        elif scope["method"] not in SAFE_METHODS and self._is_foreign(headers, host):
            refusal = failure(
                403,
                "A page of another site may not do this. If you trust that site, add its origin "
                "to IMAGEGEN_CORS.",
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Whether the browser's headers name another site's page as the sender."""
        origin = headers.get("origin")
        if origin is not None and origin.lower() in self._cors:
            return False
        site = headers.get("sec-fetch-site", "none")
        if site == "same-origin":
            return False
        # Another port of this machine is the same site, but another origin.
        return site != "none" or (origin is not None and not _is_origin_of(origin, host))


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether an origin is that of a Host header, by http or https."""
    try:
        parts = urlsplit(origin.lower())
        port = {"http": "80", "https": "443"}[parts.scheme]
    except (ValueError, KeyError):
        return False
    name = host.lower()
    return parts.netloc in (name, f"{name}:{port}") or name == f"{parts.netloc}:{port}"


class BodyLimit:
    """Reads a request's whole body first; refuses large, slow and non-JSON ones."""

    def __init__(self, app: ASGIApp, *, seconds: float, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._seconds = seconds
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal: ASGIApp
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            refusal = failure(
                408,
                f"The request was not complete within {self._seconds:g} s. Send it again.",
                headers={"connection": "close"},
            )
            await refusal(scope, receive, send)
            return
        if body is None:
            refusal = failure(
                413,
                f"The request is larger than {self._max_bytes:,} bytes. Send less at once.",
                headers={"connection": "close"},
            )
            await refusal(scope, receive, send)
        elif _is_other_type(scope, body):
            refusal = failure(
                415, "The body must be JSON, with the header Content-Type: application/json."
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None if it is too large. The rest is then read and dropped, since a client
        that is still sending would not read the response.
        """
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                await _drain(receive, message)
                return None
            if not message.get("more_body"):
                return bytes(body)


async def _drain(receive: Receive, message: Message) -> None:
    dropped = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while message.get("more_body") and dropped < _MAX_DRAINED_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
    except TimeoutError:
        return


def _is_other_type(scope: Scope, body: bytes) -> bool:
    if not body or scope["method"] in SAFE_METHODS or not scope["path"].startswith("/api/"):
        return False
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    return kind != "application/json"


def _replay(body: bytes, receive: Receive) -> Receive:
    is_replayed = False

    async def receive_replayed() -> Message:
        nonlocal is_replayed
        if is_replayed:
            return await receive()
        is_replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_replayed
