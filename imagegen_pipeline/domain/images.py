"""What bytes must be to count as a picture."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagegen_pipeline.domain.errors import NotAPictureError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
LARGEST_BYTES = 64 * 1024 * 1024
LARGEST_PIXELS = 100_000_000
PREVIEW_SIZE = (144, 256)
"""A WebP of this size takes 2 to 5 KB, small enough to stand in Dagster's metadata."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes that were decoded whole: their format, size in pixels, digest and a preview (WebP)."""

    data: bytes
    format: str
    width: int
    height: int
    preview: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes as they came, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def suffix(self) -> str:
        """The file suffix of the format the bytes really have."""
        return SUFFIXES[self.format]


def decode_picture(data: bytes) -> Picture:
    """Decode ``data`` once, whole; the bytes themselves are kept as they came.

    Raises NotAPictureError for anything that is not a whole PNG, JPEG or WebP within the
    limits. Nothing is encoded again: that would cost time and lose what is written in them.
    """
    from PIL import Image, UnidentifiedImageError

    if len(data) > LARGEST_BYTES:
        raise NotAPictureError(
            f"The picture has {len(data):,} bytes; the limit is {LARGEST_BYTES:,}."
        )
    try:
        with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as image:
            _check_pixels(image)
            image.load()
            return Picture(
                data=data,
                format=str(image.format),
                width=image.width,
                height=image.height,
                preview=_preview(image),
            )
    except UnidentifiedImageError:
        raise NotAPictureError(
            f"The bytes are not a picture: {_what_it_looks_like(data)}."
        ) from None
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


def _check_pixels(image: Image) -> None:
    pixels = image.width * image.height
    if pixels > LARGEST_PIXELS:
        raise NotAPictureError(
            f"The picture claims {image.width}x{image.height} pixels; "
            f"the limit is {LARGEST_PIXELS:,} pixels."
        )


def _preview(image: Image) -> bytes:
    small = image.convert("RGB")
    small.thumbnail(PREVIEW_SIZE)
    out = io.BytesIO()
    small.save(out, format="WEBP", quality=70)
    return out.getvalue()


def _what_it_looks_like(data: bytes) -> str:
    head = data[:200].lstrip().lower()
    if not data:
        return "there are none"
    if head.startswith((b"<!doctype", b"<html")):
        return "they look like a web page"
    if head.startswith((b"<svg", b"<?xml")):
        return "they look like SVG or XML"
    if head.startswith((b"{", b"[")):
        return "they look like JSON"
    return f"they begin with {data[:8].hex(' ')}"
