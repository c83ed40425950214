"""Files that are whole and durable, or not there: written beside their place, then moved."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def temporary_file(target: Path, data: bytes | Iterable[bytes]) -> Path:
    """``data`` (or its parts), flushed to disk, in a hidden file beside ``target``; raises OSError.

    The caller moves it to its place with ``replace`` or ``os.link``. A failure leaves nothing.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def rename_durably(spare: Path, target: Path, *, flush: bool = True) -> None:
    """Give a file its name for good; raises FileExistsError, and changes nothing, if it is taken.

    Who calls it removes ``spare`` afterwards, which may still be there. Without ``flush`` he sees
    to it himself that the name is on the disk.
    """
    try:
        os.link(spare, target)  # unlike rename(), refuses a name that is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} is there already") from None
        spare.replace(target)
    if flush:
        flush_folder(target.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; raises OSError."""
    with contextlib.suppress(PermissionError):  # some systems do not open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
