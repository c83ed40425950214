"""Image files: originals, thumbnails, and ZIP downloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from imagegen_pipeline.domain.errors import PictureError
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.web.api import schemas
from imagegen_pipeline.web.api.job_routes import MAX_ID
from imagegen_pipeline.web.api.responses import failure
from imagegen_pipeline.web.app_state import AppState, app_state_of
from imagegen_pipeline.web.gallery.picture_files import media_type, picture_file
from imagegen_pipeline.web.gallery.zip_downloads import pack

router = APIRouter(tags=["files"])
AttemptId = Annotated[int, Path(ge=1, le=MAX_ID)]
_CACHE_FOREVER = "private, max-age=31536000, immutable"
_ZIP = "application/zip"
_PLAIN_TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
"""Starlette answers a Range header that it cannot serve in plain text."""


def _image_responses(*types: str) -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(types, binary)
    return {
        200: {"description": "The image.", "content": content},
        206: {"description": "The requested range.", "content": content},
        304: {"description": "It has not changed."},
        416: {"description": "The range is not within the file.", "content": _PLAIN_TEXT},
        **schemas.problems(404, 500, 503),
        400: {
            "model": schemas.Problem,
            "description": "The id or the Range header is malformed.",
            "content": _PLAIN_TEXT,
        },
    }


@router.get(
    "/pictures/{attempt_id}",
    responses=_image_responses("image/png", "image/jpeg", "image/webp"),
    response_class=FileResponse,
    summary="An image as the provider sent it.",
)
def original(
    request: Request,
    attempt_id: AttemptId,
    download: Annotated[int, Query(ge=0, le=1, description="1: save it, do not show it.")] = 0,
) -> Response:
    """By the id of its attempt. `Range`, `If-Range` and `If-None-Match` work."""
    state = app_state_of(request)
    attempt = _stored_attempt(state, attempt_id)
    file = None if attempt is None else picture_file(state.pipeline, attempt)
    if attempt is None or file is None:
        return _missing(attempt_id, attempt)
    name = file.name if download else None
    return _image_response(request, file, media_type(file), f'"{attempt.digest}"', name)


@router.get(
    "/thumbnails/{attempt_id}.webp",
    responses={**_image_responses("image/webp"), **schemas.problems(502)},
    response_class=FileResponse,
    summary="A thumbnail (WebP, 480 pixels at most).",
)
def thumbnail(request: Request, attempt_id: AttemptId) -> Response:
    """Made on the first request, then kept."""
    state = app_state_of(request)
    attempt = _stored_attempt(state, attempt_id)
    if attempt is None or attempt.digest is None:
        return _missing(attempt_id, attempt)
    small = state.thumbnails.of_archived(attempt)
    if small is None:
        file = picture_file(state.pipeline, attempt)
        if file is None:
            return _missing(attempt_id, attempt)
        try:
            small = state.thumbnails.of(attempt.digest, file)
        except PictureError as error:
            return failure(502, error.sentence)
    return _image_response(request, small, "image/webp", f'"{attempt.digest}-480"')


def _stored_attempt(state: AppState, attempt_id: int) -> Attempt | None:
    attempts = state.pipeline.ledger.attempts.get([attempt_id])
    return attempts[0] if attempts and attempts[0].state is State.STORED else None


def _missing(attempt_id: int, attempt: Attempt | None) -> Response:
    if attempt is None:
        return failure(404, f"Attempt {attempt_id} has no picture.")
    if attempt.archive is not None:
        return failure(
            404,
            f"Attempt {attempt_id} is in the archive {attempt.archive}, which cannot be read. "
            "Put the archive back, or restore it from a backup.",
        )
    return failure(
        404,
        f"The file of attempt {attempt_id} is missing. Put it back, or "
        f"regenerate {attempt.item_key}.",
    )


def _image_response(
    request: Request, file: FilePath, kind: str, etag: str, name: str | None = None
) -> Response:
    """The file, or 304 for a client that has it; ``name`` makes browsers save it."""
    headers = {"etag": etag, "cache-control": _CACHE_FOREVER}
    known = request.headers.get("if-none-match", "").split(",")
    if any(tag.strip().removeprefix("W/") in (etag, "*") for tag in known):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        file, media_type=kind, headers=headers, filename=name, stat_result=file.stat()
    )


@router.get(
    "/downloads/{download_id}.zip",
    responses={
        200: {
            "description": "The ZIP file.",
            "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
        },
        **schemas.problems(400, 404, 500, 503),
    },
    response_class=StreamingResponse,
    summary="A ZIP file requested by /api/downloads.",
)
def archive(
    request: Request,
    download_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")],
) -> Response:
    """Its length is known in advance. It can be fetched again for ten minutes."""
    entries = app_state_of(request).downloads.get(download_id)
    if entries is None:
        return failure(404, "This download has expired. Request it again.")
    packed = pack(entries)
    return StreamingResponse(
        _parts(packed),
        media_type=_ZIP,
        headers={
            "content-length": str(len(packed)),
            "content-disposition": 'attachment; filename="pictures.zip"',
            "cache-control": "no-store",
        },
    )


def _parts(packed: Any) -> Iterator[bytes]:  # noqa: ANN401 - zipstream has no types
    yield from packed
