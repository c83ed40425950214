"""Writes PNG files: flat pictures, several times faster than an encoder that tries filters."""

import struct
import zlib

from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB = bytes([8, 2, 0, 0, 0])
_NO_FILTER = b"\0"


def encode_png(image: Image.Image) -> bytes:
    """The RGB picture as a PNG, with the text chunk that marks every simulated picture."""
    pixels = memoryview(image.tobytes())
    row = image.width * 3
    lines = [
        part
        for start in range(0, len(pixels), row)
        for part in (_NO_FILTER, pixels[start : start + row])
    ]
    return png_file(image.size, zlib.compress(b"".join(lines), 1))


def png_file(size: tuple[int, int], data: bytes) -> bytes:
    """A PNG file that declares the size, around pixel data that is already deflated."""
    header = struct.pack(">II", *size) + _EIGHT_BIT_RGB
    mark = b"simulated\0true"
    chunks = ((b"IHDR", header), (b"tEXt", mark), (b"IDAT", data), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
