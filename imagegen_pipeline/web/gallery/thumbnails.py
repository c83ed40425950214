"""Thumbnails for the gallery, made on the first request and kept."""

from __future__ import annotations

import io
import threading
from pathlib import Path

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.image.decode import SUFFIXES, decode_picture
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.storage.atomic_files import temporary_file
from imagegen_pipeline.storage.pictures import HIDDEN, LocalStore

THUMBNAIL_SIZE = (480, 480)
_CONCURRENCY = 2
"""Each holds an image's pixels in memory while it is made."""


class Thumbnails:
    """WebP files below the data folder, named by the digest of the original."""

    def __init__(self, store: LocalStore) -> None:
        self._folder = store.root / HIDDEN / "thumbnails"
        self._semaphore = threading.BoundedSemaphore(_CONCURRENCY)

    def of_archived(self, attempt: Attempt) -> Path | None:
        """An archived image's thumbnail, if it was made before; the archive is not read."""
        if attempt.archive is None or attempt.digest is None:
            return None
        file = self._file(attempt.digest)
        return file if file.is_file() else None

    def _file(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.webp"

    def of(self, digest: str, picture: Path) -> Path:
        """The thumbnail's file; raises NotAPictureError and StoreError."""
        file = self._file(digest)
        if file.is_file():
            return file
        with self._semaphore:
            if not file.is_file():
                self._make(file, picture)
        return file

    def _make(self, file: Path, picture: Path) -> None:
        try:
            thumbnail = _thumbnail(picture.read_bytes())
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary_file(file, thumbnail).replace(file)
        except OSError as error:
            raise StoreError(
                f"The thumbnail of {picture.name} cannot be made: {error.strerror or error}."
            ) from error


def _thumbnail(data: bytes) -> bytes:
    decode_picture(data)  # raises NotAPictureError unless whole and within the limits
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
        image.draft("RGB", (THUMBNAIL_SIZE[0] * 2, THUMBNAIL_SIZE[1] * 2))
        small = image.convert("RGB")
        small.thumbnail(THUMBNAIL_SIZE)
        out = io.BytesIO()
        small.save(out, format="WEBP", quality=80)
        return out.getvalue()
