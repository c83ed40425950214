"""Download a picture from the URL that a service gave: never with a key, never from inside.

Result URLs live on other hosts than the services' APIs and expire after about an hour, so
a picture is fetched at once and its URL is never the product.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.auth import AuthBase

from imagegen_pipeline.domain.errors import DownloadError, UrlRefusedError
from imagegen_pipeline.domain.images import LARGEST_BYTES
from imagegen_pipeline.services.http import OneStepSession, Timeouts, arriving

_REDIRECTS = 5
_TRUST = UrlRefusedError.remedy


class _NoAuth(AuthBase):
    """Sends nothing, and keeps ``.netrc`` from adding anything."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class Downloader:
    """Fetches pictures. ``allow_private_hosts`` names hosts that may be private or plain http."""

    def __init__(
        self, *, timeouts: Timeouts | None = None, allow_private_hosts: tuple[str, ...] = ()
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._allowed = frozenset(host.lower() for host in allow_private_hosts)
        self._session = OneStepSession()
        self._session.auth = _NoAuth()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=512, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def fetch(self, url: str) -> bytes:
        """The bytes at ``url``, whole and within size and time limits; raises DownloadError."""
        deadline = time.monotonic() + self._timeouts.download
        first = url
        for _ in range(_REDIRECTS + 1):
            self._check_host(url, UrlRefusedError if url == first else DownloadError)
            try:
                with self._get(url, deadline) as response:
                    location = response.headers.get("Location")
                    if response.is_redirect and location:
                        url = _join(url, location)
                        continue
                    return self._read(response, url, deadline)
            except requests.RequestException as error:
                raise DownloadError(f"{_shown(url)} did not deliver: {_reason(error)}.") from None
        raise DownloadError(f"{_shown(url)} redirects more than {_REDIRECTS} times.")

    def _get(self, url: str, deadline: float) -> requests.Response:
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._too_slow(url)
        waits = (min(self._timeouts.connect, left), min(self._timeouts.read, left))
        return self._session.get(url, timeout=waits, allow_redirects=False, stream=True)

    def _too_slow(self, url: str) -> DownloadError:
        return DownloadError(f"{_shown(url)} was not complete after {self._timeouts.download:g} s.")

    def _read(self, response: requests.Response, url: str, deadline: float) -> bytes:
        if response.status_code != 200:
            raise DownloadError(
                f"{_shown(url)} answered with status {response.status_code}.",
                is_gone=response.status_code in (403, 404, 410),
            )
        parts, size = [], 0
        for part in arriving(response):
            size += len(part)
            if size > LARGEST_BYTES:
                raise DownloadError(f"{_shown(url)} sends more than {LARGEST_BYTES:,} bytes.")
            if time.monotonic() > deadline:
                raise self._too_slow(url)
            parts.append(part)
        return b"".join(parts)

    def _check_host(self, url: str, refusal: type[DownloadError]) -> None:
        """A service's own address that is refused is a matter of settings, for every item."""
        parts = _split(url)
        host = parts.hostname or ""
        if host in self._allowed and parts.scheme in ("http", "https"):
            return
        if parts.scheme != "https" or not host:
            raise refusal(f"{_shown(url)} is not an https address.", remedy=_TRUST)
        for address in _addresses(host, url):
            if not address.is_global:
                raise refusal(
                    f"{_shown(url)} points at the private address {address}.", remedy=_TRUST
                )


def _addresses(host: str, url: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a name that no host can have
        raise DownloadError(f"The host of {_shown(url)} is not found: {error}.") from None
    return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise DownloadError(f"The service gave an address that is none: {error}.") from None


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise DownloadError(f"{_shown(url)} redirects to no address: {error}.") from None


def _shown(url: str) -> str:
    """The URL without its query, which may hold a signature."""
    parts = _split(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _reason(error: requests.RequestException) -> str:
    cause = error.args[0] if error.args else error
    reason = getattr(cause, "reason", cause)
    return type(reason if isinstance(reason, Exception) else error).__name__
