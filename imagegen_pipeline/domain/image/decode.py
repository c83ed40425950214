"""What bytes must be to count as a picture."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.errors import NotAPictureError
from imagegen_pipeline.domain.image.file_format import (
    FileFormat,
    check_inflation,
    describe_bytes,
    read_file_format,
)
from imagegen_pipeline.domain.image.metrics import measure, reduced

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
LARGEST_BYTES = 64 * 1024 * 1024
LARGEST_PIXELS = 100_000_000
PREVIEW_SIZE = (144, 256)
"""A WebP of this size takes 2 to 5 KB, small enough to stand in Dagster's metadata."""
SMALLER_SIZE = (72, 128)
"""A WebP of this size takes about 1 KB, little enough to stand in every check's metadata."""
_LARGE = 16_000_000
"""Pixels from which on pictures are decoded one at a time: each takes a gigabyte at the limit."""
_large_turn = threading.Lock()
_turns = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
"""As many pictures are decoded at once as there are cores. More would not be quicker, would each
hold their pixels meanwhile, and would keep those waiting that have a request to send.
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Bytes that were decoded whole: their format, size in pixels, digest and a preview (WebP).

    ``digest`` is the SHA-256 of the bytes as they came, hexadecimal. ``measures`` are what its
    checks go by; see ``measures.measure``.
    """

    data: bytes
    digest: str
    format: str
    width: int
    height: int
    preview: bytes
    measures: dict[str, Any] | None = None

    @property
    def suffix(self) -> str:
        """The file suffix of the format the bytes really have."""
        return SUFFIXES[self.format]


def decode_picture(data: bytes) -> DecodedImage:
    """Decode ``data`` once, whole; the bytes themselves are kept as they came.

    Of an animation the first frame is decoded and shown; the others are kept unseen.
    Raises NotAPictureError for anything that is not a whole PNG, JPEG or WebP within the
    limits, with nothing behind its end. Nothing is encoded again: that would cost time and
    lose what is written in them.
    """
    if len(data) > LARGEST_BYTES:
        raise NotAPictureError(
            f"The picture has {len(data):,} bytes; the limit is {LARGEST_BYTES:,}."
        )
    layout = read_file_format(data)
    if layout is None:
        raise NotAPictureError(f"The bytes are not a picture: {describe_bytes(data)}.")
    _check_pixels(layout.width, layout.height)
    try:
        pixels = _without_texts(data, layout)
        with _turn(layout), _opened(pixels, layout) as image:
            _check_pixels(image.width, image.height)
            image.load()
            check_inflation(pixels, layout, read_to=getattr(image, "read_to", len(pixels)))
            small = reduced(image)
            return DecodedImage(
                data=data,
                digest=hashlib.sha256(data).hexdigest(),
                format=layout.format,
                width=image.width,
                height=image.height,
                preview=_preview(small),
                measures=_measured(small),
            )
    except NotAPictureError:
        raise
    except Exception as error:
        raise NotAPictureError(f"The picture does not decode: {error}.") from error


def to_png(data: bytes) -> bytes:
    """The same pixels as PNG, for a file whose name promises one."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
        out = io.BytesIO()
        image.save(out, format="PNG")
        return out.getvalue()


def smaller_preview(preview: bytes) -> bytes:
    """A preview at a quarter of its area."""
    from PIL import Image

    with Image.open(io.BytesIO(preview), formats=["WEBP"]) as image:
        image.thumbnail(SMALLER_SIZE)
        out = io.BytesIO()
        image.save(out, format="WEBP", quality=50, method=1)
        return out.getvalue()


def _without_texts(data: bytes, layout: FileFormat) -> bytes:
    if layout.format != "PNG" or not (b"zTXt" in data or b"iTXt" in data):
        return data
    from imagegen_pipeline.domain.image.png_plugin import without_texts

    return without_texts(data)


def _opened(data: bytes, layout: FileFormat) -> ImageFile:
    """The picture, opened as the one format that it is.

    ``Image.open`` would make of a JPEG whatever its markers ask for (MPO, with a format of
    its own), and warn of sizes that are within our limit.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    from imagegen_pipeline.domain.image.png_plugin import CountingPngFile

    opening: dict[str, Callable[[io.BytesIO], ImageFile]] = {
        "PNG": CountingPngFile,
        "JPEG": JpegImageFile,
        "WEBP": WebPImageFile,
    }
    return opening[layout.format](io.BytesIO(data))


@contextmanager
def _turn(layout: FileFormat) -> Iterator[None]:
    with _turns, _large_turn if layout.width * layout.height >= _LARGE else nullcontext():
        yield


def _check_pixels(width: int, height: int) -> None:
    if width * height > LARGEST_PIXELS:
        raise NotAPictureError(
            f"The picture claims {width}x{height} pixels; the limit is {LARGEST_PIXELS:,} pixels."
        )


def _preview(image: Image) -> bytes:
    small = image.copy()
    small.thumbnail(PREVIEW_SIZE, reducing_gap=1.5)
    out = io.BytesIO()
    small.save(out, format="WEBP", quality=70, method=2)
    return out.getvalue()


def _measured(image: Image) -> dict[str, Any] | None:
    """None when measuring fails: a picture that decodes was paid for, and is kept unmeasured."""
    try:
        return measure(image)
    except Exception:  # noqa: BLE001 - whatever it is, it must cost no picture
        _log.exception("A picture could not be measured; its checks will try again")
        return None
