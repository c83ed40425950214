"""A file system in memory that can be full or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOMY = 8 * 2**30
"""An upper limit only: a file system in memory takes the space of its files."""


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs at ``folder``."""

    folder: Path

    def leave(self, free: int) -> None:
        """Shrink it until ``free`` bytes are left."""
        facts = os.statvfs(self.folder)
        used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
        self._remount(f"size={used + free}")

    def empty(self) -> None:
        """Restore its size."""
        self._remount(f"size={_ROOMY}")

    def read_only(self) -> None:
        """Refuse writes."""
        self._remount("ro")

    def writable(self) -> None:
        """Accept writes."""
        self._remount("rw")

    def _remount(self, option: str) -> None:
        command = ["mount", "-o", f"remount,{option}", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=20)


@contextmanager
def mounted(folder: Path) -> Iterator[SmallDisk]:
    """Mount a large one at ``folder``; skips the test where this process may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_ROOMY}", "imagegen-test", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount; the row with RLIMIT_FSIZE shows a full disk too")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)
