"""Decompression of bodies in bounded parts, so that the reader can stop after any of them.

The libraries below read on by themselves while a body inflates to nothing, which it can do
for ever; and the older of them inflate a piece of it whole, whatever comes of that.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

ACCEPTED = "gzip, deflate"
_PART = 256 * 1024
_GZIP, _RAW = 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS


def inflated(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """``parts`` of a body, decoded after its Content-Encoding; some parts are empty.

    Raises ValueError for an encoding that was not asked for, for several in a row (each blows
    a little up to a lot), and for a body that is damaged or breaks off.
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
    """Some hosts leave the header of zlib away, whose first byte is unlike a stream's."""
    rest = iter(parts)
    first = next(rest, b"")
    yield from _streams(_chain(first, rest), zlib.MAX_WBITS if first[:1] == b"\x78" else _RAW)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _streams(parts: Iterable[bytes], form: int) -> Iterator[bytes]:
    """One stream, or several behind each other."""
    stream, begun, complete = zlib.decompressobj(form), False, 0
    for part in parts:
        data, out = part, b""
        while data or len(out) == _PART:
            try:
                out = stream.decompress(data, _PART)
            except zlib.error as error:
                if complete:
                    return  # padding behind the streams
                raise ValueError(f"it is damaged: {error}") from None
            yield out
            begun, data = True, stream.unconsumed_tail or stream.unused_data
            if stream.eof:
                stream, begun, complete = zlib.decompressobj(form), False, complete + 1
    if begun:
        raise ValueError("it breaks off")
