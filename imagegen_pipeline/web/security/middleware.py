"""What every request passes first: plain ASGI, before anything reads it.

From outside in: the headers that every answer has, the name that was asked for, who may write,
and a body that is small, whole and in time. Access by token is ``access``'s.
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

LARGEST_BODY = 1_000_000
_DRAINED = 16 * LARGEST_BODY
_DRAIN_SECONDS = 5.0
_ENDLESS = "/api/events"
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
# Nothing is told to other sites. "no-referrer" would make the origin of our own forms "null",
# and over plain HTTP no Sec-Fetch-Site says that they are ours: nobody could log in.
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
_said = logging.getLogger("imagegen.requests")
"""One line for each request that changes something or is refused; not in the users' log."""


class SecurityHeaders:
    """Puts the headers that hold a browser back on every answer, and notes the request."""

    def __init__(self, app: ASGIApp, *, cors: Iterable[str] = ()) -> None:
        self._app = app
        self._cors = frozenset(cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        shared = Headers(scope=scope).get("origin", "").lower() in self._cors
        asked = scope
        if scope["method"] == "HEAD" and scope["path"] != _ENDLESS:
            asked = {**scope, "method": "GET"}  # uvicorn sends the head of the answer alone

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if shared:
                    headers["cross-origin-resource-policy"] = "cross-origin"
                if scope["path"].startswith("/api/"):
                    headers.setdefault("cache-control", "no-store")
                _note(scope, message["status"])
            await send(message)

        await self._app(asked, receive, headed)


def _note(scope: Scope, status: int) -> None:
    if scope["method"] in SAFE_METHODS and status < 400:
        return
    # The path as it came, percent-encoded, and never the query: it may hold anything.
    path = scope.get("raw_path", b"").partition(b"?")[0][:200].decode("ascii", "replace")
    client = (scope.get("client") or ("?",))[0]
    _said.info("%s %s %s %s", client, scope["method"][:20], path, status)


class CrossOriginGuard:
    """Answers what is meant for this server and comes from where it may."""

    def __init__(self, app: ASGIApp, names: AllowedHosts, *, cors: Iterable[str] = ()) -> None:
        self._app = app
        self._names = names
        self._cors = frozenset(cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._names.knows(host):
            refusal = failure(
                421,
                "This server does not go by the name that was asked for. Call it by the address "
                "that it printed, or start it with --allow-host NAME.",
            )
            await refusal(scope, receive, send)
        elif scope["method"] not in SAFE_METHODS and self._is_foreign(headers, host):
            refusal = failure(
                403,
                "A page of another site may not do this. If you trust that site, name its origin "
                "in IMAGEGEN_CORS.",
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Whether a browser says that another site's page sends this."""
        origin = headers.get("origin")
        if origin is not None and origin.lower() in self._cors:
            return False
        site = headers.get("sec-fetch-site", "none")
        if site == "same-origin":
            return False
        # Another port of this machine is the same site, and as foreign as any.
        return site != "none" or (origin is not None and not _is_of(origin, host))


def _is_of(origin: str, host: str) -> bool:
    """Whether an origin is the one that a Host header names, TLS in front of it or not."""
    try:
        parts = urlsplit(origin.lower())
        port = {"http": "80", "https": "443"}[parts.scheme]
    except (ValueError, KeyError):
        return False
    own = host.lower()
    return parts.netloc in (own, f"{own}:{port}") or own == f"{parts.netloc}:{port}"


class BodyLimit:
    """Reads a request's body whole before anything sees it: small, in time, and JSON."""

    def __init__(self, app: ASGIApp, *, seconds: float, largest: int = LARGEST_BODY) -> None:
        self._app = app
        self._seconds = seconds
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal: ASGIApp
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._whole(receive)
        except TimeoutError:
            refusal = failure(
                408,
                f"The request was not whole within {self._seconds:g} s. Send it again.",
                headers={"connection": "close"},
            )
            await refusal(scope, receive, send)
            return
        if body is None:
            refusal = failure(
                413,
                f"The request is larger than {self._largest:,} bytes. Send less at once.",
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

    async def _whole(self, receive: Receive) -> bytes | None:
        """The body; None for one that is too large, of which the rest is read and dropped: a
        client that still sends would not see the answer.
        """
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self._largest:
                await _drain(receive, message)
                return None
            if not message.get("more_body"):
                return bytes(body)


async def _drain(receive: Receive, message: Message) -> None:
    dropped = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while message.get("more_body") and dropped < _DRAINED:
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
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
