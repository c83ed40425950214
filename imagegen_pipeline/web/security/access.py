"""Access control: a bearer token for programs, a signed session cookie for browsers.

Without a token (loopback addresses only) every request is allowed. Wrong tokens are counted
per client, and a client with too many has to wait.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen_pipeline.clock import Clock, SystemClock
from imagegen_pipeline.web.api.responses import failure

COOKIE = "imagegen_session"
SESSION_SECONDS = 7 * 24 * 3600
MAX_FAILURES = 10
FAILURE_WINDOW_SECONDS = 300.0
_MAX_CLIENTS = 10_000
_LOGGED_IN = "logged_in"
_PUBLIC_PATHS = ("/login", "/logout", "/healthz", "/static/")
_UNAUTHORIZED = (
    "The token is missing or wrong. Send it as `Authorization: Bearer …`, or log in at /login."
)


class LoginThrottle:
    """Counts the wrong tokens of each client within the last ``FAILURE_WINDOW_SECONDS``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait_seconds(self, client: str) -> int:
        """Seconds until the client may try again; 0 if it may now."""
        with self._lock:
            recent = self._recent(client)
            if len(recent) < MAX_FAILURES:
                return 0
            end = recent[-MAX_FAILURES] + FAILURE_WINDOW_SECONDS
            return math.ceil(end - self._clock.monotonic()) or 1

    def record_failure(self, client: str) -> None:
        """Count one more wrong token of the client."""
        with self._lock:
            failures = [*self._recent(client), self._clock.monotonic()]
            self._failures[client] = failures[-MAX_FAILURES:]
            self._failures.move_to_end(client)
            while len(self._failures) > _MAX_CLIENTS:
                self._failures.popitem(last=False)

    def _recent(self, client: str) -> list[float]:
        since = self._clock.monotonic() - FAILURE_WINDOW_SECONDS
        return [moment for moment in self._failures.get(client, ()) if moment > since]


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """Whether a request is allowed; ``wait_seconds`` when its client is throttled."""

    allowed: bool
    wait_seconds: int = 0


class AccessPolicy:
    """Checks tokens and sessions. Tokens are compared in constant time."""

    def __init__(self, token: SecretStr | None, clock: Clock | None = None) -> None:
        self._token = None if token is None else token.get_secret_value().encode()
        self._throttle = LoginThrottle(clock or SystemClock())

    @property
    def is_open(self) -> bool:
        """Whether no token is required."""
        return self._token is None

    @property
    def session_secret(self) -> str:
        """The key that signs session cookies. It follows from the token: a restart keeps the
        sessions, a changed token ends them.
        """
        return hmac.new(self._token or b"", b"session cookie", hashlib.sha256).hexdigest()

    def check_request(self, scope: Scope) -> AccessDecision:
        """Whether the request has a session, or the token in its Authorization header."""
        if self._token is None or scope.get("session", {}).get(_LOGGED_IN) is True:
            return AccessDecision(allowed=True)
        authorization = Headers(scope=scope).get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return AccessDecision(allowed=False)  # no token, so not a wrong one
        return self.check_token(token.strip(), client_of(scope))

    def check_token(self, token: str, client: str) -> AccessDecision:
        """Whether ``token`` is the server's. A wrong one is counted for ``client``."""
        if self._token is None:
            return AccessDecision(allowed=True)
        wait_seconds = self._throttle.wait_seconds(client)
        if wait_seconds:
            return AccessDecision(allowed=False, wait_seconds=wait_seconds)
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return AccessDecision(allowed=True)
        self._throttle.record_failure(client)
        return AccessDecision(allowed=False)


def client_of(scope: Scope) -> str:
    """The client's address; for IPv6 its /64 network, which one person can own."""
    host = str((scope.get("client") or ("?", 0))[0])
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and not address.is_loopback:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class LoginSessions:
    """Starlette's signed session cookie; marked Secure when the browser came by TLS."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self._by_http, self._by_https = (
            SessionMiddleware(
                app,
                policy.session_secret,
                session_cookie=COOKIE,
                max_age=SESSION_SECONDS,
                same_site="strict",
                https_only=https_only,
            )
            for https_only in (False, True)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        middleware = self._by_https if _is_https(scope) else self._by_http
        await middleware(scope, receive, send)


def _is_https(scope: Scope) -> bool:
    """Whether the browser came by TLS, including TLS that ends at a proxy."""
    if scope["type"] != "http":
        return False
    origin = Headers(scope=scope).get("origin", "")
    return scope["scheme"] == "https" or origin.startswith("https://")


class AuthMiddleware:
    """Refuses requests without a token or session; redirects page requests to the login."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or self._policy.is_open or _is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        decision = self._policy.check_request(scope)
        response = self._app if decision.allowed else _refusal(scope, decision)
        await response(scope, receive, send)


def _is_public(path: str) -> bool:
    return any(
        path == public or (public[-1] == "/" and path.startswith(public))
        for public in _PUBLIC_PATHS
    )


def _refusal(scope: Scope, decision: AccessDecision) -> Response:
    if decision.wait_seconds:
        headers = {"retry-after": str(decision.wait_seconds)}
        return failure(429, _throttled(decision), headers=headers)
    accepts_html = "text/html" in Headers(scope=scope).get("accept", "")
    if scope["method"] == "GET" and accepts_html and not scope["path"].startswith("/api/"):
        query = scope["query_string"].decode("latin-1")
        address = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(address, safe='')}", 303)
    return failure(401, _UNAUTHORIZED, headers={"www-authenticate": "Bearer"})


def _throttled(decision: AccessDecision) -> str:
    return f"Too many wrong tokens from this address. Try again in {decision.wait_seconds} s."


router = APIRouter(include_in_schema=False)


@router.get("/login")
def login_page(request: Request) -> Response:
    """The form that asks for the token."""
    target = _own_path(request.query_params.get("next", "/"))
    policy: AccessPolicy = request.app.state.access
    if policy.check_request(request.scope).allowed:
        return RedirectResponse(target, 303)
    return _login_form(target)


@router.post("/login")
async def login(request: Request) -> Response:
    """Exchange the token for a session."""
    try:
        fields = dict(parse_qsl((await request.body()).decode(), max_num_fields=10))
    except ValueError:
        return failure(400, "The form cannot be read. Open /login and try again.")
    policy: AccessPolicy = request.app.state.access
    target = _own_path(fields.get("next", "/"))
    decision = policy.check_token(fields.get("token", "").strip(), client_of(request.scope))
    if decision.wait_seconds:
        response = _login_form(target, _throttled(decision), 429)
        response.headers["retry-after"] = str(decision.wait_seconds)
        return response
    if not decision.allowed:
        return _login_form(target, "That is not the token.", 401)
    if not policy.is_open:
        request.session[_LOGGED_IN] = True
    return RedirectResponse(target, 303)


@router.post("/logout")
def logout(request: Request) -> Response:
    """End the session in this browser."""
    if not request.app.state.access.is_open:
        request.session.clear()
    return RedirectResponse("/login", 303)


def _login_form(target: str, error: str | None = None, status_code: int = 200) -> Response:
    from imagegen_pipeline.web.gallery.pages import render

    return render("login.html", status_code=status_code, error=error, next=target)


def _own_path(target: str) -> str:
    """Where the login leads: a path of this server, never an address of another one."""
    is_path = target.startswith("/") and target.isprintable() and target.isascii()
    return target if is_path and not target.startswith("//") and "\\" not in target else "/"
