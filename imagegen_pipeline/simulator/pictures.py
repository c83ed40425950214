"""Simulated pictures, marked as such: equal recipes give equal bytes."""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256, shake_256
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from imagegen_pipeline.simulator.png import encode_png

Colour = tuple[int, int, int]

SKY_TONES = ((0.6, 0.28), (0.55, 0.48), (0.6, 0.66), (0.7, 0.8))
"""Saturation and light from the zenith to the horizon."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a simulated picture depends on. ``size`` is width and height in pixels."""

    prompt: str
    seed: int
    size: tuple[int, int]
    model: str = ""
    negative_prompt: str = ""
    steps: int = 0
    guidance: float = 0.0

    @property
    def digest(self) -> bytes:
        """Thirty-two bytes that differ whenever a part of the recipe does."""
        parts = (self.prompt, self.negative_prompt, self.seed, self.model)
        numbers = (self.steps, float(self.guidance), *self.size)
        return sha256(repr((*parts, *numbers)).encode()).digest()


@lru_cache(maxsize=16)
def render_png(recipe: Recipe) -> bytes:
    """Draw the recipe: a landscape under the word SIMULATED, as PNG of exactly its size."""
    width, height = recipe.size
    chances = _chances(recipe.digest)
    palette = _palette(chances)
    image = _sky(width, height, palette[:4])
    draw = ImageDraw.Draw(image)
    _draw_sun(draw, width, height, chances, palette)
    _draw_ridges(draw, width, height, chances, palette)
    _draw_words(draw, width, height, recipe)
    return encode_png(image)


def _chances(digest: bytes) -> Iterator[float]:
    """Numbers from 0 to 1 that only the digest decides."""
    for byte in shake_256(digest).digest(4096):
        yield byte / 255


def _palette(chances: Iterator[float]) -> list[Colour]:
    """Seven colours from the top of the sky to the nearest ridge, in related hues."""
    hue, spread = next(chances), 0.08 + 0.22 * next(chances)
    sky = [
        _colour(hue + spread * step, saturation, light)
        for step, (saturation, light) in enumerate(SKY_TONES)
    ]
    ridges = [_colour(hue - 0.03 * step, 0.4, 0.42 - 0.12 * step) for step in range(3)]
    return sky + ridges


def _colour(hue: float, saturation: float, light: float) -> Colour:
    def channel(offset: float) -> int:
        position = (hue + offset) % 1 * 12
        reach = saturation * min(light, 1 - light)
        return round(255 * (light - reach * max(-1.0, min(position - 3, 9 - position, 1.0))))

    return channel(0), channel(2 / 3), channel(1 / 3)


def _sky(width: int, height: int, colours: list[Colour]) -> Image.Image:
    column = Image.new("RGB", (1, len(colours)))
    for row, colour in enumerate(colours):
        column.putpixel((0, row), colour)
    tall = column.resize((1, height), Image.Resampling.BICUBIC)
    return tall.resize((width, height), Image.Resampling.NEAREST)


def _draw_sun(
    draw: ImageDraw.ImageDraw,
    width: int,
    height: int,
    chances: Iterator[float],
    palette: list[Colour],
) -> None:
    centre_x = width * (0.2 + 0.6 * next(chances))
    centre_y = height * (0.38 + 0.2 * next(chances))
    radius = min(width, height) * (0.1 + 0.12 * next(chances))
    pale = (255, 250, 230)
    for scale, strength in ((1.35, 0.25), (1.17, 0.5), (1.0, 1.0)):
        reach = radius * scale
        box = (centre_x - reach, centre_y - reach, centre_x + reach, centre_y + reach)
        draw.ellipse(box, fill=_mix(palette[2], pale, strength))


def _mix(start: Colour, end: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return red, green, blue


def _draw_ridges(
    draw: ImageDraw.ImageDraw,
    width: int,
    height: int,
    chances: Iterator[float],
    palette: list[Colour],
) -> None:
    light_edge = max(1, height // 400)
    for layer, colour in enumerate(palette[4:]):
        outline = _outline(width, height, height * (0.62 + 0.12 * layer), chances)
        draw.polygon([(0, height), *outline, (width, height)], fill=colour)
        edge = _mix(colour, (255, 255, 255), 0.18)
        for start, end in pairwise(outline):
            draw.line((*start, *end), fill=edge, width=light_edge)


def _outline(
    width: int, height: int, base: float, chances: Iterator[float]
) -> list[tuple[float, float]]:
    """A ridge from left to right: a few sine waves around ``base``."""
    points = 48
    heights = [base] * (points + 1)
    for order in range(4):
        phase = next(chances) * math.tau
        rate = math.pi * (1.2 + 2.5 * order + 2 * next(chances)) / points
        tall = height * 0.06 / (order + 1)
        heights = [y + tall * math.sin(phase + rate * step) for step, y in enumerate(heights)]
    return [(width * step / points, y) for step, y in enumerate(heights)]


def _draw_words(draw: ImageDraw.ImageDraw, width: int, height: int, recipe: Recipe) -> None:
    title = _font(_fitting(width * 0.86 / 6.2, height * 0.2))
    _write(draw, (width / 2, height * 0.14), "SIMULATED", title)
    small = _fitting(width / 20, height / 14)
    if small < 7:
        return
    plain = recipe.prompt.encode("ascii", "replace").decode()
    words = textwrap.wrap(plain[:200], width=34, max_lines=3, placeholder=" ...")
    lines = [*words, f"seed {recipe.seed}"]
    for row, line in enumerate(lines):
        from_bottom = (len(lines) - row) * small * 1.35
        _write(draw, (width / 2, height - from_bottom), line, _font(small))


def _fitting(by_width: float, by_height: float) -> int:
    return max(5, round(min(by_width, by_height)))


def _write(
    draw: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    x, y = centre
    shadow = max(1, int(getattr(font, "size", 10)) // 16)
    draw.text((x + shadow, y + shadow), text, font=font, fill=(15, 15, 25), anchor="mm")
    draw.text((x, y), text, font=font, fill=(255, 255, 255), anchor="mm")


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
