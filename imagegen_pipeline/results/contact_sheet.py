"""The newest pictures side by side, each with its key: one small WebP."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

MOST = 24
MOST_BYTES = 60_000
"""It stands in an event of Dagster's: its database keeps each of them."""
_COLUMNS = 8
_CELL = (104, 164)
"""Pixels that a picture is fitted into, its shape kept."""
_GAP, _LINE, _LINES = 8, 12, 2
_FONT = 10
_PAPER, _FRAME, _INK = "#ffffff", "#e7e9ec", "#1f2933"
_QUALITIES = (66, 54, 42, 30)


def contact_sheet(pictures: Sequence[tuple[str, bytes]]) -> bytes | None:
    """A WebP of the first ``MOST`` of ``(key, picture)``, on white; None when there are none.

    A picture that does not decode leaves its place empty. Raises nothing for one.
    """
    from PIL import Image, ImageDraw, ImageFont

    shown = pictures[:MOST]
    if not shown:
        return None
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    wide, high = _CELL[0] + _GAP, _CELL[1] + _LINES * _LINE + _GAP + 4
    sheet = Image.new("RGB", (columns * wide + _GAP, rows * high + _GAP), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    for number, (key, data) in enumerate(shown):
        left, top = _GAP + number % columns * wide, _GAP + number // columns * high
        pen.rectangle((left, top, left + _CELL[0] - 1, top + _CELL[1] - 1), fill=_FRAME)
        small = _fitted(data)
        if small is not None:
            place = (left + (_CELL[0] - small.width) // 2, top + (_CELL[1] - small.height) // 2)
            sheet.paste(small, place)
        for line, text in enumerate(_lines(key, font)):
            pen.text((left, top + _CELL[1] + 4 + line * _LINE), text, fill=_INK, font=font)
    return _small_enough(sheet)


def _fitted(data: bytes) -> Image | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=["WEBP", "PNG", "JPEG"]) as opened:
            return ImageOps.contain(opened.convert("RGB"), _CELL, Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _lines(key: str, font: FreeTypeFont | ImageFont) -> list[str]:
    """The key in two lines; of one that is too long the middle is left out: its end tells it."""
    head, tail = _split(key, font)
    if not tail:
        return [head]
    if font.getlength(tail) <= _CELL[0]:
        return [head, tail]
    while font.getlength(f"..{tail}") > _CELL[0]:
        tail = tail[1:]
    return [head, f"..{tail}"]


def _split(key: str, font: FreeTypeFont | ImageFont) -> tuple[str, str]:
    length = len(key)
    while font.getlength(key[:length]) > _CELL[0]:
        length -= 1
    if length < len(key):  # better between two words
        length = max(_ends(key[:length])) or length
    return key[:length], key[length:]


def _ends(text: str) -> Iterable[int]:
    return (0, *(at + 1 for at in range(len(text) // 2, len(text)) if text[at] in "-_"))


def _small_enough(sheet: Image) -> bytes:
    """With less detail until it fits, and then smaller: keys are still to be read."""
    while True:
        for quality in _QUALITIES:
            out = io.BytesIO()
            sheet.save(out, format="WEBP", quality=quality, method=6)
            if out.tell() <= MOST_BYTES:
                return out.getvalue()
        sheet = sheet.resize((sheet.width * 4 // 5, sheet.height * 4 // 5))
