"""Faults of the machine under a batch, as real as possible, and their repair.

Each function is called with the four items before anything is generated. It generates the first
image, prepares the fault, and returns how the batch runs with it and how it is repaired.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from imagegen_pipeline_tests.integration.fault_matrix.child_process import run_in_child
from imagegen_pipeline_tests.integration.fault_matrix.four_items import FourItems, Run, nothing
from imagegen_pipeline_tests.integration.fault_matrix.small_disk import SmallDisk, mounted

MB = 2**20


@dataclass(frozen=True)
class MachineFault:
    """How the batch runs with the fault, and how the fault is repaired."""

    run: Callable[[], Run]
    mend: Callable[[], object] = nothing


Break = Callable[[FourItems, ExitStack, pytest.MonkeyPatch], MachineFault]


def full_disk(items: FourItems, stack: ExitStack, _: pytest.MonkeyPatch) -> MachineFault:
    """The file system of the images has no free byte."""
    disk = _disk_of_pictures(items, stack)
    items.run(count=1)
    disk.leave(0)
    return MachineFault(items.run, disk.empty)


def little_space(items: FourItems, stack: ExitStack, _: pytest.MonkeyPatch) -> MachineFault:
    """The file system of the images has too little space for all requests in flight."""
    disk = _disk_of_pictures(items, stack)
    items.run(count=1)
    disk.leave(64 * MB)
    return MachineFault(items.run, disk.empty)


def disk_that_fills(items: FourItems, stack: ExitStack, _: pytest.MonkeyPatch) -> MachineFault:
    """The file system of the images fills up when the request has been answered."""
    disk = _disk_of_pictures(items, stack)
    items.run(count=1)
    return MachineFault(partial(items.run, meanwhile=partial(disk.leave, 0)), disk.empty)


def everything_fills(items: FourItems, stack: ExitStack, _: pytest.MonkeyPatch) -> MachineFault:
    """The file system of the ledger and the images fills up when the request has been answered."""
    disk = stack.enter_context(mounted(items.project.results))
    items.run(count=1)

    def mend() -> None:
        disk.empty()
        _expire_leases(_ledger(items))

    return MachineFault(partial(items.run, meanwhile=partial(disk.leave, 0)), mend)


def read_only_disk(items: FourItems, stack: ExitStack, _: pytest.MonkeyPatch) -> MachineFault:
    """The file system of the images is mounted read-only."""
    disk = _disk_of_pictures(items, stack)
    items.run(count=1)
    disk.read_only()
    return MachineFault(items.run, disk.writable)


def disk_that_becomes_read_only(
    items: FourItems, stack: ExitStack, _: pytest.MonkeyPatch
) -> MachineFault:
    """The file system of the images becomes read-only when the request has been answered."""
    disk = _disk_of_pictures(items, stack)
    items.run(count=1)
    return MachineFault(partial(items.run, meanwhile=disk.read_only), disk.writable)


def _disk_of_pictures(items: FourItems, stack: ExitStack) -> SmallDisk:
    return stack.enter_context(mounted(items.pictures))


def files_that_cannot_grow(items: FourItems, _: ExitStack, __: pytest.MonkeyPatch) -> MachineFault:
    """A separate process in which files cannot grow once the image is downloaded."""
    items.run(count=1)
    return MachineFault(partial(run_in_child, items, "limited"))


def file_in_place(items: FourItems, _: ExitStack, __: pytest.MonkeyPatch) -> MachineFault:
    """A file has the name of the image folder."""
    items.run(count=1)
    moved = _put_file_in_place(items)
    return MachineFault(items.run, partial(_restore, moved, items.pictures))


def file_takes_the_place(items: FourItems, _: ExitStack, __: pytest.MonkeyPatch) -> MachineFault:
    """A file replaces the image folder when the request has been answered."""
    items.run(count=1)
    moved = _moved_folder(items)
    put = partial(_put_file_in_place, items)
    return MachineFault(partial(items.run, meanwhile=put), partial(_restore, moved, items.pictures))


def folder_gone(items: FourItems, _: ExitStack, __: pytest.MonkeyPatch) -> MachineFault:
    """The image folder is missing, as when its disk is not mounted."""
    items.run(count=1)
    moved = items.pictures.rename(_moved_folder(items))
    return MachineFault(items.run, partial(_restore, moved, items.pictures))


def folder_that_vanishes(items: FourItems, _: ExitStack, __: pytest.MonkeyPatch) -> MachineFault:
    """The image folder disappears when the request has been answered."""
    items.run(count=1)
    moved = _moved_folder(items)
    return MachineFault(
        partial(items.run, meanwhile=partial(items.pictures.rename, moved)),
        partial(_restore, moved, items.pictures),
    )


def _moved_folder(items: FourItems) -> Path:
    return items.pictures.with_name("moved")


def _put_file_in_place(items: FourItems) -> Path:
    moved = items.pictures.rename(_moved_folder(items))
    items.pictures.write_text("a file", encoding="utf-8")
    return moved


def _restore(moved: Path, folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
    moved.rename(folder)


def foreign_folder(items: FourItems, _: ExitStack, __: pytest.MonkeyPatch) -> MachineFault:
    """A process that is not root and may only read the image folder."""
    items.run(count=1)
    items.pictures.chmod(0o555)
    return MachineFault(
        partial(run_in_child, items, "nobody"), partial(items.pictures.chmod, 0o755)
    )


def locked_ledger(
    items: FourItems, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> MachineFault:
    """Another process holds SQLite's lock from before the first item."""
    items.run(count=1)
    locker = _Locker(items, stack, monkeypatch)
    return MachineFault(partial(items.run, before=locker.lock), locker.unlock)


def ledger_that_is_locked(
    items: FourItems, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> MachineFault:
    """Another process takes SQLite's lock when the request has been answered."""
    items.run(count=1)
    locker = _Locker(items, stack, monkeypatch)
    return MachineFault(partial(items.run, meanwhile=locker.lock), locker.unlock)


class _Locker:
    """Another process that locks the ledger for longer than any time-out."""

    _SCRIPT = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )

    def __init__(self, items: FourItems, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("imagegen_pipeline.ledger.database.BUSY_SECONDS", 0.2)
        self._ledger = _ledger(items)
        self._process: subprocess.Popen[bytes] | None = None
        stack.callback(self.unlock)

    def lock(self) -> None:
        """Return once the lock is held."""
        command = [sys.executable, "-I", "-S", "-c", self._SCRIPT, str(self._ledger)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"locked\n"

    def unlock(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.communicate(timeout=20)
        self._process = None
        _expire_leases(self._ledger)


def _ledger(items: FourItems) -> Path:
    return items.project.results / "imagegen.db"


def _expire_leases(ledger: Path) -> None:
    """Expire the leases that could not be released."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE leases SET until = 0")


def killed_writer(state: str) -> Break:
    """A process that is killed in the transaction that writes ``state``."""

    def broken(items: FourItems, _: ExitStack, __: pytest.MonkeyPatch) -> MachineFault:
        items.run(count=1)
        return MachineFault(partial(run_in_child, items, f"killed:{state}"))

    return broken
