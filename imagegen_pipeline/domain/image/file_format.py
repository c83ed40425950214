"""Detects the format, the size and the end of an image file without decoding it.

A file is read chunk by chunk (PNG: W3C PNG 5.3; JPEG: ITU T.81 B.1; WebP: RFC 9649).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from imagegen_pipeline.domain.errors import NotAPictureError

PictureFormat = Literal["PNG", "JPEG", "WEBP"]
MOST_SCANS = 100
"""A progressive JPEG has about ten. Each is a pass over all pixels."""
_PADDING = b"\0 \t\r\n"
"""Bytes that may follow the end of an image."""
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_EOI, _SOS, _TEM, _SOI = 0xD9, 0xDA, 0x01, 0xD8
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_BYTES_A_PIXEL = 8
_MOST_DEFLATED = 1032
_PART = 1024 * 1024
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "a PDF"),
    (0, b"GIF8", "a GIF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"PK\x05\x06", "a ZIP archive"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (0, b"II+\0", "a TIFF"),
    (0, b"MM\0+", "a TIFF"),
    (0, b"%!PS", "PostScript or EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript or EPS"),
    (0, b"\0\0\1\0", "an ICO"),
    (0, b"\0\0\2\0", "an ICO"),
    (0, b"BM", "a BMP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG"),
    (0, b"\xff\xd8\xff", "a JPEG"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"#!", "a program"),
    (8, b"WEBP", "a WebP"),
    (4, b"ftypavif", "an AVIF"),
    (4, b"ftyphei", "a HEIC"),
    (4, b"ftyp", "a video"),
)


@dataclass(frozen=True, slots=True)
class FileFormat:
    """An image file's format, its claimed size in pixels, and the position of its end."""

    format: PictureFormat
    width: int
    height: int
    end: int


def read_file_format(data: bytes) -> FileFormat | None:
    """The format of a PNG, JPEG or WebP; None for other bytes.

    Raises NotAPictureError for a truncated file, and for one with trailing data, which other
    programs could take for a different kind of file.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        layout = _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        layout = _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        layout = _webp(data)
    else:
        return None
    rest = data[layout.end :].strip(_PADDING)
    if rest:
        raise NotAPictureError(
            f"The {layout.format} ends after {layout.end:,} of its {len(data):,} bytes, and "
            f"something else follows: {describe_bytes(rest)}."
        )
    return layout


def describe_bytes(data: bytes) -> str:
    """The apparent kind of bytes, for a message: ``they seem to be a PDF (25 50 44 46 …)``."""
    if not data:
        return "there are none"
    begin = data[:8].hex(" ")
    for at, mark, name in _SIGNATURES:
        if data.startswith(mark, at):
            return f"they seem to be {name} ({begin})"
    head = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "they seem to be a web page"
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")):
        return "they seem to be SVG or XML"
    if head.startswith((b"{", b"[")):
        return "they seem to be JSON"
    return f"they begin with {begin}"


def check_inflation(data: bytes, layout: FileFormat, *, read_to: int) -> None:
    """Raise NotAPictureError for a PNG that inflates to far more than its pixels need.

    ``read_to`` is the decoder's position in the file when it had all pixels. That is nearly always
    the end: bytes that were read but not inflated are at most 64 KiB, which is harmless (deflate
    expands a byte to at most 1,032). Otherwise the data is inflated, up to about twice the size of
    the pixels. WebP and JPEG decode to no more than their pixels.
    """
    if layout.format != "PNG":
        return
    limit = 2 * layout.height * (layout.width * _MOST_BYTES_A_PIXEL + 1) + 1024
    unread = sum(max(0, end - max(begin, read_to)) for begin, end in _image_data(data))
    if unread * _MOST_DEFLATED <= limit:
        return
    stream, size = zlib.decompressobj(), 0
    for begin, end in _image_data(data):
        part = data[begin:end]
        while part and not stream.eof:
            size += len(stream.decompress(part, _PART))
            part = stream.unconsumed_tail
            if size > limit:
                raise NotAPictureError(
                    f"The PNG is a bomb: it claims {layout.width}x{layout.height} pixels and "
                    "inflates to many times more."
                )


def _image_data(data: bytes) -> Iterator[tuple[int, int]]:
    """The start and end of each chunk of a PNG's compressed pixels."""
    for kind, begin, end in _png_chunks(data):
        if kind == b"IDAT":
            yield begin, end


def _png(data: bytes) -> FileFormat:
    profiles = 0
    for kind, _, end in _png_chunks(data):
        profiles += kind == b"iCCP"
        if profiles > 1:  # one is allowed; programs that open the file inflate each
            raise NotAPictureError("The PNG is a bomb: it has more than one colour profile.")
        if kind == b"IEND":
            width, height = struct.unpack_from(">II", data, 16)
            return FileFormat("PNG", width, height, end + 4)
    raise _truncated("PNG")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each chunk, and the start and end of its content."""
    at = 8
    if data[12:16] != b"IHDR":
        raise _truncated("PNG")
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        yield kind, at + 8, at + 8 + length
        if kind == b"IEND":
            return
        at += 12 + length
    raise _truncated("PNG")


def _jpeg(data: bytes) -> FileFormat:
    size, scans, at = (0, 0), 0, 2
    while marker := _MARKER.search(data, at):
        kind, at = marker[1][0], marker.end()
        if kind == _EOI:
            if not scans:
                break
            return FileFormat("JPEG", *size, end=at)
        if kind in (_SOI, _TEM):
            continue
        if at + 2 > len(data):
            break
        length = int.from_bytes(data[at : at + 2])
        if kind in _FRAMES and at + 7 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = (width, height)
        scans += kind == _SOS
        if scans > MOST_SCANS:
            raise NotAPictureError(f"The JPEG is a bomb: it has more than {MOST_SCANS} scans.")
        at += length
    raise _truncated("JPEG")


def _webp(data: bytes) -> FileFormat:
    end = 8 + int.from_bytes(data[4:8], "little")
    size = _webp_size(data)
    if end > len(data) or size is None:
        raise _truncated("WEBP")
    return FileFormat("WEBP", *size, end=end)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind, head = data[12:16], data[20:30]
    if len(head) < 10:
        return None
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
        return width, height
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _truncated(form: PictureFormat) -> NotAPictureError:
    return NotAPictureError(f"The picture does not decode: the {form} breaks off before its end.")
