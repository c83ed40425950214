"""JSON responses of the API; every error has the guide's shape."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen_pipeline.app.base_image import MISSING_FIELDS
from imagegen_pipeline.domain.errors import (
    DecisionError,
    ImagegenError,
    ProviderError,
    RequestRefusedError,
)
from imagegen_pipeline.web.jobs.job_manager import TooManyJobsError

_FIELD = re.compile(r"\w+")
_log = logging.getLogger(__name__)
_REQUIRED = {"actorName", "description"}
_MESSAGES = {
    400: "The body cannot be read as JSON. Send an object with the fields that /docs names.",
    404: "There is nothing at this address. See /docs for the addresses.",
    405: "This address does not support that method. See /docs.",
}
_EMPTY = (None, "")
_MAX_FAULTS = 3


class PlainJSON(JSONResponse):
    """JSON in ASCII, so that a lone surrogate in a text can be encoded."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - any JSON value
        """See ``JSONResponse.render``."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def failure(status_code: int, error: str, *, headers: Mapping[str, str] | None = None) -> PlainJSON:
    """An error response; ``error`` says the cause and the remedy."""
    body = {"status": "FAILED", "error": error, "warnings": []}
    return PlainJSON(body, status_code, headers=dict(headers or {}))


def status_of(error: ImagegenError) -> int:
    """The HTTP status of a typed error."""
    if isinstance(error, DecisionError):
        return 409
    if isinstance(error, RequestRefusedError):
        return 400
    return 502 if isinstance(error, ProviderError) else 503


def error_response(error: ImagegenError) -> PlainJSON:
    """The response for a typed error."""
    if isinstance(error, TooManyJobsError):
        wait = {"retry-after": str(error.retry_after)}
        return failure(429, error.sentence, headers=wait)
    return failure(status_of(error), error.sentence)


def install(app: FastAPI) -> None:
    """Register the handlers that turn errors into JSON responses."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ImagegenError, _typed)


async def _invalid(_request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    return failure(400, _sentence(faults))


async def _http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = _MESSAGES.get(error.status_code, str(error.detail))
    return failure(error.status_code, message, headers=error.headers)


async def _typed(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ImagegenError):
        raise error
    return error_response(error)


class InternalErrors:
    """Answers unhandled exceptions with 500. The exception's text goes to the log only, since
    it may contain secrets.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        has_started = False

        async def tracking_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, tracking_send)
        except Exception as error:
            _log.exception("imagegen: internal error")
            if has_started or scope["type"] != "http":
                raise
            response = failure(
                500,
                f"Internal error: {type(error).__name__}. Please report it with the server's "
                "log; what was sent to a provider is collected, not bought again.",
            )
            await response(scope, receive, send)


def _sentence(faults: Sequence[Any]) -> str:
    if any(_is_missing_required(fault) for fault in faults):
        return MISSING_FIELDS
    # A field of a union type has a fault for each type: keep the first.
    lines = list({_field(fault): _line(fault) for fault in reversed(faults)}.values())[::-1]
    lines = lines[:_MAX_FAULTS]
    return f"{' '.join(lines)} See /docs for the fields of this address."


def _is_missing_required(fault: Any) -> bool:  # noqa: ANN401 - pydantic's plain dictionaries
    if fault["loc"][-1] not in _REQUIRED:
        return False
    return fault["type"] in ("missing", "string_too_short") or fault.get("input") in _EMPTY


def _field(fault: Any) -> str:  # noqa: ANN401 - pydantic's plain dictionaries
    """The field's path, without pydantic's names for the members of a union."""
    return ".".join(str(part)[:60] for part in fault["loc"][1:] if _FIELD.fullmatch(str(part)))


def _line(fault: Any) -> str:  # noqa: ANN401
    """One sentence for a fault; it does not repeat the value, which may be secret."""
    kind, field = fault["type"], _field(fault)
    if kind == "json_invalid":
        return "The body is not JSON."
    if kind == "extra_forbidden":
        return f"{str(fault['loc'][-1])[:60]!r} is not a field of this address."
    if not field:
        return "The body is not a JSON object with the fields of this address."
    if kind == "missing":
        return f"{field} is missing."
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{field}: {message[:1].lower()}{message[1:]}."
