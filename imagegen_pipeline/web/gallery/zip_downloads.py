"""Many pictures as one file: a ZIP that is written while it is read."""

from __future__ import annotations

import contextlib
import csv
import io
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePath

from zipstream import ZIP_STORED, ZipStream  # type: ignore[import-untyped]

from imagegen_pipeline.clock import Clock, SystemClock
from imagegen_pipeline.domain.partition_keys import safe_file_stem
from imagegen_pipeline.domain.requests import Attempt

KEPT_SECONDS = 600.0
MOST_KEPT = 100
MOST_PICTURES, MOST_PICTURES_KEPT = 10_000, 30_000
"""Of one download, and of all that are kept: each holds its prompt in memory."""
_COLUMNS = ("key", "file", "prompt", "seed", "model", "size", "cost", "whole")
TABLE = "prompts.csv"
_PART = 65536
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the begin of a formula; the last four are the wide forms."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a download; ``file`` None: it is not there any more."""

    attempt: Attempt
    name: str
    file: Path | None


class Downloads:
    """What was packed for whom: a name that cannot be guessed, for a short time."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, tuple[Entry, ...]]] = OrderedDict()

    def add(self, entries: Sequence[Entry]) -> str:
        """Keep a download; returns its id."""
        download_id = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[download_id] = (self._clock.monotonic() + KEPT_SECONDS, tuple(entries))
            while self._has_too_many():
                self._kept.popitem(last=False)
        return download_id

    def _has_too_many(self) -> bool:
        """Whether the oldest has to go: its time is over, or there is no room for it."""
        until, _ = next(iter(self._kept.values()))
        pictures = sum(len(entries) for _, entries in self._kept.values())
        is_full = len(self._kept) > MOST_KEPT or pictures > MOST_PICTURES_KEPT
        return until <= self._clock.monotonic() or (is_full and len(self._kept) > 1)

    def get(self, download_id: str) -> tuple[Entry, ...] | None:
        """What is in a download; None when there is none of this id any more."""
        with self._lock:
            until, entries = self._kept.get(download_id, (0.0, ()))
            if until > self._clock.monotonic():
                return entries
            self._kept.pop(download_id, None)
        return None


def entries_of(found: Sequence[tuple[Attempt, Path | None]]) -> list[Entry]:
    """Entries whose names are plain and no two of them the same."""
    taken: set[str] = {TABLE}
    entries = []
    for attempt, file in found:
        pure = PurePath(attempt.path or f"{attempt.item_key}.png")
        stem, suffix = safe_file_stem(pure.stem), pure.suffix
        if stem.startswith(_FORMULA):
            stem = f"_{stem[1:]}"
        name, number = f"{stem}{suffix}", 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}{suffix}"
        taken.add(name.lower())
        entries.append(Entry(attempt, name, file))
    return entries


def pack(entries: Sequence[Entry]) -> ZipStream:
    """The ZIP, its size known beforehand: pictures are stored as they are.

    ``prompts.csv`` comes last, and so knows which pictures were whole when their turn came.
    """
    archive = ZipStream(compress_type=ZIP_STORED, sized=True)
    packed: list[Entry] = []
    broken: set[str] = set()
    for entry in entries:
        size = None if entry.file is None else _size(entry.file)
        if size is None:
            packed.append(Entry(entry.attempt, entry.name, None))
            continue
        archive.add(_bytes_of(entry, size, broken), entry.name, size=size)
        packed.append(entry)
    size = len(_table(packed, broken))
    archive.add(_late(lambda: _table(packed, broken)), TABLE, size=size)
    return archive


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _bytes_of(entry: Entry, size: int, broken: set[str]) -> Iterator[bytes]:
    """Exactly ``size`` bytes, since the length has been promised; what is missing of the file by
    now is filled up, and the picture noted as broken.
    """
    left = size
    with contextlib.suppress(OSError), (entry.file or Path()).open("rb") as stream:
        while left and (part := stream.read(min(left, _PART))):
            left -= len(part)
            yield part
    if left:
        broken.add(entry.name)
    while left:
        part = bytes(min(left, _PART))
        left -= len(part)
        yield part


def _late(make: Callable[[], bytes]) -> Iterator[bytes]:
    yield make()


def _table(entries: Sequence[Entry], broken: Set[str]) -> bytes:
    """Of the same length whatever is ``broken``."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(_COLUMNS)
    for entry in entries:
        made, is_there = entry.attempt, entry.file is not None
        table.writerow(
            (
                _harmless(made.item_key),
                entry.name if is_there else "missing",
                _harmless(str(made.request.get("prompt", ""))),
                made.seed,
                _harmless(made.model),
                f"{made.width}x{made.height}",
                "unknown" if made.cost is None else made.cost,
                "yes" if is_there and entry.name not in broken else "no ",
            )
        )
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")


def _harmless(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
