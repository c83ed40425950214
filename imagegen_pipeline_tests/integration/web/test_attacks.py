"""Attacks by hostile pages, clients and names. Each test's first sentence names the attack."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from itsdangerous import TimestampSigner
from pydantic import SecretStr

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.web.options import ServeOptions
from imagegen_pipeline.web.security.access import (
    COOKIE,
    FAILURE_WINDOW_SECONDS,
    MAX_FAILURES,
    SESSION_SECONDS,
    AccessPolicy,
    client_of,
)
from imagegen_pipeline.web.security.allowed_hosts import AllowedHosts, host_of
from imagegen_pipeline_tests.integration.web.conftest import PARAMS, Serve, Served

PATH = "/api/generate-base-image"
TOKEN = "a token that opens nothing but these tests".replace(" ", "-")
ORIGIN = "https://pictures.example"


def send_raw(server: Served, data: bytes) -> socket.socket:
    """A connection on which these bytes were sent; reading from it fails after 60 s of silence."""
    port = int(server.url.rpartition(":")[2])
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(data)
    return client


def read_until_closed(client: socket.socket) -> bytes:
    """Everything until the server closes the connection; raises TimeoutError if it does not."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            received += part
    return received


def read_for(client: socket.socket, seconds: float) -> bytes:
    """Everything until the server closes the connection or sends nothing for ``seconds``."""
    client.settimeout(seconds)
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while part := client.recv(65536):
            received += part
    return received


# Hosts and origins -----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_dns_rebinding(server: Served, host: str) -> None:
    """DNS rebinding: a page whose own name was given this machine's address gets 421."""
    for answer in (
        server.get("/api/pictures", headers={"host": host}),
        server.post(PATH, PARAMS, headers={"host": host}),
    ):
        assert answer.status_code == 421
        assert answer.json()["status"] == "FAILED"
    assert server.simulator.billed("runpod") == 0


@pytest.mark.parametrize(
    "header", ["", "a b", "[::1", "127.0.0.1:", "127.0.0.1:x", "user@127.0.0.1", "127.0.0.1/x"]
)
def test_a_malformed_host_header(header: str) -> None:
    """Host confusion: a malformed Host header, or one that hides a host, is refused."""
    assert not AllowedHosts(ServeOptions()).allows(header)


@pytest.mark.parametrize(
    "header",
    ["127.0.0.1", "127.0.0.1:8000", "LOCALHOST:8000", "[::1]:8000", "[0:0::1]", "127.9.9.9"],
)
def test_loopback_names_are_allowed(header: str) -> None:
    """All names and addresses of this machine's loopback interface are accepted."""
    assert AllowedHosts(ServeOptions()).allows(header)


def test_an_unspecified_address_allows_the_machines_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bound to all addresses, it accepts this machine's and the configured names only."""
    import psutil

    addresses = {
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    }
    names = AllowedHosts(ServeOptions(host="0.0.0.0", allowed_hosts=("pictures.example",)))  # noqa: S104
    assert all(names.allows(f"{address}:8000") for address in addresses)
    assert names.allows("Pictures.Example")
    assert not names.allows("192.0.2.77")
    assert not names.allows("0.0.0.0:8000")
    assert not AllowedHosts(ServeOptions()).allows("192.0.2.77")
    assert host_of("[2001:DB8::1]:80") == "2001:db8::1"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    ],
)
def test_cross_site_request_forgery(server: Served, headers: dict[str, str]) -> None:
    """CSRF: another site's page, or another port's of this machine, cannot spend money."""
    for path in (PATH, "/api/generations", "/api/reviews", "/login"):
        answer = server.post(path, PARAMS, headers=headers)
        assert answer.status_code == 403, path
        assert answer.json()["status"] == "FAILED"
    assert server.simulator.billed("runpod") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_requests_of_the_gallerys_own_pages(server: Served, headers: dict[str, str]) -> None:
    """The headers that browsers send for the gallery's own pages are accepted."""
    assert (
        server.post("/api/cost-estimates", {}, headers=headers).status_code == 400
    )  # not 403: the body was read
    own = {"origin": server.url, **headers}
    assert server.post("/api/cost-estimates", {}, headers=own).status_code == 400


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_json_posted_as_a_form(server: Served, kind: str) -> None:
    """CSRF by a plain form, which needs no preflight: a body that is not declared JSON is 415."""
    answer = server.session.post(
        server.url + PATH, data=json.dumps(PARAMS), headers={"content-type": kind}, timeout=30
    )
    assert answer.status_code == 415
    assert server.simulator.billed("runpod") == 0


def test_cors_is_closed_unless_it_is_opened(serve: Serve) -> None:
    """Cross-origin reading: only the configured origin gets CORS headers."""
    preflight = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    closed = serve()
    answer = closed.session.options(closed.url + PATH, headers=preflight, timeout=30)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    read = closed.get("/api/pictures", headers={"origin": ORIGIN})
    assert not [name for name in read.headers if name.lower().startswith("access-control")]

    opened = serve(cors=(ORIGIN,))
    answer = opened.session.options(opened.url + PATH, headers=preflight, timeout=30)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    made = opened.post(PATH, PARAMS, headers={"origin": ORIGIN, "sec-fetch-site": "cross-site"})
    assert made.status_code == 200
    assert made.headers["access-control-allow-origin"] == ORIGIN
    other = {"origin": "https://other.example", "sec-fetch-site": "cross-site"}
    assert opened.post(PATH, PARAMS, headers=other).status_code == 403


# Tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104
def test_a_gallery_open_to_all(host: str) -> None:
    """An open gallery: without a token only loopback addresses are listened at."""
    with pytest.raises(SetupError, match="IMAGEGEN_TOKEN is not set"):
        ServeOptions(host=host).check()
    ServeOptions(host=host, token=SecretStr(TOKEN)).check()


def test_every_address_needs_the_token(serve: Serve) -> None:
    """Unauthorised access: every address is 401, or redirects a browser to the login."""
    server = serve(token=SecretStr(TOKEN))
    document = requests.get(
        f"{server.url}/openapi.json", headers={"authorization": f"Bearer {TOKEN}"}, timeout=30
    ).json()
    for path, methods in document["paths"].items():
        for method in methods:
            if path == "/healthz":
                continue
            address = path.replace("{attempt_id}", "1").replace("{", "").replace("}", "")
            answer = server.session.request(method, server.url + address, timeout=30)
            assert answer.status_code == 401, (method, path)
            assert answer.json()["status"] == "FAILED"
            assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/", "/cards", "/picture/x", "/docs", "/openapi.json", "/pictures/1"):
        assert server.get(path).status_code == 401, path
        page = server.get(path, headers={"accept": "text/html"})
        assert page.status_code == 303
        assert page.headers["location"].startswith("/login?next=%2F")
    assert server.get("/healthz").json() == {"status": "ok"}


def test_the_token_and_a_session_give_access(serve: Serve) -> None:
    """A program sends the token; a browser gets a session cookie without the token."""
    server = serve(token=SecretStr(TOKEN))
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert server.get("/api/totals", headers=headers).status_code == 200
    form = {"token": TOKEN, "next": "/?state=done"}
    answer = server.session.post(
        f"{server.url}/login", data=form, allow_redirects=False, timeout=30
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?state=done"
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    for flag in ("httponly", "samesite=strict", "path=/", f"max-age={SESSION_SECONDS}"):
        assert flag in cookie.lower()
    assert "secure" not in cookie.lower()
    assert server.get("/api/totals").status_code == 200  # the session's cookie
    over_tls = requests.post(
        f"{server.url}/login",
        data=form,
        headers={"origin": server.url.replace("http:", "https:")},
        allow_redirects=False,
        timeout=30,
    )
    assert "secure" in over_tls.headers["set-cookie"].lower()


def log_in(server: Served, token: str = TOKEN) -> str:
    """Log in with the form; returns the session cookie's value."""
    answer = requests.post(
        f"{server.url}/login", data={"token": token}, allow_redirects=False, timeout=30
    )
    return answer.cookies[COOKIE]


def status_with_cookie(server: Served, cookie: str) -> int:
    """The status of an API request with these Cookie header bytes and no token."""
    headers = {"cookie": cookie.encode("latin-1")}
    return requests.get(f"{server.url}/api/totals", headers=headers, timeout=30).status_code


def test_a_forged_session(serve: Serve) -> None:
    """Session forgery: a cookie that the server has not signed opens nothing."""
    server = serve(token=SecretStr(TOKEN))
    for payload in ("0", b64encode(b'{"logged_in": true}').decode(), "", "9" * 400, "null", "é"):
        for signature in ("", ".x", ".ZZZZZZ.x", ".ZZZZZZ." + "0" * 27, ".é.é"):
            assert status_with_cookie(server, f"{COOKIE}={payload}{signature}") == 401


def test_a_session_of_another_token(serve: Serve) -> None:
    """Session reuse: a session ends when IMAGEGEN_TOKEN changes, and survives a restart."""
    cookie = f"{COOKIE}={log_in(serve(token=SecretStr(TOKEN)))}"
    assert status_with_cookie(serve(token=SecretStr(TOKEN)), cookie) == 200
    assert status_with_cookie(serve(token=SecretStr(f"{TOKEN}-2")), cookie) == 401


@pytest.mark.parametrize(("age", "status"), [(-60, 200), (60, 401)])
def test_a_session_expires(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, age: int, status: int
) -> None:
    """Session theft: a stolen cookie is refused after a week."""
    server = serve(token=SecretStr(TOKEN))
    then = int(time.time()) - SESSION_SECONDS - age
    with monkeypatch.context() as patch:
        patch.setattr(TimestampSigner, "get_timestamp", lambda _signer: then)
        cookie = log_in(server)
    assert status_with_cookie(server, f"{COOKIE}={cookie}") == status


def test_logout_ends_the_session(serve: Serve) -> None:
    """The browser's cookie is deleted."""
    server = serve(token=SecretStr(TOKEN))
    server.session.post(f"{server.url}/login", data={"token": TOKEN}, timeout=30)
    assert server.get("/api/totals").status_code == 200
    server.session.post(f"{server.url}/logout", timeout=30)
    assert server.get("/api/totals").status_code == 401


@pytest.mark.parametrize("other", ['a={"b": 1}', "a b=1", 'a="b', "a=é", f"{COOKIE}=1.2"])
def test_cookies_of_other_servers(serve: Serve, other: str) -> None:
    """A session counts beside the cookies that other servers of this host have set."""
    server = serve(token=SecretStr(TOKEN))
    assert status_with_cookie(server, f"{other}; {COOKIE}={log_in(server)}") == 200


class StillClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def now(self) -> float:
        """The moment."""
        return self.moment

    def monotonic(self) -> float:
        """The moment."""
        return self.moment

    def wait(self, _stop: Any, _seconds: float) -> bool:
        """Not used."""
        raise AssertionError


def test_guessing_the_token() -> None:
    """Token guessing: after ten wrong tokens a client has to wait, even with the right one; other
    clients do not.
    """
    clock = StillClock()
    policy = AccessPolicy(SecretStr(TOKEN), clock)
    for number in range(MAX_FAILURES):
        assert not policy.check_token(f"guess-{number}", "192.0.2.1").allowed
    locked = policy.check_token(TOKEN, "192.0.2.1")
    assert not locked.allowed
    assert 0 < locked.wait_seconds <= FAILURE_WINDOW_SECONDS
    assert policy.check_token(TOKEN, "192.0.2.2").allowed
    clock.moment += FAILURE_WINDOW_SECONDS + 1
    assert policy.check_token(TOKEN, "192.0.2.1").allowed


def test_guessing_from_many_addresses_of_one_network() -> None:
    """Token guessing from an IPv6 network: its 2^64 addresses count as one client."""
    first, second = (client_of({"client": (f"2001:db8::{n}", 1)}) for n in (1, 2))
    assert first == second
    assert client_of({"client": ("2001:db9::1", 1)}) != first


def test_a_wrong_token_over_http(serve: Serve) -> None:
    """Token guessing: 429 with Retry-After after ten wrong tokens, by header and by form."""
    server = serve(token=SecretStr(TOKEN))
    wrong = {"authorization": "Bearer wrong-token-wrong-token"}
    codes = [server.get("/api/totals", headers=wrong).status_code for _ in range(MAX_FAILURES)]
    assert set(codes) == {401}
    refused = server.get("/api/totals", headers={"authorization": f"Bearer {TOKEN}"})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    form = server.session.post(f"{server.url}/login", data={"token": TOKEN}, timeout=30)
    assert form.status_code == 429
    assert "set-cookie" not in form.headers


@pytest.mark.parametrize(
    "to",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\r\nx"],
)
def test_an_open_redirect_by_the_login(serve: Serve, to: str) -> None:
    """Open redirect: the login redirects to a path of this server, whatever ``next`` says."""
    server = serve(token=SecretStr(TOKEN))
    answer = server.session.post(
        f"{server.url}/login",
        data={"token": TOKEN, "next": to},
        allow_redirects=False,
        timeout=30,
    )
    assert answer.headers["location"] == "/"


def test_secrets_in_answers(
    serve_live: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Leaking: no response, page or log line contains a key, the token or a traceback."""
    key = "live-key-of-these-tests-12345"
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    server = serve_live(token=SecretStr(TOKEN))
    headers = {"authorization": f"Bearer {TOKEN}"}
    texts = [server.post(PATH, PARAMS, headers=headers).text]
    paths = ("/", "/api/pictures", "/openapi.json", f"/api/x?token={TOKEN}", "/api/problems")
    texts += [server.get(path, headers=headers).text for path in paths]
    server.stop()
    logs = [file.read_text() for file in (server.project.data / "logs").glob("*")]
    for text in (*texts, *logs, *capfd.readouterr()):
        assert key not in text
        assert TOKEN not in text
        assert "Traceback" not in text


def test_an_internal_error_leaks_nothing(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaking by errors: an internal error is a 500 in the API's shape, with the security headers
    and without the error's text; the server goes on running.
    """

    def fail() -> None:
        raise ValueError("secret-of-the-inside")

    monkeypatch.setattr(server.pipeline.ledger.gallery, "totals", fail)
    answer = server.get("/api/totals")
    assert answer.status_code == 500
    assert answer.json()["status"] == "FAILED"
    assert "ValueError" in answer.json()["error"]
    assert "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert server.get("/healthz").ok


# Bodies and connections ------------------------------------------------------------------


def test_a_body_that_is_too_large(server: Served) -> None:
    """Memory exhaustion: a body of more than 1 MB is 413, with and without Content-Length."""
    big = b'{"actorName": "' + b"a" * 1_100_000 + b'"}'
    headers = {"content-type": "application/json"}
    declared = server.session.post(server.url + PATH, data=big, headers=headers, timeout=30)
    streamed = server.session.post(
        server.url + PATH, data=iter([big[:9000], big[9000:]]), headers=headers, timeout=30
    )
    for answer in (declared, streamed):
        assert answer.status_code == 413
        assert answer.json()["status"] == "FAILED"


def test_a_body_that_never_ends(serve: Serve) -> None:
    """Slow body (R-U-Dead-Yet): a request that is not complete in time is 408 and closed."""
    server = serve(body_seconds=0.4)
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with closing(send_raw(server, f"{head}Content-Length: 100\r\n\r\n{{".encode())) as client:
        answer = read_until_closed(client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"status":"FAILED"' in answer


def test_a_head_that_never_ends(serve: Serve) -> None:
    """Slow head (Slowloris): a connection without a whole head in time is closed, and others are
    answered meanwhile; also for a partial head, and after a complete request.
    """
    server = serve(head_seconds=0.5)
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for begin in (b"", b"GET / HTTP/1.1\r\nHost: local", whole + b"GET / HT"):
        with closing(send_raw(server, begin)) as client:
            assert server.get("/healthz").ok
            answers = read_until_closed(client)
        assert answers.count(b"HTTP/1.1 200") == begin.count(b"healthz")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 3\r\n\r\n0\r\n\r\n",
    ],
)
def test_broken_http(server: Served, data: bytes) -> None:
    """Request smuggling and noise: malformed HTTP is 4xx, and the server goes on running."""
    with closing(send_raw(server, data)) as client:
        answer = read_for(client, 3)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert server.get("/healthz").ok


def test_a_forged_log_line(server: Served, capfd: pytest.CaptureFixture[str]) -> None:
    """Log injection: a line break in an address stays percent-encoded in the log."""
    server.get("/api/x%0d%0a2026-01-01 root POST /api/generations 200")
    server.stop()
    lines = [line for line in capfd.readouterr().err.splitlines() if "/api/x" in line]
    assert len(lines) == 1
    assert "%0D%0A" in lines[0]


# Pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs", "/api/pictures", "/pictures/1", "/no/such"])
def test_every_response_has_the_security_headers(server: Served, path: str) -> None:
    """XSS, framing, sniffing: each response has the strict policy and the related headers."""
    headers = server.get(path).headers
    policy = headers["content-security-policy"]
    for part in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"


# Names -----------------------------------------------------------------------------------

TRAVERSALS = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..\\..\\etc\\passwd",
    "%00",
    "....//....//etc/passwd",
    "/etc/passwd",
    "%252e%252e%252fetc%252fpasswd",
]


@pytest.mark.parametrize(
    "where",
    [
        "/static/{}",
        "/docs/files/{}",
        "/pictures/{}",
        "/thumbnails/{}.webp",
        "/downloads/{}.zip",
        "/api/jobs/{}",
        "/api/pictures/{}",
        "/api/base-images/{}",
        "/picture/{}",
    ],
)
def test_path_traversal_in_addresses(server: Served, where: str) -> None:
    """Path traversal: no address reaches a file outside the served folders."""
    for name in TRAVERSALS:
        head = f"GET {where.format(name)} HTTP/1.1\r\nHost: localhost\r\nConnection: close"
        with closing(send_raw(server, f"{head}\r\n\r\n".encode())) as client:
            answer = read_until_closed(client)
        assert answer.startswith(b"HTTP/1.1 4"), (name, answer[:200])
        assert b"root:" not in answer


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", ".", "a\\b", "/etc", "a\x00b", "é"])
def test_path_traversal_in_an_actors_name(server: Served, name: str) -> None:
    """Path traversal: an actor's name is only a folder's name."""
    answer = server.post(PATH, {**PARAMS, "actorName": name})
    assert answer.status_code == 400
    assert "folder name" in answer.json()["error"]
    assert server.simulator.billed("runpod") == 0


def test_an_actors_folder_that_is_a_link(serve_live: Serve, tmp_path: Path) -> None:
    """Link following: nothing is written to an actor's folder that links to another place."""
    server = serve_live()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    roster = server.project.data / "actors"
    roster.mkdir(exist_ok=True)
    (roster / "linked").symlink_to(elsewhere)
    answer = server.post(PATH, {**PARAMS, "actorName": "linked"})
    assert answer.status_code == 400
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("number", ["0", "-1", "9" * 30, str(2**63), "1.5", "1e3", "x", "%31x"])
def test_numbers_that_are_not_ids(server: Served, number: str) -> None:
    """Integer overflow: an id beyond the database's range is refused."""
    for where in (f"/pictures/{number}", f"/thumbnails/{number}.webp"):
        assert server.get(where).status_code in (400, 404)
    body = {"attempts": [int(number)] if number.lstrip("-").isdigit() else [number]}
    for path in ("/api/downloads", "/api/reviews"):
        assert server.post(path, {**body, "verdict": "approved"}).status_code == 400
    assert server.get(f"/api/pictures?offset={number}").status_code in (200, 400)


def test_an_image_file_that_is_a_link(server: Served, tmp_path: Path) -> None:
    """Link following: an image file that was replaced by a link to a secret is not served."""
    server.make()
    (attempt,) = server.pipeline.ledger.gallery.history(str(PARAMS["actorName"]))
    secret = tmp_path.parent / f"secret-{os.getpid()}.png"
    secret.write_bytes(b"root:secret")
    file = server.pipeline.store.absolute(str(attempt.path))
    assert server.get(f"/pictures/{attempt.id}").status_code == 200
    file.unlink()
    file.symlink_to(secret)
    for path in (f"/pictures/{attempt.id}", f"/thumbnails/{attempt.id}.webp"):
        answer = server.get(path)
        assert answer.status_code == 404
        assert b"secret" not in answer.content
    secret.unlink()


def test_an_image_file_that_is_not_an_image(server: Served) -> None:
    """Decompression bombs and scripts: bytes that are not an image become no thumbnail."""
    server.make()
    (attempt,) = server.pipeline.ledger.gallery.history(str(PARAMS["actorName"]))
    file = server.pipeline.store.absolute(str(attempt.path))
    file.write_bytes(b"<svg onload=alert(1)>")
    small = server.get(f"/thumbnails/{attempt.id}.webp")
    assert small.status_code == 502
    assert small.json()["status"] == "FAILED"
    original = server.get(f"/pictures/{attempt.id}")
    assert original.headers["content-type"] == "image/png"
    assert original.headers["x-content-type-options"] == "nosniff"
