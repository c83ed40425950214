"""SQLite on another machine's disk is refused: its locks do not hold there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.network_fs import network_file_system


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the system says is mounted from another machine: none can be had here."""
    real = psutil.disk_partitions(all=True)
    share = tmp_path / "share"
    share.mkdir()
    mounts = [*real, SimpleNamespace(mountpoint=str(share), fstype="nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_all: mounts)
    return share


def test_a_ledger_on_a_network_disk_is_refused(mounted: Path) -> None:
    """The error says why and where to put it; nothing is written there."""
    with pytest.raises(LedgerError, match="nfs4") as caught:
        Ledger(f"sqlite:///{mounted / 'deep' / 'imagegen.db'}")
    assert "IMAGEGEN_LEDGER_URL" in caught.value.remedy
    assert not (mounted / "deep" / "imagegen.db").exists()


def test_a_link_to_a_network_disk_is_seen_through(mounted: Path, tmp_path: Path) -> None:
    """It counts where the folder really lies."""
    link = tmp_path / "link"
    link.symlink_to(mounted)
    assert network_file_system(link) == "nfs4"


def test_a_disk_of_this_machine_is_taken(tmp_path: Path) -> None:
    """The folder of every other test is one."""
    assert network_file_system(tmp_path) is None


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        ("nfs", True),
        ("cifs", True),
        ("9p", True),
        ("fuse.sshfs", True),
        ("smbfs", True),
        ("ext4", False),
        ("overlay", False),
        ("tmpfs", False),
        ("apfs", False),
        ("fuse.mergerfs", False),
    ],
)
def test_kinds_of_file_systems(
    kind: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shared between machines is refused, and nothing else is."""
    mounts = [SimpleNamespace(mountpoint="/", fstype=kind)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_all: mounts)
    assert (network_file_system(tmp_path) is not None) is refused
