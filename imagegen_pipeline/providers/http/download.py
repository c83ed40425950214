"""Download an image from a provider's result URL: without a key, from public hosts only.

Result URLs are on other hosts than the providers' APIs and expire after about an hour, so
an image is downloaded at once.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import requests
from requests.utils import select_proxy

from imagegen_pipeline.domain.errors import DownloadError, UrlRefusedError
from imagegen_pipeline.domain.image.decode import LARGEST_BYTES
from imagegen_pipeline.providers.base import Timeouts
from imagegen_pipeline.providers.http.client import (
    NoAuth,
    NoRedirectSession,
    announced_length,
    received_parts,
    retry_after_seconds,
)
from imagegen_pipeline.providers.http.connections import LimitedAdapter
from imagegen_pipeline.providers.http.ssrf_guard import PrivateAddressError, PublicHosts

_REDIRECTS = 5
_TRUST = UrlRefusedError.remedy
_LONGEST_SHOWN = 200
_GONE = (403, 404, 410)


class Downloader:
    """Downloads images, over https from public addresses.

    ``allow_private_hosts`` names hosts that may be private or plain http, on any port. Names
    and addresses are checked before a request and again where the connection is made, at each
    redirect too.

    With a proxy (``HTTPS_PROXY``, ``ALL_PROXY``; ``NO_PROXY`` excepts hosts) the proxy resolves
    names and connects. The address that this machine resolves is still checked first; a name
    that only the proxy resolves is left to it. A name whose address changes between the two
    look-ups is not noticed here.
    """

    def __init__(
        self, *, timeouts: Timeouts | None = None, allow_private_hosts: tuple[str, ...] = ()
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._hosts = PublicHosts(allow_private_hosts)
        self._session = NoRedirectSession()
        self._session.auth = NoAuth()
        adapter = LimitedAdapter(self._hosts)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def fetch(self, url: str) -> bytes:
        """The bytes at ``url``, whole and within size and time limits; raises DownloadError."""
        deadline = time.monotonic() + self._timeouts.download
        # A refused address of the provider itself is a matter of settings, for every item.
        refusal: type[DownloadError] = UrlRefusedError
        for _ in range(_REDIRECTS + 1):
            try:
                with self._get(url, deadline, refusal) as response:
                    location = response.headers.get("Location")
                    if response.is_redirect and location:
                        url, refusal = _join(url, location), DownloadError
                        continue
                    return self._read(response, url, deadline)
            except PrivateAddressError as error:
                raise refusal(
                    f"{_shown(url)} points at the private address {error.address}.", remedy=_TRUST
                ) from None
            except requests.RequestException as error:
                raise DownloadError(f"{_shown(url)} did not deliver: {_reason(error)}.") from None
        raise DownloadError(f"{_shown(url)} redirects more than {_REDIRECTS} times.")

    def _get(self, url: str, deadline: float, refusal: type[DownloadError]) -> requests.Response:
        request = self._prepared(url, refusal)
        address = str(request.url)
        # Proxies and certificates of the environment.
        settings = self._session.merge_environment_settings(address, {}, True, None, None)
        self._check_host(
            address, refusal, by_proxy=select_proxy(address, settings["proxies"]) is not None
        )
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._too_slow(url)
        waits = (min(self._timeouts.connect, left), min(self._timeouts.read, left))
        return self._session.send(request, timeout=waits, allow_redirects=False, **settings)

    def _prepared(self, url: str, refusal: type[DownloadError]) -> requests.PreparedRequest:
        """The request as it will be sent, so that the checked address is the one connected to.

        Two parsers of one URL may read two hosts, as in ``https://here\\@there/``.
        """
        if not url[:8].lower().startswith(("https://", "http://")):
            raise refusal(f"{_shown(url)} is not an https address.", remedy=_TRUST)
        try:
            return self._session.prepare_request(requests.Request("GET", url))
        except (requests.RequestException, ValueError):
            raise DownloadError("The provider gave a malformed address.") from None

    def _too_slow(self, url: str) -> DownloadError:
        return DownloadError(f"{_shown(url)} was not complete after {self._timeouts.download:g} s.")

    def _read(self, response: requests.Response, url: str, deadline: float) -> bytes:
        if response.status_code != 200:
            raise DownloadError(
                f"{_shown(url)} answered with status {response.status_code}.",
                is_gone=response.status_code in _GONE,
                retry_after=retry_after_seconds(response.headers.get("Retry-After")),
            )
        if announced_length(response) > LARGEST_BYTES:
            raise self._too_large(url)
        parts, size = [], 0
        for part in received_parts(response):
            size += len(part)
            if size > LARGEST_BYTES:
                raise self._too_large(url)
            if time.monotonic() > deadline:
                raise self._too_slow(url)
            parts.append(part)
        return b"".join(parts)

    def _too_large(self, url: str) -> DownloadError:
        return DownloadError(f"{_shown(url)} sends more than {LARGEST_BYTES:,} bytes.")

    def _check_host(self, url: str, refusal: type[DownloadError], *, by_proxy: bool) -> None:
        parts = _split(url)
        host = parts.hostname or ""
        if self._hosts.allows(host) and parts.scheme in ("http", "https"):
            return
        if parts.scheme != "https" or not host:
            raise refusal(f"{_shown(url)} is not an https address.", remedy=_TRUST)
        try:
            self._hosts.look_up(host)
        except (OSError, ValueError) as error:  # ValueError: a name that no host can have
            if not by_proxy:
                raise DownloadError(f"The host of {_shown(url)} is not found: {error}.") from None


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise DownloadError("The provider gave a malformed address.") from None


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise DownloadError(f"{_shown(url)} redirects to no address.") from None


def _shown(url: str) -> str:
    """The URL on one line, without its query, which may hold a signature, and user."""
    parts = _split(url)
    shown = quote(f"{parts.scheme}://{parts.hostname or ''}{parts.path}", safe="/:%[]~@,+;=!$()*'")
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _reason(error: requests.RequestException) -> str:
    cause: Any = error.args[0] if error.args else error
    reason = getattr(cause, "reason", cause)
    return type(reason if isinstance(reason, Exception) else error).__name__
