"""Damaged pictures, as a picture fault makes them of a recipe."""

import io
import zlib
from dataclasses import replace

from PIL import Image

from imagegen_pipeline.simulator.faults import Fault
from imagegen_pipeline.simulator.pictures import Recipe, render_png
from imagegen_pipeline.simulator.png import encode_png, png_file

BOMB_SIDE = 60_000


def render(recipe: Recipe, damage: Fault | None) -> tuple[bytes, str]:
    """Bytes and media type of the picture, damaged when there is a picture fault."""
    name = damage.name if damage is not None else ""
    if damage is not None and name == "wrong_size":
        width = int(damage.number("width", max(1, recipe.size[0] // 2)))
        height = int(damage.number("height", max(1, recipe.size[1] // 2)))
        return render_png(replace(recipe, size=(width, height))), "image/png"
    if damage is not None and name == "wrong_format":
        return _in_other_format(recipe, damage.text("format", "jpeg"))
    if name == "blank":
        return encode_png(Image.new("RGB", recipe.size)), "image/png"
    if name == "bomb":
        return _bomb(), "image/png"
    whole = render_png(recipe)
    return (whole[: len(whole) // 2] if name == "truncated_picture" else whole), "image/png"


def _in_other_format(recipe: Recipe, wanted: str) -> tuple[bytes, str]:
    encoded = io.BytesIO()
    with Image.open(io.BytesIO(render_png(recipe))) as picture:
        picture.save(encoded, wanted.upper())
    return encoded.getvalue(), f"image/{wanted.lower()}"


def _bomb() -> bytes:
    """A small PNG file that declares `BOMB_SIDE` pixels a side."""
    return png_file((BOMB_SIDE, BOMB_SIDE), zlib.compress(bytes(100_000)))
