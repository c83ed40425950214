"""A PNG that knows how much of its file its pixels took. Imported where something is decoded."""

from __future__ import annotations

from PIL.PngImagePlugin import PngImageFile


class CountingPngFile(PngImageFile):
    """Decodes as Pillow does."""

    read_to = 0
    """How far the file had been read when the decoder had all pixels."""

    def load_end(self) -> None:
        """Called by Pillow at that moment; it then reads on to the file's end."""
        if self.fp is not None:
            self.read_to = self.fp.tell()
        super().load_end()
