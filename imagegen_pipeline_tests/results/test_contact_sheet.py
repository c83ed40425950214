"""The newest pictures side by side."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from imagegen_pipeline.results.contact_sheet import MOST, MOST_BYTES, contact_sheet

COLORS = [(230, 40, 40), (40, 200, 60), (50, 70, 220), (240, 200, 40)]


def picture(color: tuple[int, int, int], size: tuple[int, int] = (144, 256)) -> bytes:
    """A preview of one color."""
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
    """A sheet as a page shows it."""
    assert data is not None
    assert len(data) <= MOST_BYTES
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image.convert("RGB")


def is_near(found: object, wanted: tuple[int, int, int]) -> bool:
    """Whether a pixel has a color, but for what compression costs."""
    assert isinstance(found, tuple)
    return all(abs(a - b) < 40 for a, b in zip(found, wanted, strict=True))


def test_no_pictures_make_no_sheet() -> None:
    """There is nothing to show."""
    assert contact_sheet([]) is None


@pytest.mark.parametrize("size", [(144, 256), (256, 144), (20, 200), (5, 5)])
def test_pictures_stand_in_their_order(size: tuple[int, int]) -> None:
    """From left to right, whole, whatever their shape."""
    sheet = opened(contact_sheet([("key", picture(color, size)) for color in COLORS]))
    cell = sheet.width // len(COLORS)
    for number, color in enumerate(COLORS):
        assert is_near(sheet.getpixel((number * cell + cell // 2, 99)), color)


def test_only_the_newest_are_shown() -> None:
    """Three rows of eight, however many there are."""
    many = [(f"db-{number}", picture(COLORS[0])) for number in range(99)]
    assert opened(contact_sheet(many)).size == opened(contact_sheet(many[:MOST])).size


def test_it_stays_small_whatever_it_shows() -> None:
    """Pictures that do not compress are shown in less detail."""
    opened(contact_sheet([(f"db-{number}", noise(number)) for number in range(MOST)]))


@pytest.mark.parametrize("bad", [b"", b"no picture", picture(COLORS[1])[:40]])
def test_a_picture_that_is_lost_leaves_its_place(bad: bytes) -> None:
    """The others stand where they stood."""
    sheet = opened(
        contact_sheet([("a", picture(COLORS[0])), ("b", bad), ("c", picture(COLORS[2]))])
    )
    cell = sheet.width // 3
    assert is_near(sheet.getpixel((cell // 2, 99)), COLORS[0])
    assert is_near(sheet.getpixel((cell + cell // 2, 99)), (231, 233, 236))
    assert is_near(sheet.getpixel((2 * cell + cell // 2, 99)), COLORS[2])


def test_the_end_of_a_long_key_is_seen() -> None:
    """Keys that differ in their last letters only are told apart, and stay below their picture."""
    plain = picture((255, 255, 255))
    first, second = ("json-" + "a-long-name-" * 12 + end for end in ("0aaaaaaa", "0bbbbbbb"))
    one, other = (opened(contact_sheet([(key, plain), ("b", plain)])) for key in (first, second))
    assert one.tobytes() != other.tobytes()
    gap = one.crop((114, 174, 119, one.height)).convert("L")
    assert gap.getextrema()[0] > 200, "it ends before the next picture's place"
