"""Decodes gzip and deflate bodies in bounded parts, so that the caller can stop at any part.

urllib3's own decoding (2.8 was tried) is not enough: ``read1`` loops until it has output, so a
body that inflates to nothing holds it forever, and it accepts a body that breaks off, several
encodings in a row, and encodings that were not asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

ACCEPTED = "gzip, deflate"
_PART = 256 * 1024
_GZIP, _RAW = 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS


def inflated(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The decoded body in parts of at most 256 KiB; some parts are empty.

    Raises ValueError for an encoding that was not asked for, for several encodings in a row,
    and for a body that is damaged or breaks off.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return iter(parts)
    if encoding in ("gzip", "x-gzip"):
        return _streams(parts, _GZIP)
    if encoding == "deflate":
        return _deflated(parts)
    raise ValueError(f"it is encoded as {encoding[:40]!r}")


def _deflated(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Some hosts omit the zlib header, whose first byte is 0x78."""
    rest = iter(parts)
    first = next(rest, b"")
    yield from _streams(_chain(first, rest), zlib.MAX_WBITS if first[:1] == b"\x78" else _RAW)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _streams(parts: Iterable[bytes], form: int) -> Iterator[bytes]:
    """Decode one compressed stream, or several in a row."""
    stream, begun, complete = zlib.decompressobj(form), False, 0
    for part in parts:
        data, out = part, b""
        while data or len(out) == _PART:
            try:
                out = stream.decompress(data, _PART)
            except zlib.error as error:
                if complete:
                    return  # padding after the streams
                raise ValueError(f"it is damaged: {error}") from None
            yield out
            begun, data = True, stream.unconsumed_tail or stream.unused_data
            if stream.eof:
                stream, begun, complete = zlib.decompressobj(form), False, complete + 1
    if begun:
        raise ValueError("it breaks off")
