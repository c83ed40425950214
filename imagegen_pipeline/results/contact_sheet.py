"""The newest images side by side, each with its key, as one small WebP."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

MAX_PICTURES = 24
MAX_BYTES = 60_000
"""The sheet is stored in an event of Dagster's database."""
_COLUMNS = 8
_CELL = (104, 164)
"""Pixels; an image is scaled to fit."""
_GAP, _LINE_HEIGHT, _LINES = 8, 12, 2
_FONT_SIZE = 10
_BACKGROUND, _FRAME, _TEXT = "#ffffff", "#e7e9ec", "#1f2933"
_QUALITIES = (66, 54, 42, 30)


def contact_sheet(pictures: Sequence[tuple[str, bytes]]) -> bytes | None:
    """Draw the first ``MAX_PICTURES`` of ``(key, image bytes)``; returns a WebP, None if empty.

    The cell of an image that cannot be decoded stays empty.
    """
    from PIL import Image, ImageDraw, ImageFont

    shown = pictures[:MAX_PICTURES]
    if not shown:
        return None
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width, height = _CELL[0] + _GAP, _CELL[1] + _LINES * _LINE_HEIGHT + _GAP + 4
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _BACKGROUND)
    canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for number, (key, data) in enumerate(shown):
        left, top = _GAP + number % columns * width, _GAP + number // columns * height
        canvas.rectangle((left, top, left + _CELL[0] - 1, top + _CELL[1] - 1), fill=_FRAME)
        small = _fitted(data)
        if small is not None:
            corner = (left + (_CELL[0] - small.width) // 2, top + (_CELL[1] - small.height) // 2)
            sheet.paste(small, corner)
        for line, text in enumerate(_lines(key, font)):
            below = top + _CELL[1] + 4 + line * _LINE_HEIGHT
            canvas.text((left, below), text, fill=_TEXT, font=font)
    return _encode(sheet)


def _fitted(data: bytes) -> Image | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=["WEBP", "PNG", "JPEG"]) as opened:
            return ImageOps.contain(opened.convert("RGB"), _CELL, Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _lines(key: str, font: FreeTypeFont | ImageFont) -> list[str]:
    """The key in two lines; the middle of a long one is left out, since its end is distinctive."""
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
    if length < len(key):  # preferably after a hyphen
        length = max(_break_positions(key[:length])) or length
    return key[:length], key[length:]


def _break_positions(text: str) -> Iterable[int]:
    return (0, *(at + 1 for at in range(len(text) // 2, len(text)) if text[at] in "-_"))


def _encode(sheet: Image) -> bytes:
    """Encode at lower and lower quality, then at a smaller size, until it fits ``MAX_BYTES``."""
    while True:
        for quality in _QUALITIES:
            out = io.BytesIO()
            sheet.save(out, format="WEBP", quality=quality, method=6)
            if out.tell() <= MAX_BYTES:
                return out.getvalue()
        sheet = sheet.resize((sheet.width * 4 // 5, sheet.height * 4 // 5))
