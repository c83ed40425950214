"""Pictures from a folder, sent unchanged, so that the simulator uses little CPU."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagegen_pipeline.simulator.pictures import Recipe

_BEGINNING = struct.Struct(">8s4x4sII")
"""A PNG file's signature and the head of its first chunk: its kind, width and height in pixels."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class NoPicturesError(ValueError):
    """A folder of prepared pictures that is empty or cannot be read."""


class PreparedPictures:
    """PNG files by their size, held in memory: read once, and never copied or encoded again."""

    def __init__(self, by_size: Mapping[tuple[int, int], Sequence[bytes]]) -> None:
        """Hold the files' bytes; ``by_size`` is by width and height in pixels."""
        self._by_size = by_size

    @classmethod
    def read(cls, folder: Path) -> "PreparedPictures":
        """All PNG files of the folder, in the order of their names; NoPicturesError without any."""
        by_size: dict[tuple[int, int], list[bytes]] = {}
        try:
            for path in sorted(folder.iterdir()):
                if path.is_file() and (size := _size_of(path)) is not None:
                    by_size.setdefault(size, []).append(path.read_bytes())
        except OSError as error:
            reason = error.strerror or str(error)
            raise NoPicturesError(f"{folder} cannot be read: {reason}.") from error
        if not by_size:
            raise NoPicturesError(f"There is no PNG file in {folder}.")
        return cls(by_size)

    def of(self, recipe: Recipe) -> bytes | None:
        """The file for the recipe, always the same; None for a size without a file."""
        files = self._by_size.get(recipe.size)
        if files is None:
            return None
        return files[int.from_bytes(recipe.digest[:8], "big") % len(files)]


def _size_of(path: Path) -> tuple[int, int] | None:
    """Width and height that a PNG file declares; None for another format."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING.size)
    if len(beginning) < _BEGINNING.size:
        return None
    signature, kind, width, height = _BEGINNING.unpack(beginning)
    return (width, height) if (signature, kind) == (_SIGNATURE, b"IHDR") else None
