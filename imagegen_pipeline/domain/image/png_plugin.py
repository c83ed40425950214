"""PNG decoding that inflates no texts. Imported only where an image is decoded."""

from __future__ import annotations

import io
import zlib

from PIL.PngImagePlugin import PngImageFile

from imagegen_pipeline.domain.errors import NotAPictureError

LARGEST_TEXT = 64 * 1024 * 1024
"""Bytes that all compressed texts of a file may have when inflated."""
_SIGNATURE_BYTES = 8
_STEP = 256 * 1024


class CountingPngFile(PngImageFile):
    """Decodes as Pillow does, and records how much of the file the pixels took."""

    read_to = 0
    """The file position at which the decoder had all pixels."""

    def load_end(self) -> None:
        """Called by Pillow when all pixels are decoded; it then reads the rest of the file."""
        if self.fp is not None:
            self.read_to = self.fp.tell()
        super().load_end()


def without_texts(data: bytes) -> bytes:
    """The file without its compressed texts (zTXt, iTXt), of which Pillow refuses those over 1 MB.

    Workflows are stored in them. Raises NotAPictureError when they inflate to more than
    ``LARGEST_TEXT``: the file then attacks programs that read them.
    """
    kept, inflated, at = io.BytesIO(), 0, _SIGNATURE_BYTES
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
            count += len(decoder.decompress(pending, _STEP))
            if before + count > LARGEST_TEXT:
                raise NotAPictureError(
                    f"The texts in the PNG are too large: over {LARGEST_TEXT:,} bytes inflated."
                )
            pending = decoder.unconsumed_tail
    except zlib.error:
        pass
    return count
