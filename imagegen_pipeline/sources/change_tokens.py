"""Stamps: what tells, without opening a file, that it is as it was when it was read.

A stamp rests on what the file system itself writes down: the inode (another file took the name),
the size, and the times of the last change of the content and of the inode (``ctime``, which no
program can set, so that an edit that puts size and time back is seen too). One thing escapes all
of them: a second write within the same tick of the file system's clock. So a stamp is *settled*
only when the file had been left alone for ``SETTLED_SECONDS`` at the time of the look; one that
is not is never believed, and the file is read again at the next look. What even that would miss
(a file system that keeps no such times, a clock that was set back) is seen within a day, since
stamps are believed for ``BELIEVED_SECONDS`` at most.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

SETTLED_SECONDS = 2.0
"""As long as the coarsest clock of a file system in use takes (FAT: 2 s)."""
BELIEVED_SECONDS = 24 * 3600.0
NO_STAMP = ""
"""Of what cannot be looked at: it is read, and says why."""
_READING = "1"
"""To be raised when files or rows are read differently: what ledgers know is then read again."""


def change_token(about: os.stat_result) -> str:
    """The stamp of one file: the time of its last change comes first, in nanoseconds."""
    return (
        f"{about.st_ctime_ns:x}.{about.st_mtime_ns:x}.{about.st_ino:x}.{about.st_size:x}.{_READING}"
    )


def joint_change_token(*stamps: str) -> str:
    """One stamp of files that belong together, the first of which is there."""
    newest = max(_changed_at(stamp) for stamp in stamps if stamp)
    return f"{newest:x}.{' '.join(stamps)}"


def is_stable(stamp: str, now: float) -> bool:
    """Whether what has this stamp had been left alone at ``now``, the time before the look, in
    seconds since the epoch.
    """
    return bool(stamp) and now * 1e9 - _changed_at(stamp) >= SETTLED_SECONDS * 1e9


def _changed_at(stamp: str) -> int:
    return int(stamp.partition(".")[0], 16)


def listing_digest(stamps: Mapping[str, str]) -> str:
    """One short stamp for all that a folder holds: name → stamp, in their order."""
    lines = "\0".join([f"{name}\0{stamp}" for name, stamp in stamps.items()])
    return hashlib.sha256(os.fsencode(lines)).hexdigest()


def content_token(content: object) -> str:
    """A stamp of a content that was read, such as a row: 32 hexadecimal digits."""
    written = f"{_READING}{content!r}".encode()
    return hashlib.blake2b(written, digest_size=16).hexdigest()
