"""Detects folders on network file systems, where SQLite's locks and its WAL do not work."""

from __future__ import annotations

import contextlib
from pathlib import Path

_NETWORK = frozenset(
    {
        *("9p", "afpfs", "afs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs"),
        "webdav",
    }
)
_NETWORK_FUSE = (
    "ceph",
    "davfs",
    "gcsfuse",
    "glusterfs",
    "rclone",
    "s3fs",
    "smb",
    "sshfs",
    "vmhgfs",
)


def network_file_system(folder: Path) -> str | None:
    """The kind of network file system of ``folder``; None for a disk of this machine.

    An unknown file system counts as a disk of this machine.
    """
    import psutil

    place = folder.resolve()
    mounts: list[tuple[Path, str]] = []
    with contextlib.suppress(OSError, psutil.Error):
        mounts = [
            (Path(part.mountpoint), part.fstype.lower())
            for part in psutil.disk_partitions(all=True)
        ]
    above = [(mount, kind) for mount, kind in mounts if place.is_relative_to(mount)]
    if not above:
        return None
    # Of two mounts at one path the later one is visible; max() keeps the first, so reverse.
    _, kind = max(reversed(above), key=lambda pair: len(pair[0].parts))
    return kind if _is_network(kind) else None


def _is_network(kind: str) -> bool:
    if kind.startswith("fuse."):
        return any(name in kind for name in _NETWORK_FUSE)
    return kind in _NETWORK
