"""Detection of visually identical images by their perceptual hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.image.metrics import HASH_BITS, TONES
from imagegen_pipeline.domain.requests import Attempt

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_BITS = 16
"""Bits of 256 that may differ. The same image, re-encoded or resized, differs in 0 to 12; the
closest of 45,000 pairs of simulated images of different prompts differ in 42.
"""
MOST_TONES = 8.0
"""Grey levels by which the mean colours of 4x4 cells may differ: re-encoding changes them by less
than 2. Separates images of one shape in different colours, such as two people in one pose.
"""
_WORDS, _INITIAL_ROWS = HASH_BITS // 64, 256


@dataclass(frozen=True, slots=True)
class Likeness:
    """The values by which an image is compared: its item's key, its attempt, when it was stored
    (seconds since the epoch), its prompt, and the metrics ``phash`` and ``tones``.
    """

    key: str
    attempt: int
    stored_at: float
    prompt: str
    phash: str
    tones: str


@dataclass(frozen=True, slots=True)
class Match:
    """A visually identical older image, with the differences in bits (of 256) and grey levels."""

    key: str
    attempt: int
    distance: int
    tones: float

    @property
    def words(self) -> str:
        """The distances, for a person."""
        return f"{self.distance} of {HASH_BITS} bits and {self.tones:g} grey levels apart"


class DuplicateIndex:
    """An index of the current images of all items. Not thread-safe.

    Comparing an image with 100,000 others takes under a millisecond.
    """

    def __init__(self, known: Iterable[Likeness] = ()) -> None:
        import numpy as np

        self._row_of: dict[str, int] = {}
        self._keys: list[str] = []
        self._hashes: NDArray[np.uint64] = np.zeros((_WORDS, _INITIAL_ROWS), dtype=np.uint64)
        self._tones: NDArray[np.uint8] = np.zeros(
            (_INITIAL_ROWS, TONES * TONES * 3), dtype=np.uint8
        )
        self._attempts: list[int] = []
        self._stored: NDArray[np.float64] = np.zeros(_INITIAL_ROWS, dtype=np.float64)
        self._prompts: NDArray[np.int64] = np.zeros(_INITIAL_ROWS, dtype=np.int64)
        for one in known:
            self.put(one)

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, one: Likeness) -> None:
        """Add an image, or replace its item's former one."""
        row = self._row_of.get(one.key)
        if row is None:
            row = self._row_of[one.key] = len(self._keys)
            self._keys.append(one.key)
            self._attempts.append(one.attempt)
            if row == len(self._stored):
                self._grow()
        self._hashes[:, row] = _words(one.phash)
        self._tones[row] = _levels(one.tones)
        self._attempts[row] = one.attempt
        self._stored[row] = one.stored_at
        self._prompts[row] = hash(one.prompt)

    def _grow(self) -> None:
        import numpy as np

        added = len(self._stored)
        self._hashes = np.pad(self._hashes, ((0, 0), (0, added)))
        self._tones = np.pad(self._tones, ((0, added), (0, 0)))
        self._stored = np.pad(self._stored, (0, added))
        self._prompts = np.pad(self._prompts, (0, added))

    def older(self, one: Likeness) -> list[Match]:
        """The images of other prompts that ``one`` duplicates, nearest first.

        Only images stored before it count: of two, the later one is the duplicate.
        """
        import numpy as np

        count = len(self._keys)
        apart = self._hashes[:, :count] ^ _words(one.phash)[:, None]
        distances = np.bitwise_count(apart).sum(axis=0, dtype=np.uint16)
        near = (distances <= MOST_BITS) & (self._stored[:count] < one.stored_at)
        near &= self._prompts[:count] != hash(one.prompt)
        rows = np.flatnonzero(near)
        tones = np.abs(self._tones[rows] - _levels(one.tones).astype(np.int16)).mean(axis=1)
        matches = [
            Match(self._keys[row], self._attempts[row], int(distances[row]), round(float(level), 2))
            for row, level in zip(rows, tones, strict=True)
            if level <= MOST_TONES and self._keys[row] != one.key
        ]
        return sorted(matches, key=lambda match: (match.distance, match.attempt))


def _words(phash: str) -> NDArray[np.uint64]:
    import numpy as np

    return np.frombuffer(bytes.fromhex(phash), dtype=">u8").astype(np.uint64)


def _levels(tones: str) -> NDArray[np.uint8]:
    import numpy as np

    return np.frombuffer(bytes.fromhex(tones), dtype=np.uint8)


def likeness(attempt: Attempt, measures: Mapping[str, Any] | None) -> Likeness | None:
    """The comparison values of a stored image; None if it is blank or not measured."""
    if not measures or not measures.get("phash"):
        return None
    return Likeness(
        key=attempt.item_key,
        attempt=attempt.id,
        stored_at=attempt.finished_at or 0.0,
        prompt=attempt.sent_request.prompt,
        phash=measures["phash"],
        tones=measures["tones"],
    )
