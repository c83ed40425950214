"""Every answer of the API in one shape, what went wrong included."""

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
_WORDS = {
    400: "The body cannot be read as JSON. Send an object with the fields that /docs names.",
    404: "There is nothing at this address. See /docs for what there is.",
    405: "This address does not take that method. See /docs.",
}
_EMPTY = (None, "")
_MOST_FAULTS = 3


class PlainJSON(JSONResponse):
    """JSON in ASCII: half a character (a lone surrogate) in a text does not break the answer."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - whatever JSON can say
        """See ``JSONResponse.render``."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def failure(status_code: int, error: str, *, headers: Mapping[str, str] | None = None) -> PlainJSON:
    """What went wrong and what to do about it, in the contract's shape."""
    body = {"status": "FAILED", "error": error, "warnings": []}
    return PlainJSON(body, status_code, headers=dict(headers or {}))


def status_of(error: ImagegenError) -> int:
    """The HTTP status of a typed error."""
    if isinstance(error, DecisionError):
        return 409
    if isinstance(error, RequestRefusedError):
        return 400
    return 502 if isinstance(error, ProviderError) else 503


def refused(error: ImagegenError) -> PlainJSON:
    """A typed error as an answer."""
    if isinstance(error, TooManyJobsError):
        wait = {"retry-after": str(error.retry_after)}
        return failure(429, error.sentence, headers=wait)
    return failure(status_of(error), error.sentence)


def install(app: FastAPI) -> None:
    """Answer what is refused in the contract's shape."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ImagegenError, _typed)


async def _invalid(_request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    return failure(400, _sentence(faults))


async def _http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    said = _WORDS.get(error.status_code, str(error.detail))
    return failure(error.status_code, said, headers=error.headers)


async def _typed(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ImagegenError):
        raise error
    return refused(error)


class Faults:
    """Answers what nobody has caught, inside of what puts the headers on every answer. The
    text of such an error may hold anything: it stays in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            _log.exception("imagegen: a fault of this program")
            if begun or scope["type"] != "http":
                raise
            answer = failure(
                500,
                f"A fault of this program: {type(error).__name__}. Please report it with the log "
                "of the server; what was sent to a service is collected, not bought again.",
            )
            await answer(scope, receive, send)


def _sentence(faults: Sequence[Any]) -> str:
    if any(_is_missing_required(fault) for fault in faults):
        return MISSING_FIELDS
    # One field may have several: one for each form that it could have had.
    lines = list({_place(fault): _line(fault) for fault in reversed(faults)}.values())[::-1]
    lines = lines[:_MOST_FAULTS]
    return f"{' '.join(lines)} See /docs for what this address takes."


def _is_missing_required(fault: Any) -> bool:  # noqa: ANN401 - pydantic's plain dictionaries
    if fault["loc"][-1] not in _REQUIRED:
        return False
    return fault["type"] in ("missing", "string_too_short") or fault.get("input") in _EMPTY


def _place(fault: Any) -> str:  # noqa: ANN401 - pydantic's plain dictionaries
    """The field, without pydantic's own names for the forms that it could have."""
    return ".".join(str(part)[:60] for part in fault["loc"][1:] if _FIELD.fullmatch(str(part)))


def _line(fault: Any) -> str:  # noqa: ANN401
    """One fault; what was sent is not repeated, it may hold anything."""
    kind, where = fault["type"], _place(fault)
    if kind == "json_invalid":
        return "The body is not JSON."
    if kind == "extra_forbidden":
        return f"{str(fault['loc'][-1])[:60]!r} is not a field of this address."
    if not where:
        return "The body is not a JSON object with the fields that this address takes."
    if kind == "missing":
        return f"{where} is missing."
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}."
