"""The newest images side by side."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from imagegen_pipeline.results.contact_sheet import MAX_BYTES, MAX_PICTURES, contact_sheet

COLORS = [(230, 40, 40), (40, 200, 60), (50, 70, 220), (240, 200, 40)]


def picture(color: tuple[int, int, int], size: tuple[int, int] = (144, 256)) -> bytes:
    """A preview of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "WEBP", lossless=True)
    return out.getvalue()


def noise(number: int) -> bytes:
    """A preview that does not compress."""
    dice = random.Random(number)  # noqa: S311 - the same noise every time
    out = io.BytesIO()
    Image.frombytes("RGB", (144, 256), dice.randbytes(144 * 256 * 3)).save(out, "WEBP")
    return out.getvalue()


def opened(data: bytes | None) -> Image.Image:
    """Decode a sheet."""
    assert data is not None
    assert len(data) <= MAX_BYTES
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image.convert("RGB")


def is_near(pixel: object, color: tuple[int, int, int]) -> bool:
    """Whether a pixel has a colour, within the error of the compression."""
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 40 for a, b in zip(pixel, color, strict=True))


def test_no_images_make_no_sheet() -> None:
    """The result is None."""
    assert contact_sheet([]) is None


@pytest.mark.parametrize("size", [(144, 256), (256, 144), (20, 200), (5, 5)])
def test_images_are_in_order(size: tuple[int, int]) -> None:
    """From left to right, uncropped, whatever their shape."""
    sheet = opened(contact_sheet([("key", picture(color, size)) for color in COLORS]))
    cell = sheet.width // len(COLORS)
    for number, color in enumerate(COLORS):
        assert is_near(sheet.getpixel((number * cell + cell // 2, 99)), color)


def test_the_number_of_images_is_limited() -> None:
    """The sheet has at most three rows of eight."""
    many = [(f"db-{number}", picture(COLORS[0])) for number in range(99)]
    assert opened(contact_sheet(many)).size == opened(contact_sheet(many[:MAX_PICTURES])).size


def test_the_size_is_limited() -> None:
    """Images that do not compress are encoded at a lower quality."""
    opened(contact_sheet([(f"db-{number}", noise(number)) for number in range(MAX_PICTURES)]))


@pytest.mark.parametrize("bad", [b"", b"no picture", picture(COLORS[1])[:40]])
def test_a_damaged_image_leaves_its_cell_empty(bad: bytes) -> None:
    """The others keep their cells."""
    sheet = opened(
        contact_sheet([("a", picture(COLORS[0])), ("b", bad), ("c", picture(COLORS[2]))])
    )
    cell = sheet.width // 3
    assert is_near(sheet.getpixel((cell // 2, 99)), COLORS[0])
    assert is_near(sheet.getpixel((cell + cell // 2, 99)), (231, 233, 236))
    assert is_near(sheet.getpixel((2 * cell + cell // 2, 99)), COLORS[2])


def test_the_end_of_a_long_key_is_shown() -> None:
    """Keys that differ in their last letters are drawn differently, within their cell."""
    plain = picture((255, 255, 255))
    first, second = ("json-" + "a-long-name-" * 12 + end for end in ("0aaaaaaa", "0bbbbbbb"))
    one, other = (opened(contact_sheet([(key, plain), ("b", plain)])) for key in (first, second))
    assert one.tobytes() != other.tobytes()
    gap = one.crop((114, 174, 119, one.height)).convert("L")
    darkest, _ = gap.getextrema()
    assert isinstance(darkest, float | int)
    assert darkest > 200, "it ends before the next cell"
