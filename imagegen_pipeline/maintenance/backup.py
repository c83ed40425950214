"""The backup: the ledger as it is at one moment, and every file that it names.

The ledger is copied first. Whatever is stored while the files are copied is more than the copy
knows of, which does no harm; and a clean-up, which could move a file that it does know of, waits.
A backup has its name only when all of it is on disk; until then it is hidden, and the one before
stays as it is.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from imagegen_pipeline.domain.errors import ImagegenError, SetupError, StoreError
from imagegen_pipeline.ledger.backup_copy import copy_ledger, ledger_file, pictures_of
from imagegen_pipeline.maintenance.backup_files import (
    Source,
    check_apart,
    result_files,
    source_files,
)
from imagegen_pipeline.maintenance.backup_manifest import (
    MANIFEST,
    BackupManifest,
    ManifestEntry,
    backups_in,
    next_name,
    read_manifest,
    unfinished_in,
)
from imagegen_pipeline.maintenance.lock import maintenance_lock
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.sources.sqlite import open_read_only

LEDGER = "imagegen.db"
_GONE = ".gone"
_PART = 2**20
_ROOM = 64 * 2**20
"""What must be left on the backup's disk beside what is copied."""

Tell = Callable[[int, int], None]
"""Called with how many files are done, and of how many."""


@dataclass(slots=True)
class BackupReport:
    """What a backup has brought. ``copied`` and ``linked`` count files, the latter those that the
    backup before had; ``copied_bytes`` is the room it took. ``missing`` names pictures that the
    ledger has and no disk, ``unread`` what was there and could not be copied.
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
    tell: Tell = lambda _done, _of: None,
) -> BackupReport:
    """Back everything up into a new folder below ``folder``; the newest ``keep`` backups stay.

    Raises SetupError for a ledger that is no SQLite file, for a folder that holds backups of the
    other kind (simulated, live) or lies among what is backed up, and while another backup or
    clean-up is at work; StoreError when it cannot be written. What cannot be read of the files
    costs the backup only that, and is in the report.
    """
    if keep < 1:
        raise SetupError(f"{keep} backups cannot be kept.", remedy="Keep at least 1.")
    given = pipeline.settings
    ledger = ledger_file(given.ledger_url)
    if not ledger.is_file():
        raise SetupError(f"There is no ledger at {ledger}, so there is nothing to back up.")
    check_apart(folder, given)
    with _writing(folder), maintenance_lock(given.data_dir), _locked(folder):
        before = backups_in(folder)
        previous = _previous(before, simulated=given.simulator)
        part = _begin(folder)
        work = _Work(part, before[-1] if before else None, previous)
        copy_ledger(ledger, work.place(Source("ledger", LEDGER, ledger)))
        work.note(Source("ledger", LEDGER, ledger))
        copy = part / "ledger" / LEDGER
        files = [*result_files(pipeline, copy), *(source_files(given) if sources else ())]
        _check_room(folder, [one for one in files if not work.has(one)])
        for number, source in enumerate(files, start=1):
            work.keep(source)
            tell(number, len(files))
        if sources:
            _keep_prompt_db(given.prompt_db, work)
        report = work.report
        report.pictures, report.missing = _check_whole(copy, work)
        report.folder = _finish(work, simulated=given.simulator)
        report.removed = _remove_old(folder, keep)
    return report


def _previous(before: Sequence[Path], *, simulated: bool) -> BackupManifest | None:
    """The list of the newest backup; None if it has none that can be read."""
    newest = None
    for one in before:
        newest = _readable(one)
        if newest is not None and newest.simulated != simulated:
            kind = "simulated" if newest.simulated else "live"
            raise SetupError(
                f"{one.parent} holds backups of {kind} pictures: the two are never mixed.",
                remedy="Name another folder.",
            )
    return newest


def _readable(backup: Path) -> BackupManifest | None:
    with contextlib.suppress(SetupError):
        return read_manifest(backup)
    return None


def _begin(folder: Path) -> Path:
    """The hidden folder that is filled: one that was interrupted is gone on with."""
    for old in folder.glob(f".*{_GONE}"):
        shutil.rmtree(old)
    unfinished = unfinished_in(folder)
    for old in unfinished[:-1]:
        shutil.rmtree(old)
    part = folder / f".{next_name(folder, time.time())}.part"
    if not unfinished:
        part.mkdir()
    elif unfinished[-1] != part:
        unfinished[-1].rename(part)
    return part


class _Work:
    """One backup in the making."""

    def __init__(self, part: Path, before: Path | None, manifest: BackupManifest | None) -> None:
        self.part = part
        self.files: dict[tuple[str, str], ManifestEntry] = {}
        self.report = BackupReport(part)
        self._before = before
        self._known = manifest.by_path() if manifest is not None else {}

    def where(self, source: Source) -> Path:
        """Where a file lies in the backup."""
        return self.part / ManifestEntry(source.place, source.path, 0, "", 0).inside

    def place(self, source: Source) -> Path:
        """As ``where``, with nothing there yet."""
        target = self.where(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        return target

    def has(self, source: Source) -> bool:
        """Whether the backup before has the file as it is now."""
        try:
            return self._same(source) is not None
        except OSError:
            return False

    def _same(self, source: Source) -> ManifestEntry | None:
        about = source.file.stat()
        known = self._known.get((source.place, source.path))
        if known is None or self._before is None:
            return None
        is_same = (known.size, known.changed_ns) == (about.st_size, about.st_mtime_ns)
        there = self._before / known.inside
        return known if is_same and there.is_file() and there.stat().st_size == known.size else None

    def link_if_unchanged(self, source: Source, changed_ns: int) -> bool:
        """Take a file from the backup before, if it was changed at that very moment."""
        known = self._known.get((source.place, source.path))
        is_same = known is not None and known.changed_ns == changed_ns
        return known is not None and is_same and self._link(source, known)

    def keep(self, source: Source) -> None:
        """Link or copy one file; what goes wrong with reading it is noted."""
        try:
            same = self._same(source)
            if same is not None and self._link(source, same):
                return
            self._copy(source)
        except FileNotFoundError:
            return  # it was taken away meanwhile: what the ledger wants of it is checked at the end
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):  # of the backup's disk
                raise
            self.report.unread.append(f"{source.file}: {error.strerror or error}")

    def _link(self, source: Source, same: ManifestEntry) -> bool:
        if self._before is None:
            return False
        try:
            os.link(self._before / same.inside, self.place(source))
        except OSError:  # a disk without hard links, or with too many of one file
            return False
        self.files[source.place, source.path] = same
        self.report.linked += 1
        return True

    def _copy(self, source: Source) -> None:
        if self._is_there(source):
            return
        target = self.place(source)
        with source.file.open("rb") as stream, target.open("xb") as copy:
            while part := stream.read(_PART):
                copy.write(part)
            about = os.fstat(stream.fileno())
        os.utime(target, ns=(about.st_mtime_ns, about.st_mtime_ns))
        self.note(source)

    def _is_there(self, source: Source) -> bool:
        """Whether the interrupted backup that is gone on with had copied it already."""
        target, about = self.where(source), source.file.stat()
        with contextlib.suppress(FileNotFoundError):
            there = target.stat()
            is_same = (there.st_size, there.st_mtime_ns) == (about.st_size, about.st_mtime_ns)
            if is_same and digest_of(target) == digest_of(source.file):
                self.note(source)
                return True
        return False

    def note(self, source: Source) -> None:
        """Write down what now lies in the backup for ``source``."""
        target = self.where(source)
        about = target.stat()
        kept = ManifestEntry(
            source.place, source.path, about.st_size, digest_of(target), about.st_mtime_ns
        )
        self.files[source.place, source.path] = kept
        self.report.copied += 1
        self.report.copied_bytes += kept.size


def digest_of(file: Path) -> str:
    """The SHA-256 of a file's bytes; raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _keep_prompt_db(file: Path, work: _Work) -> None:
    """The users' database, as it is at one moment; it is opened as it always is, to be read."""
    source = Source("prompt_db", file.name, file)
    if not file.is_file():
        return
    about = file.stat()
    log = file.with_name(f"{file.name}-wal")
    is_at_rest = not log.exists() or log.stat().st_size == 0
    if is_at_rest and work.link_if_unchanged(source, about.st_mtime_ns):
        return
    try:
        with (
            open_read_only(file, busy_timeout=60) as connection,
            contextlib.closing(sqlite3.connect(work.place(source))) as copy,
        ):
            connection.backup(copy)
        os.utime(work.where(source), ns=(about.st_mtime_ns, about.st_mtime_ns))
        work.note(source)
    except ImagegenError as error:
        work.where(source).unlink(missing_ok=True)
        work.report.unread.append(error.sentence)


def _check_whole(ledger: Path, work: _Work) -> tuple[int, list[str]]:
    """How many pictures the copied ledger has, and those that the backup does not."""
    paths = {path for _, path in work.files}
    number, missing = 0, []
    for picture in pictures_of(ledger):
        number += 1
        if picture.path not in paths and picture.archive not in paths:
            kind = "current" if picture.is_current else "older"
            missing.append(f"{picture.key} (attempt {picture.attempt}, {kind}): {picture.path}")
    return number, missing


def _check_room(folder: Path, new: Sequence[Source]) -> None:
    wanted = _ROOM
    for one in new:
        with contextlib.suppress(OSError):
            wanted += one.file.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise StoreError(
            f"The disk of {folder} has {free / 2**20:,.0f} MB left, and the backup wants "
            f"{wanted / 2**20:,.0f} MB.",
            remedy="Make room, or name a folder on another disk.",
        )


def _finish(work: _Work, *, simulated: bool) -> Path:
    """Give the backup its name, when all of it is on the disk."""
    _drop_others(work)
    manifest = BackupManifest(
        made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        program=version("imagegen-pipeline"),
        simulated=simulated,
        files=tuple(work.files.values()),
        missing=tuple(work.report.missing),
    )
    (work.part / MANIFEST).write_text(manifest.as_json(), "utf-8")
    os.sync()
    name = work.part.name.removeprefix(".").removesuffix(".part")
    final = work.part.rename(work.part.with_name(name))
    os.sync()
    return final


def _drop_others(work: _Work) -> None:
    """Remove what an interrupted backup had copied and is not there any more."""
    wanted = {work.part / kept.inside for kept in work.files.values()}
    for folder, _, names in os.walk(work.part):
        for name in names:
            if (file := Path(folder) / name) not in wanted:
                file.unlink()


def _remove_old(folder: Path, keep: int) -> list[str]:
    """Remove the oldest backups; a half-removed one is hidden, and no backup any more."""
    old = backups_in(folder)[:-keep]
    for one in old:
        shutil.rmtree(one.rename(one.with_name(f".{one.name}{_GONE}")))
    return [one.name for one in old]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(
                f"Another backup is at work in {folder}.", remedy="Wait until it is done."
            ) from None
        yield


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}."
        ) from error
