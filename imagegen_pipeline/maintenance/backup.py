"""The backup: a consistent copy of the ledger, and every file that it names.

The ledger is copied first, so images stored later are extra files, and the maintenance lock keeps a
clean-up from moving files meanwhile. A backup is hidden until it is complete and on disk.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from imagegen_pipeline.domain.errors import ImagegenError, SetupError, StoreError
from imagegen_pipeline.ledger.backup_copy import copy_ledger, ledger_file, stored_rows
from imagegen_pipeline.maintenance.backup_files import (
    FilePair,
    refuse_backup_of_backups,
    result_files,
    source_files,
)
from imagegen_pipeline.maintenance.backup_manifest import (
    MANIFEST,
    BackupManifest,
    BackupPath,
    ManifestEntry,
    backups_in,
    next_name,
    read_manifest,
    unfinished_in,
)
from imagegen_pipeline.maintenance.lock import exclusive_lock, maintenance_lock
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.sources.sqlite import open_read_only
from imagegen_pipeline.storage.atomic_files import as_store_error

LEDGER = BackupPath(place="ledger", path="imagegen.db")
_REMOVED = ".removed"
_SPARE_BYTES = 64 * 2**20
"""Free space that must remain on the backup's disk."""
_TARGET_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the backup's disk, not of the file that is read."""

Progress = Callable[[int, int], None]
"""Called with the number of files that are done and the total."""


@dataclass(slots=True)
class BackupReport:
    """The result of a backup. ``linked`` counts files shared with the previous backup,
    ``copied_bytes`` is the space that the others took. ``missing`` names images that are in the
    ledger and on no disk, ``unread`` the files that could not be read.
    """

    folder: Path
    pictures: int = 0
    copied: int = 0
    copied_bytes: int = 0
    linked: int = 0
    missing: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def back_up(
    pipeline: Pipeline,
    folder: Path,
    *,
    keep: int = 7,
    sources: bool = True,
    report_progress: Progress = lambda _done, _total: None,
) -> BackupReport:
    """Write a new backup below ``folder`` and remove all but the newest ``keep`` backups.

    Raises SetupError for a ledger that is not a SQLite file, for a folder with backups of the other
    kind (simulated, live) or within the results, and while another backup or clean-up runs;
    StoreError if the backup cannot be written. A file that cannot be read is only reported.
    """
    if keep < 1:
        raise SetupError(f"{keep} backups cannot be kept.", remedy="Keep at least 1.")
    settings = pipeline.settings
    ledger = ledger_file(settings.ledger_url)
    if not ledger.is_file():
        raise SetupError(f"There is no ledger at {ledger}, so there is nothing to back up.")
    refuse_backup_of_backups(folder, settings)
    with (
        as_store_error(folder),
        maintenance_lock(settings.data_dir),
        exclusive_lock(folder / ".lock", f"backup to {folder}"),
    ):
        previous = _previous_backup(folder, simulated=settings.simulator)
        writer = _BackupWriter(_create_part(folder), previous)
        copy_ledger(ledger, writer.new_target(LEDGER))
        writer.record(LEDGER)
        copy = writer.part / LEDGER.inside
        files = [*result_files(pipeline, copy), *(source_files(settings) if sources else ())]
        _check_free_space(folder, [pair for pair in files if not writer.is_unchanged(*pair)])
        for number, (path, file) in enumerate(files, start=1):
            writer.add(path, file)
            report_progress(number, len(files))
        if sources and settings.prompt_db.is_file():
            writer.add_prompt_db(settings.prompt_db)
        _check_images(copy, writer)
        writer.report.folder = _finish(writer, simulated=settings.simulator)
        writer.report.removed = _remove_old(folder, keep)
    return writer.report


def _previous_backup(folder: Path, *, simulated: bool) -> tuple[Path, BackupManifest] | None:
    """The newest backup, if its manifest is valid; raises SetupError for the other kind."""
    newest = None
    for backup in backups_in(folder):
        newest = None
        with contextlib.suppress(SetupError):
            newest = (backup, read_manifest(backup))
        if newest is not None and newest[1].simulated != simulated:
            kind = "simulated" if newest[1].simulated else "live"
            raise SetupError(
                f"{folder} holds backups of {kind} images: the two kinds are never mixed.",
                remedy="Name another folder.",
            )
    return newest


def _create_part(folder: Path) -> Path:
    """The hidden folder to fill; an interrupted backup's is continued."""
    unfinished = unfinished_in(folder)
    for old in [*unfinished[:-1], *folder.glob(f".*{_REMOVED}")]:
        shutil.rmtree(old)
    part = folder / f".{next_name(folder, time.time())}.part"
    if unfinished:
        unfinished[-1].rename(part)
    else:
        part.mkdir()
    return part


class _BackupWriter:
    """Fills the folder of one backup and collects its manifest entries."""

    def __init__(self, part: Path, previous: tuple[Path, BackupManifest] | None) -> None:
        self.part = part
        self.entries: dict[str, ManifestEntry] = {}
        self.report = BackupReport(part)
        self._previous = previous[0] if previous else part
        self._known = {one.inside: one for one in previous[1].files} if previous else {}

    def new_target(self, path: BackupPath) -> Path:
        """The path to write a file to, with its folder created and no file there."""
        target = self.part / path.inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        return target

    def is_unchanged(self, path: BackupPath, file: Path) -> bool:
        """Whether the previous backup holds a file of this size and modification time."""
        known = self._known.get(path.inside)
        with contextlib.suppress(OSError):
            return known is not None and _size_and_time(file) == (known.size, known.changed_ns)
        return False

    def add(self, path: BackupPath, file: Path) -> None:
        """Link or copy one file; a file that cannot be read is added to the report."""
        try:
            if not (self.is_unchanged(path, file) and self._link(path)):
                self._copy(path, file)
        except FileNotFoundError:
            pass  # removed meanwhile; images of the ledger are checked at the end
        except OSError as error:
            if error.errno in _TARGET_ERRORS:
                raise
            self.report.unread.append(f"{file}: {error.strerror or error}")

    def add_prompt_db(self, file: Path) -> None:
        """Link the users' database, or copy a consistent state of it."""
        path = BackupPath(place="prompt_db", path=file.name)
        log = file.with_name(f"{file.name}-wal")
        is_at_rest = not log.exists() or log.stat().st_size == 0
        if is_at_rest and self.is_unchanged(path, file) and self._link(path):
            return
        _, changed_ns = _size_and_time(file)
        target = self.new_target(path)
        try:
            with (
                open_read_only(file, busy_timeout=60) as connection,
                contextlib.closing(sqlite3.connect(target)) as copy,
            ):
                connection.backup(copy)
            os.utime(target, ns=(changed_ns, changed_ns))
            self.record(path)
        except ImagegenError as error:
            target.unlink(missing_ok=True)
            self.report.unread.append(error.sentence)

    def _link(self, path: BackupPath) -> bool:
        known = self._known[path.inside]
        source = self._previous / path.inside
        try:
            if source.stat().st_size != known.size:
                return False
            os.link(source, self.new_target(path))
        except OSError:  # missing, or a disk without hard links
            return False
        self.entries[path.inside] = known
        self.report.linked += 1
        return True

    def _copy(self, path: BackupPath, file: Path) -> None:
        target = self.part / path.inside
        # An interrupted backup may have copied it.
        is_copied = target.is_file() and _size_and_time(target) == _size_and_time(file)
        if not (is_copied and digest_of(target) == digest_of(file)):
            with file.open("rb") as source, self.new_target(path).open("xb") as copy:
                shutil.copyfileobj(source, copy)
                changed_ns = os.fstat(source.fileno()).st_mtime_ns
            os.utime(target, ns=(changed_ns, changed_ns))
        self.record(path)

    def record(self, path: BackupPath) -> None:
        """Add the manifest entry of a file that was written to the backup."""
        target = self.part / path.inside
        size, changed_ns = _size_and_time(target)
        entry = ManifestEntry(
            **dict(path), size=size, sha256=digest_of(target), changed_ns=changed_ns
        )
        self.entries[path.inside] = entry
        self.report.copied += 1
        self.report.copied_bytes += size


def digest_of(file: Path) -> str:
    """The SHA-256 of a file's bytes; raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _size_and_time(file: Path) -> tuple[int, int]:
    about = file.stat()
    return about.st_size, about.st_mtime_ns


def _check_images(ledger: Path, writer: _BackupWriter) -> None:
    """Report the number of images in the ledger copy, and those without a file in the backup."""
    paths = {entry.path for entry in writer.entries.values()}
    for row in stored_rows(ledger):
        writer.report.pictures += 1
        if row.path not in paths and row.archive not in paths:
            kind = "current" if row.is_current else "older"
            writer.report.missing.append(f"{row.key} (attempt {row.attempt}, {kind}): {row.path}")


def _check_free_space(folder: Path, files: Sequence[FilePair]) -> None:
    required = _SPARE_BYTES
    for _, file in files:
        with contextlib.suppress(OSError):
            required += file.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < required:
        raise StoreError(
            f"The disk of {folder} has {free / 2**20:,.0f} MB left, and the backup needs "
            f"{required / 2**20:,.0f} MB.",
            remedy="Free space, or name a folder on another disk.",
        )


def _finish(writer: _BackupWriter, *, simulated: bool) -> Path:
    """Write the manifest, flush everything to disk, and give the backup its name."""
    for file in writer.part.rglob("*"):  # copied by an interrupted backup, and removed since
        if file.is_file() and str(file.relative_to(writer.part)) not in writer.entries:
            file.unlink()
    manifest = BackupManifest(
        made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        program=version("imagegen-pipeline"),
        simulated=simulated,
        missing=tuple(writer.report.missing),
        files=tuple(writer.entries.values()),
    )
    (writer.part / MANIFEST).write_text(manifest.to_json(), "utf-8")
    os.sync()
    name = writer.part.name.removeprefix(".").removesuffix(".part")
    final = writer.part.rename(writer.part.with_name(name))
    os.sync()
    return final


def _remove_old(folder: Path, keep: int) -> list[str]:
    """Remove the oldest backups; each is hidden first, so none is ever incomplete."""
    old = backups_in(folder)[:-keep]
    for one in old:
        shutil.rmtree(one.rename(one.with_name(f".{one.name}{_REMOVED}")))
    return [one.name for one in old]
