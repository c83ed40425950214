"""Prepared pictures: what a benchmark's service sends, so that nothing has to be drawn meanwhile.

They have a photograph's structure (smooth colours, soft shapes and noise) and are written by
Pillow as usual, so that reading one costs what a real one costs. All are different,
and the same each time: the noise is drawn from a seed.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALL = (512, 768)
LARGE = (1080, 1920)
LARGE_MEGABYTES = (2.2, 4.8)
"""Of the large pictures, from the first to the last: so that all are of 2 to 5 MB."""
_COMMON_NOISE = 0.7
"""Grey levels. A small picture is then of about 0.4 MB, as a diffusion model's are."""
_NOISE_OF_ONE_BIT = 0.36
"""Grey levels at which a sample takes a bit in the file; each doubling adds one."""

Pixels = NDArray[np.float32]


def prepare(
    folder: Path,
    size: tuple[int, int],
    count: int,
    megabytes: tuple[float, float] | None = None,
) -> list[Path]:
    """Write so many pictures of a size (width, height) into the folder; their paths.

    ``megabytes``: about how large the first and the last file are, and in even steps those
    between; None: as large as a picture with little noise is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size
    paths = []
    for number in range(count):
        dice = np.random.default_rng([width, height, number])
        noise = (
            _COMMON_NOISE if megabytes is None else _noise(size, _between(megabytes, number, count))
        )
        pixels = _shapes(dice, width, height)
        pixels += dice.normal(0, noise, pixels.shape)
        path = folder / f"{width}x{height} {number:04}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        paths.append(path)
    return paths


def _between(limits: tuple[float, float], number: int, count: int) -> float:
    first, last = limits
    return first + (last - first) * number / max(count - 1, 1)


def _noise(size: tuple[int, int], megabytes: float) -> float:
    """The noise, in grey levels, that makes a file about so large."""
    bits_a_sample = megabytes * 8e6 / (size[0] * size[1] * 3)
    return float(_NOISE_OF_ONE_BIT * 2 ** (bits_a_sample - 1))


def _shapes(dice: np.random.Generator, width: int, height: int) -> Pixels:
    """Colours that change slowly, by a few waves of any direction, in three channels."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    pixels = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        light = np.full((height, width), 128, np.float32)
        for strength in (50, 30, 15):
            turns_down, turns_across = dice.uniform(-3, 3, 2)
            start = dice.uniform(0, math.tau)
            light += strength * np.sin(
                math.tau * (turns_down * down + turns_across * across) + start, dtype=np.float32
            )
        pixels[..., channel] = light
    return pixels
