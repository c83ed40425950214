"""Finds a word in every byte of every file, also in compressed ones."""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pandas as pd


def shows(data: bytes, word: str) -> bool:
    """Whether ``word`` is in the bytes: plain, in any case, in UTF-16, or in base64."""
    lower = data.lower()
    if word.lower().encode() in lower or word.encode("utf-16-le") in data:
        return True
    return any(part in data for part in _in_base64(word))


def _in_base64(word: str) -> Iterator[bytes]:
    """The word's base64 forms, one for each of the three possible offsets."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + word.encode())
        yield text[(0, 2, 3)[before] : len(text) - 4]


def files_that_show(folder: Path, word: str) -> list[str]:
    """The files below ``folder`` that contain the word; databases are read row by row."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(shows(part, word) for part in _contents(path))
    ]


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    yield path.name.encode("utf-8", "surrogateescape")
    if data.startswith(b"SQLite format 3"):
        yield from _cells(path)
    elif data.startswith(b"PAR1"):
        yield pd.read_parquet(io.BytesIO(data)).to_csv().encode()
    else:
        yield from _unpacked(data)


def _cells(path: Path) -> Iterator[bytes]:
    """Every value of every row; run snapshots are decompressed."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{table.decode()}"'):  # noqa: S608
                for cell in row:
                    data = cell if isinstance(cell, bytes) else str(cell).encode()
                    yield data
                    yield from _unpacked(data)


def _unpacked(data: bytes) -> Iterator[bytes]:
    with suppress(zlib.error):
        yield zlib.decompress(data)
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
