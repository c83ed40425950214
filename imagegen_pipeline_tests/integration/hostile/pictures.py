"""Pictures as encoders write them, and the parts to build hostile ones of."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

SIDE = (48, 32)
PNG_MARK = b"\x89PNG\r\n\x1a\n"


def noise(mode: str = "RGB", size: tuple[int, int] = SIDE) -> Image.Image:
    """Something that no encoder writes in a few bytes."""
    data = Random(7).randbytes(size[0] * size[1] * 3)  # noqa: S311 - no secret
    if mode == "I;16":
        return Image.frombytes(mode, size, data[: size[0] * size[1] * 2])
    return Image.frombytes("RGB", size, data).convert(mode)


def encoded(form: str, mode: str = "RGB", **options: Any) -> bytes:
    """A picture by one of Pillow's encoders."""
    out = io.BytesIO()
    noise(mode).save(out, form, **options)
    return out.getvalue()


def with_texts() -> PngInfo:
    """The texts that ComfyUI and others write: plain, compressed, and in Unicode."""
    texts = PngInfo()
    texts.add_text("prompt", '{"3": {"class_type": "KSampler"}}' * 9000)
    texts.add_text("Comment", "a harbour " * 90_000, zip=True)
    texts.add_itxt("Title", "ein Hafen, \u6e2f", zip=True)
    return texts


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + crc(kind + content)


def crc(content: bytes) -> bytes:
    """A chunk's check sum."""
    return struct.pack(">I", zlib.crc32(content))


def png(*chunks: bytes, size: tuple[int, int] = SIDE, data: bytes | None = None) -> bytes:
    """A grey PNG of ``size`` with more ``chunks``; ``data`` is deflated already."""
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes((size[0] + 1) * size[1])) if data is None else data
    body = chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", data)
    return PNG_MARK + body + chunk(b"IEND", b"")


@cache
def deflated(megabytes: int) -> bytes:
    """A few kilobytes that inflate to so many megabytes of zeros."""
    return zlib.compress(bytes(megabytes * 2**20))


def webp_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def webp(*chunks: bytes) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


ENCODERS: dict[str, Callable[[], bytes]] = {
    "png": lambda: encoded("PNG"),
    "png, optimized": lambda: encoded("PNG", optimize=True),
    "png with transparency": lambda: encoded("PNG", "RGBA"),
    "png with a palette": lambda: encoded("PNG", "P"),
    "png in black and white": lambda: encoded("PNG", "1"),
    "png in grey": lambda: encoded("PNG", "L"),
    "png in grey with transparency": lambda: encoded("PNG", "LA"),
    "png of sixteen bits": lambda: encoded("PNG", "I;16"),
    "png with texts": lambda: encoded("PNG", pnginfo=with_texts()),
    "png with a colour profile": lambda: encoded("PNG", icc_profile=bytes(3000)),
    "png with exif": lambda: encoded("PNG", exif=exif()),
    "png in Adam7": lambda: adam7(),
    "apng": lambda: animated("PNG"),
    "jpeg": lambda: encoded("JPEG"),
    "jpeg, best quality": lambda: encoded("JPEG", quality=100, subsampling=0),
    "jpeg, progressive": lambda: encoded("JPEG", progressive=True),
    "jpeg, optimized": lambda: encoded("JPEG", optimize=True),
    "jpeg in grey": lambda: encoded("JPEG", "L"),
    "jpeg in CMYK": lambda: encoded("JPEG", "CMYK"),
    "jpeg with restart markers": lambda: encoded("JPEG", restart_marker_blocks=1),
    "jpeg with exif and a thumbnail": lambda: encoded("JPEG", exif=exif(encoded("JPEG"))),
    "jpeg with a colour profile": lambda: encoded("JPEG", icc_profile=bytes(200_000)),
    "jpeg with a comment": lambda: encoded("JPEG", comment=b"\xff\xd9 is no end here"),
    "webp": lambda: encoded("WEBP"),
    "webp, lossless": lambda: encoded("WEBP", lossless=True),
    "webp with transparency": lambda: encoded("WEBP", "RGBA"),
    "webp, lossless with transparency": lambda: encoded("WEBP", "RGBA", lossless=True, exact=True),
    "webp with all": lambda: encoded("WEBP", exif=exif(), icc_profile=bytes(301), xmp=b"<x/>"),
    "webp, animated": lambda: animated("WEBP"),
    "webp, animated and lossless": lambda: animated("WEBP", lossless=True),
}
"""Every kind of file that a service may well send."""


def exif(thumbnail: bytes = b"") -> bytes:
    """Some EXIF; the thumbnail is a whole JPEG within it."""
    facts = Image.Exif()
    facts[0x010E] = "a harbour"
    facts[0x9286] = "comment"
    facts[0xC4A5] = thumbnail
    return facts.tobytes()


def animated(form: str, **options: Any) -> bytes:
    """Three frames."""
    out = io.BytesIO()
    first, *more = (noise() for _ in range(3))
    first.save(out, form, save_all=True, append_images=more, duration=50, **options)
    return out.getvalue()


def adam7() -> bytes:
    """An interlaced PNG, which Pillow reads and does not write: eight by eight, in grey."""
    passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)]
    rows = b"".join(
        (b"\0" + bytes([at * 30] * wide)) * high for at, (wide, high) in enumerate(passes)
    )
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return PNG_MARK + body
