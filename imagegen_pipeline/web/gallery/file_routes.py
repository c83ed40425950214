"""Pictures as files: originals, small ones, and many in a ZIP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from imagegen_pipeline.domain.errors import PictureError
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.web.api import schemas
from imagegen_pipeline.web.api.job_routes import LARGEST
from imagegen_pipeline.web.api.responses import failure
from imagegen_pipeline.web.app_state import AppState, app_state_of
from imagegen_pipeline.web.gallery.picture_files import media_type, picture_file
from imagegen_pipeline.web.gallery.zip_downloads import pack

router = APIRouter(tags=["files"])
AttemptId = Annotated[int, Path(ge=1, le=LARGEST)]
_KEPT = "private, max-age=31536000, immutable"
_ZIP = "application/zip"
_SMALL = 256 * 1024
"""Bytes: a file of so many is read at once, which takes one turn of a thread instead of four."""
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


def _picture_answer(*types: str) -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(types, binary)
    return {
        200: {"description": "The picture.", "content": content},
        206: {"description": "The part that was asked for.", "content": content},
        304: {"description": "It has not changed."},
        **schemas.problems(400, 404, 416, 500, 503),
    }


@router.get(
    "/pictures/{attempt_id}",
    responses=_picture_answer("image/png", "image/jpeg", "image/webp"),
    response_class=FileResponse,
    summary="A picture as it came.",
)
def original(
    request: Request,
    attempt_id: AttemptId,
    download: Annotated[int, Query(ge=0, le=1, description="1: to be saved, not shown.")] = 0,
) -> Response:
    """By the id of its attempt. Ranges and `If-None-Match` work."""
    attempt, file = _found(app_state_of(request), attempt_id)
    if attempt is None or file is None:
        return _missing(attempt_id, attempt)
    headers = {"etag": f'"{attempt.digest}"', "cache-control": _KEPT}
    return _file(request, file, media_type(file), headers, file.name if download else None)


@router.get(
    "/thumbnails/{attempt_id}.webp",
    responses={**_picture_answer("image/webp"), **schemas.problems(502)},
    response_class=FileResponse,
    summary="A small picture (WebP, 480 pixels at most).",
)
def thumbnail(request: Request, attempt_id: AttemptId) -> Response:
    """Made when it is first asked for."""
    studio = app_state_of(request)
    attempt = _stored(studio, attempt_id)
    if attempt is None or attempt.digest is None:
        return _missing(attempt_id, attempt)
    small = studio.thumbnails.of_archived(attempt)
    if small is None:
        file = picture_file(studio.pipeline, attempt)
        if file is None:
            return _missing(attempt_id, attempt)
        try:
            small = studio.thumbnails.of(attempt.digest, file)
        except PictureError as error:
            return failure(502, error.sentence)
    headers = {"etag": f'"{attempt.digest}-480"', "cache-control": _KEPT}
    return _file(request, small, "image/webp", headers, None)


def _found(studio: AppState, attempt_id: int) -> tuple[Attempt | None, FilePath | None]:
    attempt = _stored(studio, attempt_id)
    return attempt, None if attempt is None else picture_file(studio.pipeline, attempt)


def _stored(studio: AppState, attempt_id: int) -> Attempt | None:
    found = studio.pipeline.ledger.attempts.get([attempt_id])
    return found[0] if found and found[0].state is State.STORED else None


def _missing(attempt_id: int, attempt: Attempt | None) -> Response:
    if attempt is None:
        return failure(404, f"Attempt {attempt_id} has no picture.")
    if attempt.archive is not None:
        return failure(
            404,
            f"Attempt {attempt_id} lies in the archive {attempt.archive}, which cannot be read. "
            "Put the archive back where it was, or restore it from a backup.",
        )
    return failure(
        404,
        f"The file of attempt {attempt_id} is not where it was kept. Put it back, or "
        f"regenerate {attempt.item_key}.",
    )


def _file(
    request: Request, file: FilePath, kind: str, headers: dict[str, str], name: str | None
) -> Response:
    if _is_known(request.headers.get("if-none-match", ""), headers["etag"]):
        return Response(status_code=304, headers=headers)
    size = file.stat().st_size
    if not _keep_range(request, size):
        headers = {"content-range": f"bytes */{size}"}
        return failure(416, f"The file has {size} bytes: ask for some of these.", headers=headers)
    if size <= _SMALL and name is None and "range" not in request.headers:
        headers = {**headers, "accept-ranges": "bytes"}
        return Response(file.read_bytes(), media_type=kind, headers=headers)
    return _LargeFile(file, media_type=kind, headers=headers, filename=name)


class _LargeFile(FileResponse):
    """A picture has megabytes: fewer turns of a thread for each."""

    chunk_size = 2**20


def _is_known(if_none_match: str, etag: str) -> bool:
    known = (one.strip().removeprefix("W/") for one in if_none_match.split(","))
    return any(one in (etag, "*") for one in known)


def _keep_range(request: Request, size: int) -> bool:
    """Leave one whole range to Starlette, and pass over what is none, as HTTP has it. False
    when the range is not within the file.
    """
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    first, last = match.groups() if match else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)):
        request.scope["headers"] = [
            one for one in request.scope["headers"] if one[0].lower() != b"range"
        ]
        return True
    return int(first) < size if first else int(last) > 0


@router.get(
    "/downloads/{download_id}.zip",
    responses={
        200: {
            "description": "The ZIP.",
            "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
        },
        **schemas.problems(400, 404, 500, 503),
    },
    response_class=StreamingResponse,
    summary="A ZIP that was packed by /api/downloads.",
)
def archive(
    request: Request,
    download_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")],
) -> Response:
    """Its length is known beforehand; it may be fetched again while it is kept."""
    entries = app_state_of(request).downloads.get(download_id)
    if entries is None:
        return failure(404, "This download is not kept any more. Ask for it again.")
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
