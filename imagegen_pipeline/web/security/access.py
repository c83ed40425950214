"""Who may come in: by the token in a header, or by a session that the login gave.

Without a token (loopback only) everybody of this machine may. Guesses are counted by client,
so that trying out tokens takes longer than a life.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen_pipeline.clock import Clock, SystemClock
from imagegen_pipeline.web.api.responses import failure

COOKIE = "imagegen_session"
SESSION_SECONDS = 7 * 24 * 3600
MOST_GUESSES = 10
GUESS_SECONDS = 300.0
_MOST_CLIENTS = 10_000
_MOST_COOKIES = 4
_OPEN = ("/login", "/logout", "/healthz", "/static/")
_UNKNOWN = (
    "The token is missing or wrong. Send it as `Authorization: Bearer …`, or log in at /login."
)


class LoginThrottle:
    """How often a client has been wrong lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait_seconds(self, client: str) -> int:
        """How long the client has to wait before its next try counts; 0 when it need not."""
        with self._lock:
            wrong = self._recent(client)
            if len(wrong) < MOST_GUESSES:
                return 0
            return math.ceil(wrong[-MOST_GUESSES] + GUESS_SECONDS - self._clock.monotonic()) or 1

    def note(self, client: str) -> None:
        """The client was wrong once more."""
        with self._lock:
            wrong = [*self._recent(client), self._clock.monotonic()]
            self._wrong[client] = wrong[-MOST_GUESSES:]
            self._wrong.move_to_end(client)
            while len(self._wrong) > _MOST_CLIENTS:
                self._wrong.popitem(last=False)

    def _recent(self, client: str) -> list[float]:
        since = self._clock.monotonic() - GUESS_SECONDS
        return [moment for moment in self._wrong.get(client, ()) if moment > since]


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """Whether a request may come in; ``wait`` in seconds where it may not even try."""

    ok: bool
    wait: int = 0


class Access:
    """Compares tokens and sessions, in a time that says nothing of them."""

    def __init__(self, token: SecretStr | None, clock: Clock | None = None) -> None:
        self._token = None if token is None else token.get_secret_value().encode()
        self._guesses = LoginThrottle(clock or SystemClock())

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    def by_headers(self, headers: Headers, client: str) -> AccessDecision:
        """Whether these headers let a request in."""
        if self._token is None or self._has_session(headers):
            return AccessDecision(ok=True)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            return AccessDecision(ok=False)  # nobody guessed
        return self.by_token(given.strip(), client)

    def by_token(self, given: str, client: str) -> AccessDecision:
        """Whether ``given`` is the token."""
        if self._token is None:
            return AccessDecision(ok=True)
        wait = self._guesses.wait_seconds(client)
        if wait:
            return AccessDecision(ok=False, wait=wait)
        if hmac.compare_digest(given.encode("utf-8", "replace"), self._token):
            return AccessDecision(ok=True)
        self._guesses.note(client)
        return AccessDecision(ok=False)

    def session(self) -> str:
        """A session's cookie: its end, and a seal that only the token's holder can make."""
        end = str(int(time.time()) + SESSION_SECONDS)
        return f"{end}.{self._seal(end)}"

    def _seal(self, end: str) -> str:
        return hmac.new(self._token or b"", f"session {end}".encode(), hashlib.sha256).hexdigest()

    def _has_session(self, headers: Headers) -> bool:
        return any(map(self._is_session, _cookies(headers)))

    def _is_session(self, cookie: str) -> bool:
        end, _, seal = cookie.partition(".")
        if not (end.isascii() and end.isdigit() and len(end) < 16 and seal.isascii()):
            return False
        return hmac.compare_digest(seal, self._seal(end)) and int(end) > time.time()


def _cookies(headers: Headers) -> list[str]:
    """What is called as our cookie is. Those of the machine's other servers come along, and may
    be in no form at all: a parser that is strict would give up at them.
    """
    parts = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return [value for name, _, value in parts if name == COOKIE][:_MOST_COOKIES]


def client_of(scope: Scope) -> str:
    """Who asks: an address, or the network that one person has of IPv6."""
    host = str((scope.get("client") or ("?", 0))[0])
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and not address.is_loopback:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class AuthMiddleware:
    """Lets in who has the token or a session; shows the login to a person who has not."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or self._access.is_open or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        verdict = self._access.by_headers(headers, client_of(scope))
        if verdict.ok:
            await self._app(scope, receive, send)
            return
        await _refusal(scope, headers, verdict)(scope, receive, send)


def _is_open(path: str) -> bool:
    return any(path == place or (place[-1] == "/" and path.startswith(place)) for place in _OPEN)


def _refusal(scope: Scope, headers: Headers, verdict: AccessDecision) -> Response:
    if verdict.wait:
        return failure(429, _too_many(verdict.wait), headers={"retry-after": str(verdict.wait)})
    wants_a_page = "text/html" in headers.get("accept", "")
    if scope["method"] == "GET" and wants_a_page and not scope["path"].startswith("/api/"):
        query = scope["query_string"].decode("latin-1")
        here = scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(here, safe='')}", 303)
    return failure(401, _UNKNOWN, headers={"www-authenticate": "Bearer"})


def _too_many(wait: int) -> str:
    return f"Too many wrong tokens came from here. Try again in {wait} s."


router = APIRouter(include_in_schema=False)


@router.get("/login")
def login_page(request: Request) -> Response:
    """The form that asks for the token."""
    to = _own_path(request.query_params.get("next", "/"))
    access: Access = request.app.state.access
    if access.by_headers(request.headers, client_of(request.scope)).ok:
        return RedirectResponse(to, 303)
    return _form(to)


@router.post("/login")
async def login(request: Request) -> Response:
    """Exchange the token for a session."""
    try:
        fields = dict(parse_qsl((await request.body()).decode(), max_num_fields=10))
    except ValueError:
        return failure(400, "The form cannot be read. Open /login and try again.")
    access: Access = request.app.state.access
    to = _own_path(fields.get("next", "/"))
    verdict = access.by_token(fields.get("token", "").strip(), client_of(request.scope))
    if verdict.wait:
        answer = _form(to, _too_many(verdict.wait), 429)
        answer.headers["retry-after"] = str(verdict.wait)
        return answer
    if not verdict.ok:
        return _form(to, "That is not the token.", 401)
    answer = RedirectResponse(to, 303)
    if not access.is_open:
        answer.set_cookie(
            COOKIE,
            access.session(),
            max_age=SESSION_SECONDS,
            path="/",
            secure=_is_https(request),
            httponly=True,
            samesite="strict",
        )
    return answer


@router.post("/logout")
def logout(request: Request) -> Response:
    """End the session in this browser."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(
        COOKIE, path="/", secure=_is_https(request), httponly=True, samesite="strict"
    )
    return answer


def _form(to: str, error: str | None = None, status_code: int = 200) -> Response:
    from imagegen_pipeline.web.gallery.pages import render

    return render("login.html", status_code=status_code, error=error, next=to)


def _is_https(request: Request) -> bool:
    """Whether the browser came by TLS, a proxy in front of this server included."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


def _own_path(to: str) -> str:
    """Where to go after the login: a path of this server, nobody else's address."""
    is_own = to.startswith("/") and to.isprintable() and to.isascii()
    return to if is_own and not to.startswith("//") and "\\" not in to else "/"
