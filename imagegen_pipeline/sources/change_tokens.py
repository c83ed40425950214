"""Change tokens: short texts that differ when a file, folder, database or row has changed.

A file's token is made of what the file system records: inode, size, and the times of the last
change of the content and of the inode (``ctime``, which no program can set, so that an edit that
restores size and time is noticed too). Only a second write within one tick of the file system's
clock leaves the token as it was. So a token is *stable* only when the file was last changed at
least ``STABLE_SECONDS`` before the scan; an unstable token is not trusted, and the next scan reads
the file again. Tokens are trusted for ``TRUSTED_SECONDS`` at most, which covers file systems
without these times and clocks that were set back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

STABLE_SECONDS = 2.0
"""The coarsest clock of a file system in use (FAT: 2 s)."""
TRUSTED_SECONDS = 24 * 3600.0
NO_TOKEN = ""
"""The token of a file whose status cannot be read. It is never trusted."""
_READER_VERSION = "2"
"""Increase it when files or rows are read differently: then everything is read again."""


def change_token(status: os.stat_result) -> str:
    """The token of one file. It begins with the time of the last change, in nanoseconds."""
    return (
        f"{status.st_ctime_ns:x}.{status.st_mtime_ns:x}.{status.st_ino:x}.{status.st_size:x}"
        f".{_READER_VERSION}"
    )


def joint_change_token(*tokens: str) -> str:
    """One token of files that belong together, as old as the newest of them."""
    newest = max((_changed_at(token) for token in tokens if token), default=0)
    return f"{newest:x}.{' '.join(tokens)}"


def listing_token(tokens: Mapping[str, str]) -> str:
    """One short token of a folder's files (name → token), as old as the newest of them."""
    newest = max((_changed_at(token) for token in tokens.values() if token), default=0)
    lines = "\0".join([f"{name}\0{token}" for name, token in tokens.items()])
    return f"{newest:x}.{hashlib.sha256(os.fsencode(lines)).hexdigest()}"


def content_token(content: object) -> str:
    """The token of a content that was read, such as a row. It is always stable."""
    written = f"{_READER_VERSION}{content!r}".encode()
    return f"0.{hashlib.blake2b(written, digest_size=16).hexdigest()}"


def is_stable(token: str, now: float) -> bool:
    """Whether nothing with this token had changed for ``STABLE_SECONDS`` at ``now``, the time
    before the scan in seconds since the epoch.
    """
    return bool(token) and now * 1e9 - _changed_at(token) >= STABLE_SECONDS * 1e9


def _changed_at(token: str) -> int:
    return int(token.partition(".")[0], 16)
