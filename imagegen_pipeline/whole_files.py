"""Files that are whole and durable, or not there: written beside their place, then moved."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def spare_file(target: Path, data: bytes) -> Path:
    """``data``, flushed to disk, in a hidden file beside ``target``; raises OSError.

    The caller moves it to its place with ``replace`` or ``os.link``. A failure leaves nothing.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
