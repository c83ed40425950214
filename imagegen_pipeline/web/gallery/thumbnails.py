"""Small pictures for the gallery, made when first asked for and kept."""

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
_AT_ONCE = 2
"""Each holds a picture's pixels in memory while it is made."""


class Thumbnails:
    """WebP pictures below the data folder, by the digest of what they show."""

    def __init__(self, store: LocalStore) -> None:
        self._folder = store.root / HIDDEN / "thumbnails"
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def of_archived(self, attempt: Attempt) -> Path | None:
        """The small picture of one that lies in an archive, which is left there; None when it
        was never made.
        """
        if attempt.archive is None or attempt.digest is None:
            return None
        file = self._file(attempt.digest)
        return file if file.is_file() else None

    def _file(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.webp"

    def of(self, digest: str, picture: Path) -> Path:
        """The small picture's file; raises NotAPictureError and StoreError."""
        file = self._file(digest)
        if file.is_file():
            return file
        with self._turns:
            if not file.is_file():
                self._make(file, picture)
        return file

    def _make(self, file: Path, picture: Path) -> None:
        try:
            small = _small(picture.read_bytes())
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary_file(file, small).replace(file)
        except OSError as error:
            raise StoreError(
                f"The small picture of {picture.name} cannot be made: {error.strerror or error}."
            ) from error


def _small(data: bytes) -> bytes:
    decode_picture(data)  # whole and within the limits, or NotAPictureError
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
        image.draft("RGB", (THUMBNAIL_SIZE[0] * 2, THUMBNAIL_SIZE[1] * 2))
        shown = image.convert("RGB")
        shown.thumbnail(THUMBNAIL_SIZE)
        out = io.BytesIO()
        shown.save(out, format="WEBP", quality=80)
        return out.getvalue()
