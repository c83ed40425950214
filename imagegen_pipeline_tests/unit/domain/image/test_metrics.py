"""Image metrics and the rules that use them, on generated images."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from imagegen_pipeline.domain.image import quality_rules
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.domain.image.metrics import measure
from imagegen_pipeline.simulator.pictures import Recipe, render_png

TALL = (540, 960)
SIZES = [TALL, (64, 64), (1024, 1024), (512, 768)]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = TALL) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", size, colour)


def noisy(picture: Image.Image, strength: float, seed: int = 1) -> Image.Image:
    """With a camera's noise: normally distributed, in grey levels."""
    pixels = np.asarray(picture, dtype=float)
    noise = np.random.default_rng(seed).normal(0, strength, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """As it comes out of a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def blurred(picture: Image.Image, share: float) -> Image.Image:
    """Out of focus by this share of its longer side."""
    return picture.filter(ImageFilter.GaussianBlur(share * max(picture.size)))


def gradient() -> Image.Image:
    """From black to white, and nothing else."""
    column = np.linspace(0, 255, TALL[1])[:, None, None]
    return Image.fromarray(np.broadcast_to(column, (TALL[1], TALL[0], 3)).astype(np.uint8))


def simulated(prompt: str = "a harbour", size: tuple[int, int] = TALL) -> Image.Image:
    """What the simulator answers."""
    return Image.open(io.BytesIO(render_png(Recipe(prompt=prompt, seed=1, size=size))))


def studio(colour: tuple[int, int, int], fall: float = 0.0) -> Image.Image:
    """A backdrop whose light falls off by this share towards the corners, and someone on it."""
    height, width = 960, 640
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x / width - 0.5, y / height - 0.5) / np.hypot(0.5, 0.5)
    light = 1 - fall * distance**2
    pixels = np.stack([light * channel for channel in colour], axis=-1).astype(np.uint8)
    picture = noisy(Image.fromarray(pixels), 3)
    picture.paste((40, 60, 120), (220, 100, 420, 900))
    return picture


def is_blank(picture: Image.Image) -> bool:
    """What the check says of it."""
    return not quality_rules.not_blank(measure(picture)).passed


def is_sharp(picture: Image.Image) -> bool:
    """What the check says of it."""
    return quality_rules.sharp(measure(picture)).passed


@pytest.mark.parametrize(
    "picture",
    [
        plain((0, 0, 0)),
        plain((255, 255, 255)),
        plain((200, 30, 90)),
        plain((0, 0, 0), (64, 64)),
        noisy(plain((0, 0, 0)), 5),
        noisy(plain((0, 0, 0)), 20),
        noisy(plain((128, 128, 128)), 30),
        jpeg(noisy(plain((0, 0, 0)), 10), 40),
    ],
    ids=["black", "white", "a colour", "small", "noise", "more noise", "grey noise", "JPEG"],
)
def test_an_image_of_one_colour_is_blank(picture: Image.Image) -> None:
    """A single colour is blank, also with noise, and has no hash."""
    assert is_blank(picture)
    assert measure(picture)["phash"] is None


@pytest.mark.parametrize("size", SIZES)
def test_simulated_pictures_are_neither_blank_nor_blurred(size: tuple[int, int]) -> None:
    """Simulated images of every size pass."""
    assert not is_blank(simulated(size=size))
    assert is_sharp(simulated(size=size))


def test_a_dark_picture_is_not_blank() -> None:
    """A night scene at a twelfth of its light is not blank."""
    assert not is_blank(simulated().point(lambda value: value // 12))


def test_a_blank_images_message_names_its_colour() -> None:
    """The message names black and white."""
    assert "black all over" in quality_rules.not_blank(measure(plain((0, 0, 0)))).sentence
    assert "white all over" in quality_rules.not_blank(measure(plain((255, 255, 255)))).sentence


@pytest.mark.parametrize(
    "make",
    [
        lambda: blurred(simulated(), 0.006),
        lambda: blurred(simulated(), 0.03),
        lambda: blurred(studio((190, 190, 190)), 0.01),
        gradient,
    ],
    ids=["slightly", "much", "a portrait", "a gradient"],
)
def test_a_blurred_image_is_not_sharp(make: Callable[[], Image.Image]) -> None:
    """A blur of half a percent of the longer side, and a mere gradient, are not sharp."""
    picture = make()
    assert not is_sharp(picture)
    assert not is_blank(picture)


def test_a_soft_background_is_no_fault() -> None:
    """A sharp figure in front of a soft background is sharp."""
    assert is_sharp(studio((190, 190, 190), fall=0.4))


@pytest.mark.parametrize(
    ("colour", "fall", "neutral"),
    [
        ((190, 190, 190), 0.0, True),
        ((200, 200, 200), 0.5, True),
        ((222, 205, 178), 0.3, True),
        ((60, 110, 200), 0.0, False),
        ((40, 200, 60), 0.2, False),
    ],
    ids=["grey", "grey, uneven light", "beige", "blue", "green"],
)
def test_a_studio_border_is_neutral(
    colour: tuple[int, int, int], fall: float, neutral: bool
) -> None:
    """Grey and beige with studio lighting pass; a coloured background does not."""
    assert quality_rules.neutral_border(measure(studio(colour, fall))).passed is neutral


def test_a_busy_border_is_not_even() -> None:
    """A street of grey buildings is not an even background."""
    greys = np.random.default_rng(1).integers(0, 255, (12, 8), dtype=np.uint8)
    street = Image.fromarray(greys).resize((640, 960), Image.Resampling.NEAREST)
    found = quality_rules.neutral_border(measure(street))
    assert not found.passed
    assert "uneven" in found.sentence
    assert "colourful" not in found.sentence


def test_every_colour_mode_is_measured_alike() -> None:
    """Grey, 16-bit grey, palette and transparent images have the metrics of their RGB form."""
    seen = simulated("a pier", (300, 400))
    grey = seen.convert("L")
    deep = Image.fromarray(np.asarray(grey, dtype=np.uint16) << 8)
    for picture, like in [
        (grey, grey.convert("RGB")),
        (deep, grey.convert("RGB")),
        (seen.convert("P"), seen.convert("P").convert("RGB")),
    ]:
        file = io.BytesIO()
        picture.save(file, "PNG")
        assert decode_picture(file.getvalue()).measures == measure(like)
    unseen = seen.convert("RGBA")
    unseen.putalpha(0)
    assert is_blank(unseen), "what cannot be seen is not there"


def test_an_image_that_cannot_be_measured_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure of the metrics loses no paid image."""

    def broken(*_: object, **__: object) -> str:
        raise ImportError("no numpy here")

    monkeypatch.setattr("imagegen_pipeline.domain.image.metrics._hash", broken)
    picture = decode_picture(render_png(Recipe(prompt="a pier", seed=1, size=(64, 64))))
    assert (picture.width, picture.measures) == (64, None)


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (1000, 3)])
def test_a_very_narrow_image_is_measured(size: tuple[int, int]) -> None:
    """The smallest images have metrics."""
    assert measure(plain((9, 9, 9), size))["sharpness"] == 0
