"""Decodes and validates received images."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
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
    from PIL.PngImagePlugin import PngImageFile

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
LARGEST_BYTES = 64 * 1024 * 1024
LARGEST_PIXELS = 100_000_000
LARGEST_TEXT = 64 * 1024 * 1024
"""Bytes that all compressed texts of a PNG may have when inflated."""
PREVIEW_SIZE = (144, 256)
"""A WebP of this size takes 2 to 5 KB, small enough for Dagster's metadata."""
SMALLER_SIZE = (72, 128)
"""A WebP of this size takes about 1 KB, small enough for the metadata of every check."""
_LARGE = 16_000_000
"""Pixels from which images are decoded one at a time: at the limit one takes a gigabyte."""
_large_lock = threading.Lock()
_decode_slots = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
"""One image per core is decoded at once. More would not be faster, would take more memory, and
would delay threads that have a request to send.
"""
_PNG_SIGNATURE_BYTES = 8
_INFLATE_STEP = 256 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image that decodes: its bytes, format, size in pixels, digest and a preview (WebP).

    ``digest`` is the SHA-256 of the received bytes, hexadecimal. ``measures`` are the metrics that
    its checks use; see ``metrics.measure``.
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
        """The file suffix of the actual format."""
        return SUFFIXES[self.format]


def decode_picture(data: bytes) -> DecodedImage:
    """Decode ``data`` completely. The bytes are stored unchanged, with their metadata.

    Only the first frame of an animation is decoded. Raises NotAPictureError for anything that is
    not a complete PNG, JPEG or WebP within the limits, without trailing data.
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
        with _decode_slot(layout), _opened(pixels, layout) as image:
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
    """The same pixels as PNG."""
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
    return _drop_compressed_texts(data)


def _opened(data: bytes, layout: FileFormat) -> ImageFile:
    """The image, opened as its detected format.

    ``Image.open`` would open some JPEGs as MPO, and warn of sizes that are within the limit.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    opening: dict[str, Callable[[io.BytesIO], ImageFile]] = {
        "PNG": _png_class(),
        "JPEG": JpegImageFile,
        "WEBP": WebPImageFile,
    }
    return opening[layout.format](io.BytesIO(data))


@cache
def _png_class() -> type[PngImageFile]:
    """Pillow's PNG class, extended by ``read_to``: the file position after the last pixel."""
    from PIL.PngImagePlugin import PngImageFile

    class CountingPngFile(PngImageFile):
        read_to = 0

        def load_end(self) -> None:
            if self.fp is not None:
                self.read_to = self.fp.tell()
            super().load_end()  # reads the rest of the file

    return CountingPngFile


@contextmanager
def _decode_slot(layout: FileFormat) -> Iterator[None]:
    with _decode_slots, _large_lock if layout.width * layout.height >= _LARGE else nullcontext():
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
    """The metrics; None if they fail, since a paid image that decodes is stored anyway."""
    try:
        return measure(image)
    except Exception:  # noqa: BLE001 - no failure may lose the image
        _log.exception("An image could not be measured. Its checks will try again")
        return None


def _drop_compressed_texts(data: bytes) -> bytes:
    """The file without its compressed texts (zTXt, iTXt), of which Pillow refuses those over 1 MB.

    Workflows are stored in them. Raises NotAPictureError when they inflate to more than
    ``LARGEST_TEXT``: the file then attacks programs that read them.
    """
    kept, inflated, at = io.BytesIO(), 0, _PNG_SIGNATURE_BYTES
    kept.write(data[:at])
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind in (b"zTXt", b"iTXt"):
            inflated += _inflated_bytes(_compressed(kind, data[at + 8 : end - 4]), inflated)
        else:
            kept.write(data[at:end])
        at = end
    return kept.getvalue()


def _compressed(kind: bytes, body: bytes) -> bytes:
    """The compressed part of a text chunk; empty when the text is not compressed."""
    _keyword, _, rest = body.partition(b"\0")
    if kind == b"zTXt":
        return rest[1:]
    return rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""


def _inflated_bytes(compressed: bytes, before: int) -> int:
    """The size of a text when inflated; a damaged text counts as far as it can be read."""
    decoder, count, pending = zlib.decompressobj(), 0, compressed
    try:
        while pending and not decoder.eof:
            count += len(decoder.decompress(pending, _INFLATE_STEP))
            if before + count > LARGEST_TEXT:
                raise NotAPictureError(
                    f"The texts in the PNG are too large: over {LARGEST_TEXT:,} bytes inflated."
                )
            pending = decoder.unconsumed_tail
    except zlib.error:
        pass
    return count
