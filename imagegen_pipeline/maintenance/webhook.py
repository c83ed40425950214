"""A post to the users' webhook: short waits, no redirects, and its address in no text."""

from __future__ import annotations

from typing import Any

import requests
from pydantic import SecretStr
from requests.auth import AuthBase
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed
from urllib3.exceptions import LocationValueError

from imagegen_pipeline.domain.errors import ProviderError
from imagegen_pipeline.providers.http.client import NoRedirectSession
from imagegen_pipeline.providers.http.connections import LimitedAdapter

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
TRIES, PAUSE_SECONDS = 2, 1.0


class WebhookError(ProviderError):
    """The webhook did not take what was posted; the sentence does not show its address."""

    kind = "webhook"
    remedy = "It is posted again in a while; check IMAGEGEN_FAILURE_WEBHOOK."


class _ForNowError(WebhookError):
    """Worth one more try at once."""


class _NoAuth(AuthBase):
    """Keeps ``.netrc`` from adding a password to what is posted."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def post(address: SecretStr, body: bytes) -> None:
    """Post JSON; raises WebhookError unless the answer is 2xx.

    An unreachable or overloaded host is tried once more after a second. The answer's body is not
    read.
    """
    tries = Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_fixed(PAUSE_SECONDS),
        retry=retry_if_exception_type(_ForNowError),
        reraise=True,
    )
    with NoRedirectSession() as session:
        session.auth = _NoAuth()
        for scheme in ("http://", "https://"):
            session.mount(scheme, LimitedAdapter())
        tries(_post_once, session, address, body)


def _post_once(session: requests.Session, address: SecretStr, body: bytes) -> None:
    try:
        response = session.post(
            address.get_secret_value(),
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            allow_redirects=False,
            stream=True,
        )
        response.close()
    except (OSError, ValueError, LocationValueError) as error:
        # requests' own texts name the address, so only the kind is told.
        raise _ForNowError(f"The webhook could not be reached ({_kind(error)}).") from None
    status = response.status_code
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise WebhookError(
            f"The webhook answered {status}: it lies elsewhere now, and no redirect is followed.",
            remedy="Put its new address into IMAGEGEN_FAILURE_WEBHOOK.",
        )
    refusal: Any = _ForNowError if status in (408, 429) or status >= 500 else WebhookError
    raise refusal(f"The webhook answered {status}.")


def _kind(error: Exception) -> str:
    return type(error).__name__
