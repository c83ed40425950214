"""Atomic writes: a file is complete and durable, or absent."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagegen_pipeline.domain.errors import StoreError


def temporary_file(target: Path, data: bytes | Iterable[bytes]) -> Path:
    """Write ``data`` (or its parts) to a hidden file beside ``target``, flushed; raises OSError.

    The caller must rename the file (``replace`` or ``rename_durably``). A failure leaves no file.
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


def rename_durably(temporary: Path, target: Path, *, flush: bool = True) -> None:
    """Rename without overwriting; raises FileExistsError, with nothing changed.

    The caller must delete the temporary file. With ``flush=False`` the caller must flush the
    folder.
    """
    try:
        os.link(temporary, target)  # unlike rename(), refuses an existing target
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} already exists") from None
        temporary.replace(target)
    if flush:
        flush_folder(target.parent)


def flush_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to disk; raises OSError."""
    with contextlib.suppress(PermissionError):  # some systems cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def as_store_error(path: Path) -> Iterator[None]:
    """Raise an OSError within the block as a StoreError that names the file, or else ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"{error.filename or path} cannot be written: {reason}.") from error
