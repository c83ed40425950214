"""HTTP to a provider: time-outs on every call, size limits, and refusals as typed errors.

A request that may create something is sent once. If it fails before a connection is made,
nothing was sent (UnreachableError); after that, an image may have been billed
(OutcomeUnknownError).
"""

from __future__ import annotations

import email.utils
import html
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal
from urllib.parse import quote

import requests
from pydantic import SecretStr
from requests.auth import AuthBase
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    SetupError,
    UnreachableError,
)
from imagegen_pipeline.providers.base import Timeouts
from imagegen_pipeline.providers.http.connections import LimitedAdapter
from imagegen_pipeline.providers.http.inflate import ACCEPTED, inflated
from imagegen_pipeline.providers.http.response_parsing import one_line, read_json

LARGEST_ANSWER = 100 * 1024 * 1024
"""Bytes of JSON, base64 pictures included."""
EXCERPT = 300
_EXCERPT_SOURCE = 20 * EXCERPT
"""Characters of a text that are read for an excerpt, however long it is."""
_PART = 256 * 1024
_LONGEST_NUMBER = 20
_HOSTS = 256
"""Hosts whose proxy settings are cached: a provider may use another host for every image."""
_SHORTEST_SECRET = 8
"""A shorter key is a placeholder, and removing it could damage an image's base64."""
_BEFORE_REQUEST = frozenset(
    {
        "CERTIFICATE_VERIFY_FAILED",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_UNRECOGNIZED_NAME",
        "UNSUPPORTED_PROTOCOL",
        "WRONG_VERSION_NUMBER",
    }
)
"""OpenSSL's reasons for a handshake that failed: the request was not sent yet."""


class NoRedirectSession(requests.Session):
    """A session that follows no redirects, keeps no cookies, and reads proxies and certificates
    from the environment once for each host. requests reads the whole environment for every
    request, which took a tenth of an image's CPU time.

    Even with redirects disabled, requests prepares the next request: it reads the whole body,
    whatever its size, and fails on a Location that is no address.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.headers["Accept-Encoding"] = ACCEPTED
        self._environment = lru_cache(_HOSTS)(self._read_environment)

    def merge_environment_settings(self, url: Any, _proxies: Any, stream: Any, *_more: Any) -> Any:  # noqa: ANN401 - as requests calls it
        """See ``Session.merge_environment_settings``; callers give no proxies of their own."""
        scheme, _, rest = str(url).partition("://")
        host = rest.partition("/")[0]
        return {**self._environment(f"{scheme}://{host}"), "stream": stream}

    def _read_environment(self, address: str) -> dict[str, Any]:
        return dict(super().merge_environment_settings(address, {}, None, None, None))

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """None: there is no next step."""
        return None


class NoAuth(AuthBase):
    """Sends nothing, and keeps ``.netrc`` from adding anything."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class KeyAuth(AuthBase):
    """Puts the key on a request, and keeps ``.netrc`` from putting another one there."""

    def __init__(self, key: SecretStr, scheme: str = "") -> None:
        self._key = key
        self._scheme = scheme

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"{self._scheme}{self._key.get_secret_value()}"
        return request

    def __repr__(self) -> str:
        return "KeyAuth(***)"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete HTTP answer: status, JSON body (None when it is none) and its text.

    JSON beyond the limits of ``read_json`` counts as none.
    """

    status: int
    body: Any
    text: str
    retry_after: float | None

    @property
    def excerpt(self) -> str:
        """The start of the text, on one line, for an error's sentence."""
        line = " ".join(one_line(self.text[:_EXCERPT_SOURCE]).split())
        return line if len(line) <= EXCERPT else line[:EXCERPT] + "…"


class HttpClient:
    """One provider's HTTP. Threads share it; the key is in no message and no ``repr``.

    ``scheme`` stands before the key in the Authorization header (``Bearer ``); ``key`` None sends
    no such header.
    Raises SetupError for a key that no HTTP header can hold: requests' own error would have the
    key in its message.
    """

    def __init__(
        self, *, key: str | SecretStr | None, scheme: str = "", timeouts: Timeouts
    ) -> None:
        self._key = _stripped(key or "")
        if not _fits_a_header(self._key):
            raise SetupError(
                "The API key holds a line break or a character outside ASCII.",
                remedy="Copy the key again from the service's page, without quotes or blanks.",
            )
        self._spellings = _spellings(self._key)
        self._timeouts = timeouts
        self._session = NoRedirectSession()
        self._session.auth = NoAuth() if key is None else KeyAuth(self._key, scheme)
        adapter = LimitedAdapter()
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def __repr__(self) -> str:
        return "HttpClient(key=***)"

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def send(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        creates: bool,
        payload: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> HttpResponse:
        """Send once. ``creates``: the request may create something that is billed.

        Raises UnreachableError when no connection was made; else, when the answer broke
        off, OutcomeUnknownError if it ``creates``, ProviderBusyError if not.
        """
        response, raw = self._exchange(method, url, creates=creates, json=payload, params=params)
        return self._answer(response, raw.decode("utf-8", "replace"))

    def fetch(self, url: str, *, params: dict[str, str]) -> tuple[int, bytes]:
        """The status and the bytes at a URL of the provider; raises as ``send``."""
        response, raw = self._exchange("GET", url, creates=False, params=params)
        return response.status_code, raw

    def _exchange(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        creates: bool,
        **body: Any,  # noqa: ANN401 - as requests takes it
    ) -> tuple[requests.Response, bytes]:
        try:
            response = self._session.request(
                method,
                url,
                **body,
                timeout=(self._timeouts.connect, self._timeouts.read),
                allow_redirects=False,
                stream=True,
            )
            with response:
                return response, self._read(response)
        except (OSError, LocationValueError) as error:
            raise self._transport_error(error, creates=creates) from None

    def _read(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + self._timeouts.read
        if announced_length(response) > LARGEST_ANSWER:
            raise _too_long()
        parts, size = [], 0
        for part in received_parts(response):
            size += len(part)
            if size > LARGEST_ANSWER:
                raise _too_long()
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout(
                    f"the answer was not complete after {self._timeouts.read:g} s"
                )
            parts.append(part)
        return b"".join(parts)

    def _transport_error(
        self, error: OSError | LocationValueError, *, creates: bool
    ) -> ProviderError:
        sentence = f"Request exception: {self.without_key(str(error))}."
        if _never_connected(error):
            return UnreachableError(sentence)
        if creates:
            return OutcomeUnknownError(sentence)
        return ProviderBusyError(sentence)

    def without_key(self, text: str) -> str:
        """``text`` with the key removed, in case a provider has repeated it."""
        for spelling in self._spellings:
            text = text.replace(spelling.get_secret_value(), "***")
        return text

    def _answer(self, response: requests.Response, raw: str) -> HttpResponse:
        body, text = read_json(raw), raw
        if len(self._key) >= _SHORTEST_SECRET:
            clean = self._without_key_in(body)
            if clean != body:
                body, text = clean, json.dumps(clean, ensure_ascii=False)
        return HttpResponse(
            status=response.status_code,
            body=body,
            text=self.without_key(text),
            retry_after=retry_after_seconds(response.headers.get("Retry-After")),
        )

    def _without_key_in(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, dict):
            return {
                self.without_key(name): self._without_key_in(inner) for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._without_key_in(inner) for inner in value]
        return self.without_key(value) if isinstance(value, str) else value


def received_parts(response: requests.Response) -> Iterator[bytes]:
    """The body's parts as they arrive, for a caller that limits time and size; some are empty.

    ``iter_content`` would wait until each part is full: a server that sends byte by byte
    holds it for hours, because every byte restarts the read time-out.
    Raises requests' own errors.
    """
    try:
        yield from inflated(_raw_parts(response), response.headers.get("Content-Encoding", ""))
    except ReadTimeoutError as error:
        raise requests.ReadTimeout(error) from None
    except HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from None
    except ValueError as error:
        raise requests.exceptions.ContentDecodingError(str(error)) from None


def _raw_parts(response: requests.Response) -> Iterator[bytes]:
    while part := response.raw.read1(_PART, decode_content=False):
        yield part


def announced_length(response: requests.Response) -> int:
    """The answer's Content-Length in bytes; 0 without one."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < _LONGEST_NUMBER else 0


def require_object(answer: HttpResponse, *, provider: str, paid: bool = False) -> dict[str, Any]:
    """The answer's JSON object; raises BadAnswerError without one.

    ``paid``: an image may be in it, so the error holds the answer.
    """
    if not isinstance(answer.body, dict):
        raise BadAnswerError(
            f"{provider} answered {answer.status} with something that is not a JSON object: "
            f"{answer.excerpt!r}.",
            raw=answer.text.encode("utf-8", "replace") if paid else b"",
        )
    return answer.body


def _too_long() -> requests.RequestException:
    return requests.exceptions.ContentDecodingError(
        f"the answer is longer than {LARGEST_ANSWER:,} bytes"
    )


def _stripped(key: str | SecretStr) -> SecretStr:
    """The key without the blanks around it, in a SecretStr, so that no frame shows it."""
    return SecretStr((key if isinstance(key, str) else key.get_secret_value()).strip())


def _fits_a_header(key: SecretStr) -> bool:
    text = key.get_secret_value()
    return text.isascii() and text.isprintable()


def _spellings(key: SecretStr) -> list[SecretStr]:
    """The key as plain text, and as JSON, HTML and URLs encode it."""
    plain = key.get_secret_value()
    in_json = json.dumps(plain)[1:-1]
    spelt = [plain, in_json, in_json.replace("/", "\\/"), html.escape(plain)]
    spelt += [quote(plain), quote(plain, safe="")]
    return [SecretStr(text) for text in dict.fromkeys(spelt) if text]


def _never_connected(error: OSError | LocationValueError) -> bool:
    if not isinstance(error, requests.RequestException):
        return True  # raised while the request was prepared: no certificates, no such host
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    if isinstance(
        error,
        requests.exceptions.InvalidURL
        | requests.exceptions.MissingSchema
        | requests.exceptions.InvalidSchema,
    ):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    if isinstance(error, requests.exceptions.SSLError):
        inner = reason.args[0] if isinstance(reason, HTTPError) and reason.args else reason
        return isinstance(inner, ssl.SSLError) and inner.reason in _BEFORE_REQUEST
    return isinstance(reason, NewConnectionError | NameResolutionError)


def retry_after_seconds(value: str | None) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
