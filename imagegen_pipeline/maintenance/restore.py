"""The restore: a backup into an empty data folder; every byte is checked, nothing is overwritten.

The ledger is written last, so no ledger ever names images that are not restored yet. Files that are
damaged in the backup are named and left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from imagegen_pipeline.domain.errors import NameTakenError, SetupError, StoreError
from imagegen_pipeline.ledger.backup_copy import (
    check_ledger,
    clear_reported,
    ledger_file,
    stored_rows,
)
from imagegen_pipeline.maintenance.backup import Progress, digest_of
from imagegen_pipeline.maintenance.backup_files import restore_target, result_folders
from imagegen_pipeline.maintenance.backup_manifest import (
    SOURCES,
    BackupManifest,
    ManifestEntry,
    read_manifest,
)
from imagegen_pipeline.maintenance.lock import maintenance_lock
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.storage.atomic_files import as_store_error, flush_folder, rename_durably

_CHUNK = 2**20
_MAX_NAMED = 5
Target = tuple[ManifestEntry, Path]
"""A file of the backup and the path that it is restored to."""


@dataclass(slots=True)
class RestoreReport:
    """The result of a restore. ``there`` counts files that existed with the same bytes. ``damaged``
    names the files that the backup does not hold whole, ``pictures`` the items whose current or
    approved image is among them, and ``kept`` sources that differ from the backup's.
    """

    backup: Path
    restored: int = 0
    there: int = 0
    damaged: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def restore(
    settings: Settings,
    backup: Path,
    *,
    dry_run: bool = False,
    elsewhere: bool = False,
    report_to_dagster: bool = False,
    report_progress: Progress = lambda _done, _total: None,
) -> RestoreReport:
    """Restore a backup; with ``dry_run`` it is only read and checked.

    ``elsewhere`` allows files to be written to their former folders outside of the settings' ones.
    ``report_to_dagster`` has the next sync report every current image to Dagster. Raises SetupError
    before anything is written: for a backup of the other kind (simulated, live), a damaged ledger,
    a used ledger in the data folder, and existing files that differ.
    """
    manifest = read_manifest(backup)
    _refuse_other_kind(backup, manifest, settings)
    ledger = _ledger_entry(backup, manifest)
    files = [(one, restore_target(settings, one)) for one in manifest.files if one is not ledger]
    report = RestoreReport(backup)
    if dry_run:
        for number, (entry, _) in enumerate(files, start=1):
            if not _matches(backup / entry.inside, entry):
                report.damaged.append(entry.path)
            report_progress(number, len(files))
    else:
        with as_store_error(settings.data_dir), maintenance_lock(settings.data_dir):
            target = ledger_file(settings.ledger_url)
            _refuse_used_ledger(target)
            if not elsewhere:
                _refuse_outside(settings, files)
            files = _select_missing(files, report)
            for number, (entry, path) in enumerate(files, start=1):
                if _restore_file(backup, entry, path):
                    report.restored += 1
                else:
                    report.damaged.append(entry.path)
                report_progress(number, len(files))
            os.sync()
            _restore_ledger(backup, ledger, target, report_to_dagster=report_to_dagster)
            report.restored += 1
    damaged = set(report.damaged)
    report.pictures = [
        row.key
        for row in stored_rows(backup / ledger.inside)
        if row.path in damaged and (row.is_current or row.is_approved)
    ]
    return report


def _refuse_other_kind(backup: Path, manifest: BackupManifest, settings: Settings) -> None:
    if manifest.simulated != settings.simulator:
        kind = "simulated" if manifest.simulated else "live"
        switch = "Set IMAGEGEN_SIMULATOR=1" if manifest.simulated else "Unset IMAGEGEN_SIMULATOR"
        raise SetupError(
            f"{backup} is a backup of {kind} images: the two kinds are never mixed.",
            remedy=f"{switch}, then run this again.",
        )


def _ledger_entry(backup: Path, manifest: BackupManifest) -> ManifestEntry:
    """The entry of the ledger, checked; raises SetupError and LedgerError."""
    entries = [entry for entry in manifest.files if entry.place == "ledger"]
    if len(entries) != 1 or not _matches(backup / entries[0].inside, entries[0]):
        raise SetupError(
            f"The ledger of {backup} is damaged or missing.",
            remedy="Use another backup; `imagegen restore FOLDER --list` lists them.",
        )
    check_ledger(backup / entries[0].inside)
    return entries[0]


def _refuse_used_ledger(file: Path) -> None:
    """Raise SetupError for a ledger with attempts; an empty one may be replaced."""
    if file.exists() and (number := check_ledger(file)):
        raise SetupError(
            f"A ledger with {number} attempts exists at {file}: nothing is overwritten.",
            remedy="Restore into an empty data folder (IMAGEGEN_DATA_DIR), or move it away.",
        )


def _refuse_outside(settings: Settings, files: Iterable[Target]) -> None:
    allowed = [*result_folders(settings), settings.base_images_dir]
    outside = {
        str(target.parent)
        for entry, target in files
        if entry.place == "elsewhere" and not any(map(target.is_relative_to, allowed))
    }
    if outside:
        raise SetupError(
            f"The backup has files of {', '.join(sorted(outside)[:_MAX_NAMED])}, and no setting "
            "names these folders.",
            remedy="Set IMAGEGEN_OUTPUT_DIR, IMAGEGEN_ACTORS_DIR and IMAGEGEN_LOG_DIR to their "
            "former values, or add --elsewhere to write the files there anyway.",
        )


def _select_missing(files: Iterable[Target], report: RestoreReport) -> list[Target]:
    """The files to write; raises SetupError if an existing file differs.

    A source that differs is kept: it belongs to the users and may be newer.
    """
    missing, differing = [], []
    for entry, target in files:
        if not os.path.lexists(target):
            missing.append((entry, target))
        elif not target.is_symlink() and _matches(target, entry):
            report.there += 1
        elif entry.place in SOURCES:
            report.kept.append(str(target))
        else:
            differing.append(str(target))
    if differing:
        named = ", ".join(differing[:_MAX_NAMED])
        more = f", and {len(differing) - _MAX_NAMED} more" if len(differing) > _MAX_NAMED else ""
        raise SetupError(
            f"{len(differing)} existing files differ from the backup's: {named}{more}. Nothing is "
            "overwritten.",
            remedy="Restore into an empty data folder (IMAGEGEN_DATA_DIR), or move them away.",
        )
    return missing


def _matches(file: Path, entry: ManifestEntry) -> bool:
    try:
        return file.stat().st_size == entry.size and digest_of(file) == entry.sha256
    except OSError:
        return False


def _restore_file(backup: Path, entry: ManifestEntry, target: Path) -> bool:
    """Copy one file to a free path; returns False if the backup does not hold it whole."""
    temporary = _temporary(target)
    try:
        if not _copy_checked(backup, entry, temporary):
            return False
        temporary.chmod(0o644)
        os.utime(temporary, ns=(entry.changed_ns, entry.changed_ns))
        rename_durably(temporary, target, flush=False)  # all files are flushed together
    except FileExistsError:
        raise NameTakenError(f"{target} was created by another process meanwhile.") from None
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _restore_ledger(
    backup: Path, ledger: ManifestEntry, target: Path, *, report_to_dagster: bool
) -> None:
    temporary = _temporary(target)
    try:
        if not _copy_checked(backup, ledger, temporary):
            raise StoreError(f"{temporary} was not written as it was read.")
        if report_to_dagster:
            clear_reported(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        _refuse_used_ledger(target)
        for suffix in ("-wal", "-shm"):  # of the empty ledger that is replaced
            target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
        temporary.replace(target)
        flush_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.stem[:40]}.restored")


def _copy_checked(backup: Path, entry: ManifestEntry, target: Path) -> bool:
    """Copy a file of the backup; returns whether the bytes have the recorded digest."""
    digest = hashlib.sha256()
    try:
        source = (backup / entry.inside).open("rb")
    except FileNotFoundError:
        return False
    with source, target.open("wb") as copy:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest() == entry.sha256
