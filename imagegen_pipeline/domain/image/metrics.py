"""Image metrics (contrast, sharpness, perceptual hash, …), computed once, when an image is stored.

They are computed from a reduced copy, which costs a tenth of decoding the image. The ledger keeps
them, so that a quality check does not read the file again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MEASURED_BY = 1
"""Version of the metrics. Raise it when a metric changes its meaning: images with an older
version are measured again.
"""
SIDE = 512
"""Pixels of the longer side at which sharpness is measured, so that all sizes compare."""
GRID = 32
"""Cells in each direction for contrast and border: the mean of a cell removes noise."""
HASH_BITS = 256
"""Bits of the perceptual hash. The usual 64 are too few for similar motifs: of 200 portraits of
different people in front of a grey wall, some pairs had the same 64 bits, while the closest pair
differed in 10 of 256.
"""
TONES = 4
"""Cells in each direction whose mean colour is stored: the hash ignores colours."""
BLANK_CONTRAST = 3.0
"""Grey levels (of 255). A single colour has 0, black with a camera's noise (standard deviation
20) 0.5, grey with twice that 1, a night scene at a twelfth of its light 5, photographs 40 to 80.
"""
_TILE = 16
_SHARPEST_PERCENTILE = 90
"""Sharpness is measured in the sharpest tenth of the tiles: a soft background is no fault."""
_HASH_SIDE = 16
_HASH_PIXELS = 64
"""The hash is of the 16x16 lowest frequencies of the image at 64x64 pixels."""


def reduced(image: Image) -> Image:
    """A copy in RGB whose longer side has 512 to 1,023 pixels; smaller images keep their size.

    Transparency is blended with white. ``image`` must be loaded and is not changed.
    """
    import PIL.Image

    if image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.mode not in ("RGB", "RGBA", "L"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    factor = max(1, max(image.size) // SIDE)
    small = image.reduce(factor) if factor > 1 else image
    if small.has_transparency_data:
        small = small.convert("RGBA")
        ground = PIL.Image.new("RGBA", small.size, "white")
        small = PIL.Image.alpha_composite(ground, small)
    return small if small.mode == "RGB" else small.convert("RGB")


def _eight_bits(image: Image) -> Image:
    """16-bit grey as 8-bit grey. Pillow's own conversion clips at 255 instead of scaling."""
    import numpy as np
    import PIL.Image

    return PIL.Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))


def measure(image: Image) -> dict[str, Any]:
    """The metrics of an image as numbers and strings:

    - ``contrast``: the standard deviation of the most varied colour channel over a grid of
      32x32 cells, in grey levels (0 to 127);
    - ``brightness``: the mean grey level, 0 (black) to 255 (white);
    - ``sharpness``: the root mean square of the Laplacian in the sharpest tenth of the image at
      512 pixels, in grey levels;
    - ``border_chroma``: the mean difference between the strongest and the weakest channel of the
      border, in grey levels; 0 for grey;
    - ``border_spread``: the standard deviation of the border's luminance, in grey levels;
    - ``phash``: the perceptual hash, 64 hexadecimal digits; None for a blank image, whose hash
      would be noise;
    - ``tones``: the mean colours of 4x4 cells, 96 hexadecimal digits.
    """
    import numpy as np
    from PIL.Image import Resampling

    small = reduced(image)
    cells = small.resize((GRID, GRID), Resampling.BOX)
    grid = np.asarray(cells, dtype=np.float64)
    grey = small.convert("L")
    contrast = float(grid.std(axis=(0, 1)).max())
    chroma, spread = _border(grid)
    return {
        "measured_by": MEASURED_BY,
        "contrast": round(contrast, 2),
        "brightness": round(float(_luminance(grid).mean()), 2),
        "sharpness": round(_sharpness(grey), 2),
        "border_chroma": round(chroma, 2),
        "border_spread": round(spread, 2),
        "phash": None if contrast < BLANK_CONTRAST else _hash(grey),
        "tones": cells.resize((TONES, TONES), Resampling.BOX).tobytes().hex(),
    }


def _luminance(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = (0.299, 0.587, 0.114)
    return sum((weight * grid[..., at] for at, weight in enumerate(weights)), grid[..., 0] * 0)


def _sharpness(grey: Image) -> float:
    import numpy as np
    from PIL.Image import Resampling

    if max(grey.size) > SIDE:
        scale = SIDE / max(grey.size)
        size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        grey = grey.resize(size, Resampling.BILINEAR)
    if min(grey.size) < 3:
        return 0.0
    a = np.asarray(grey, dtype=np.float32)
    edges = 4 * a[1:-1, 1:-1] - a[:-2, 1:-1] - a[2:, 1:-1] - a[1:-1, :-2] - a[1:-1, 2:]
    rows, columns = (max(1, length // _TILE) for length in edges.shape)
    tall, wide = edges.shape[0] // rows, edges.shape[1] // columns
    tiles = edges[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide)
    return float(np.percentile(np.sqrt((tiles**2).mean(axis=(1, 3))), _SHARPEST_PERCENTILE))


def _border(grid: NDArray[np.float64]) -> tuple[float, float]:
    """Chroma and spread of the top edge and of the upper three quarters of both sides: below
    that, the ground may be in the image.
    """
    import numpy as np

    end = GRID * 3 // 4
    ring = np.concatenate((grid[0], grid[1:end, 0], grid[1:end, -1]))
    chroma = float((ring.max(axis=1) - ring.min(axis=1)).mean())
    return chroma, float(_luminance(ring).std())


def _hash(grey: Image) -> str:
    """The perceptual hash as ``imagehash.phash`` defines it: which of the lowest frequencies of
    the discrete cosine transform are above their median.

    Computed here, since imagehash imports SciPy, which takes a quarter of a second.
    """
    import numpy as np
    from PIL.Image import Resampling

    small = grey.resize((_HASH_PIXELS, _HASH_PIXELS), Resampling.LANCZOS)
    pixels = np.asarray(small, dtype=np.float64)
    frequencies = np.arange(_HASH_SIDE)[:, None]
    samples = 2 * np.arange(_HASH_PIXELS)[None, :] + 1
    basis = np.cos(np.pi * frequencies * samples / (2 * _HASH_PIXELS))
    # Rounded, since the zeros of a symmetric image would be noise otherwise.
    lowest = (basis @ pixels @ basis.T).round(6)
    return np.packbits(lowest > np.median(lowest)).tobytes().hex()
