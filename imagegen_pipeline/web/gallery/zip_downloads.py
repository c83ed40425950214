"""Streams many images as one ZIP file of known length."""

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
MAX_KEPT = 100
MAX_PICTURES, MAX_KEPT_PICTURES = 10_000, 30_000
"""Limits for one download and for all kept ones, since each entry holds its prompt."""
_COLUMNS = ("key", "file", "prompt", "seed", "model", "size", "cost", "whole")
TABLE = "prompts.csv"
_CHUNK = 65536
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a spreadsheet formula; the last four are the full-width forms."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a download; ``file`` is None if it is missing."""

    attempt: Attempt
    name: str
    file: Path | None


class Downloads:
    """Prepared downloads under unguessable ids, kept for ten minutes."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, tuple[Entry, ...]]] = OrderedDict()

    def add(self, entries: Sequence[Entry]) -> str:
        """Store a download; returns its id."""
        download_id = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[download_id] = (self._clock.monotonic() + KEPT_SECONDS, tuple(entries))
            while self._has_too_many():
                self._kept.popitem(last=False)
        return download_id

    def _has_too_many(self) -> bool:
        """Whether the oldest download has expired or exceeds the limits."""
        until, _ = next(iter(self._kept.values()))
        pictures = sum(len(entries) for _, entries in self._kept.values())
        is_full = len(self._kept) > MAX_KEPT or pictures > MAX_KEPT_PICTURES
        return until <= self._clock.monotonic() or (is_full and len(self._kept) > 1)

    def get(self, download_id: str) -> tuple[Entry, ...] | None:
        """The entries of a download; None if it is unknown or has expired."""
        with self._lock:
            until, entries = self._kept.get(download_id, (0.0, ()))
            if until > self._clock.monotonic():
                return entries
            self._kept.pop(download_id, None)
        return None


def entries_of(files: Sequence[tuple[Attempt, Path | None]]) -> list[Entry]:
    """Entries with safe and distinct names."""
    taken: set[str] = {TABLE}
    entries = []
    for attempt, file in files:
        pure = PurePath(attempt.path or f"{attempt.item_key}.png")
        stem, suffix = safe_file_stem(pure.stem), pure.suffix
        if stem.startswith(_FORMULA_PREFIXES):
            stem = f"_{stem[1:]}"
        name, number = f"{stem}{suffix}", 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}{suffix}"
        taken.add(name.lower())
        entries.append(Entry(attempt, name, file))
    return entries


def pack(entries: Sequence[Entry]) -> ZipStream:
    """The ZIP file; images are not compressed, so its size is known in advance.

    ``prompts.csv`` comes last, so that it can say which images were read completely.
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
    archive.add(_lazy(lambda: _table(packed, broken)), TABLE, size=size)
    return archive


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _bytes_of(entry: Entry, size: int, broken: set[str]) -> Iterator[bytes]:
    """Exactly ``size`` bytes, since the length is announced. If the file has become shorter, the
    rest is zeros and the entry is added to ``broken``.
    """
    left = size
    with contextlib.suppress(OSError), (entry.file or Path()).open("rb") as stream:
        while left and (chunk := stream.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk
    if left:
        broken.add(entry.name)
    while left:
        chunk = bytes(min(left, _CHUNK))
        left -= len(chunk)
        yield chunk


def _lazy(build: Callable[[], bytes]) -> Iterator[bytes]:
    yield build()


def _table(entries: Sequence[Entry], broken: Set[str]) -> bytes:
    """The CSV table; its length does not depend on ``broken``."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(_COLUMNS)
    for entry in entries:
        attempt, has_file = entry.attempt, entry.file is not None
        table.writerow(
            (
                _escape_formula(attempt.item_key),
                entry.name if has_file else "missing",
                _escape_formula(str(attempt.request.get("prompt", ""))),
                attempt.seed,
                _escape_formula(attempt.model),
                f"{attempt.width}x{attempt.height}",
                "unknown" if attempt.cost is None else attempt.cost,
                "yes" if has_file and entry.name not in broken else "no ",
            )
        )
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")


def _escape_formula(text: str) -> str:
    """The text with a quote before it if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_PREFIXES) else text
