"""What a picture is like, in numbers: measured once, when it is decoded to be stored.

The numbers are of the picture made small (``reduced``): what is checked is seen at that size
too, and it costs a tenth of decoding it. They stand in the ledger, so that a check needs no
second look at the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MEASURED_BY = 1
"""To be raised when a measure changes its meaning: older ones are then measured anew."""
SIDE = 512
"""Pixels of the longer side at which sharpness is measured, so that sizes can be compared."""
GRID = 32
"""Cells in each direction by which contrast and border are measured: a cell evens out noise."""
HASH_BITS = 256
"""Of the perceptual hash. 64, as is common, are too few where pictures are alike on purpose:
of 200 portraits of different people before a grey wall, pairs had the very same 64 bits, while
the nearest two differed in 10 of 256.
"""
TONES = 4
"""Cells in each direction whose mean colour is kept beside the hash, which knows no colours."""
BLANK_CONTRAST = 3.0
"""Grey levels (of 255). A single colour has 0, black with a camera's noise (standard deviation
20) 0.5, grey with twice that 1; a night scene at a twelfth of its light has 5, photographs have
40 to 80.
"""
_TILE = 16
_SHARPEST = 90
"""Sharpness is that of the sharpest tenth of the tiles: a soft background is no fault."""


def reduced(image: Image) -> Image:
    """The picture in RGB with a longer side of 512 to 1,023 pixels, or as it is if smaller.

    What can be seen through is shown on white. Takes a loaded picture and leaves it as it is.
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
    """Sixteen bits of grey as eight; Pillow's own conversion makes all but the darkest white."""
    import numpy as np
    import PIL.Image

    return PIL.Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))


def measure(image: Image) -> dict[str, Any]:
    """The measures of a picture, plain numbers and texts:

    - ``contrast``: the standard deviation of the most varied colour channel over a grid of
      32x32 cells, in grey levels (0 to 127);
    - ``brightness``: the mean grey level, 0 (black) to 255 (white);
    - ``sharpness``: how much a grey value differs from its neighbours' (the root mean square of
      the Laplacian) in the sharpest tenth of the picture at 512 pixels; grey levels;
    - ``border_chroma``: how colourful the border is, the mean difference between the strongest
      and the weakest channel; grey levels, 0 for grey;
    - ``border_spread``: the standard deviation of the border's grey; grey levels;
    - ``phash``: the perceptual hash, 64 hexadecimal digits; None for a blank picture, of which it
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
    return float(np.percentile(np.sqrt((tiles**2).mean(axis=(1, 3))), _SHARPEST))


def _border(grid: NDArray[np.float64]) -> tuple[float, float]:
    """Chroma and spread of the top edge and of both sides down to where a floor may begin."""
    import numpy as np

    end = GRID * 3 // 4
    ring = np.concatenate((grid[0], grid[1:end, 0], grid[1:end, -1]))
    chroma = float((ring.max(axis=1) - ring.min(axis=1)).mean())
    return chroma, float(_luminance(ring).std())


def _hash(grey: Image) -> str:
    from imagehash import phash

    return str(phash(grey, hash_size=int(HASH_BITS**0.5)))
