"""The restore: a backup into an empty data folder, every byte checked, nothing overwritten.

The ledger comes last, so that there is none that names pictures which are not there yet. What is
damaged in the backup is named and left out; all else is restored.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imagegen_pipeline.domain.errors import NameTakenError, SetupError, StoreError
from imagegen_pipeline.ledger.backup_copy import (
    check_ledger,
    count_attempts,
    forget_reports,
    ledger_file,
    pictures_of,
)
from imagegen_pipeline.maintenance.backup import digest_of
from imagegen_pipeline.maintenance.backup_files import result_places
from imagegen_pipeline.maintenance.backup_manifest import (
    BackupManifest,
    ManifestEntry,
    read_manifest,
)
from imagegen_pipeline.maintenance.lock import maintenance_lock
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.storage.atomic_files import flush_folder, rename_durably

_PART = 2**20
_NAMED = 5
"""Files that a refusal names."""

Tell = Callable[[int, int], None]
"""Called with how many files are done, and of how many."""


@dataclass(slots=True)
class RestoreReport:
    """What came of a restore. ``damaged`` names what the backup does not have whole, and
    ``pictures`` the items whose current or approved picture is among it; ``kept`` names sources
    that differ from the backup's and were left as they are.
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
    tell: Tell = lambda _done, _of: None,
) -> RestoreReport:
    """Put a backup back; with ``dry_run`` it is only read and checked.

    ``elsewhere`` lets files be written outside of the folders that the settings name, where they
    lay; ``report_to_dagster`` reports every current picture to Dagster anew, for when its records
    are lost too. Raises SetupError, before anything is written, for a backup of the other kind
    (simulated, live), a ledger that is not whole, a ledger here that has been used, and files here
    that differ.
    """
    manifest = read_manifest(backup)
    if manifest.simulated != settings.simulator:
        kind = "simulated" if manifest.simulated else "live"
        switch = "Set IMAGEGEN_SIMULATOR=1" if manifest.simulated else "Unset IMAGEGEN_SIMULATOR"
        raise SetupError(
            f"{backup} is a backup of {kind} pictures: the two are never mixed.",
            remedy=f"{switch}, then run this again.",
        )
    plan = _Plan(settings, backup, manifest)
    ledger = plan.ledger
    _check_ledger_of(backup, ledger)
    report = RestoreReport(backup)
    if dry_run:
        plan.check(report, tell)
    else:
        with _writing(settings.data_dir), maintenance_lock(settings.data_dir):
            plan.refuse(report, elsewhere=elsewhere)
            plan.write(report, tell)
            _write_ledger(
                settings, backup / ledger.inside, ledger, report_to_dagster=report_to_dagster
            )
            report.restored += 1
    report.pictures = _pictures_lost(backup / ledger.inside, report)
    return report


def _check_ledger_of(backup: Path, ledger: ManifestEntry) -> None:
    file = backup / ledger.inside
    try:
        is_whole = digest_of(file) == ledger.sha256
    except OSError:
        is_whole = False
    if not is_whole:
        raise SetupError(
            f"The ledger of {backup} is damaged or missing.",
            remedy="Take another backup of this folder; `imagegen restore FOLDER --list` has them.",
        )
    check_ledger(file)


class _Plan:
    """Which file of a backup goes where."""

    def __init__(self, settings: Settings, backup: Path, manifest: BackupManifest) -> None:
        self._settings, self._backup = settings, backup
        self.files = [(one, _target(settings, one)) for one in manifest.files]
        ledgers = [one for one in manifest.files if one.place == "ledger"]
        if len(ledgers) != 1:
            raise SetupError(f"{backup} has no ledger in its list.")
        (self.ledger,) = ledgers
        self.files = [(one, target) for one, target in self.files if one is not self.ledger]

    def check(self, report: RestoreReport, tell: Tell) -> None:
        """Read every file and compare it with the list; nothing is written."""
        for number, (kept, _) in enumerate(self.files, start=1):
            if not _is_whole(self._backup / kept.inside, kept):
                report.damaged.append(kept.path)
            tell(number, len(self.files))

    def refuse(self, report: RestoreReport, *, elsewhere: bool) -> None:
        """Raise SetupError if a ledger is in use here, or a file differs from the backup's. A
        source that does is left: it is the users' own, and may be newer.
        """
        _refuse_used_ledger(ledger_file(self._settings.ledger_url))
        if not elsewhere:
            _refuse_outside(self._settings, self.files)
        differ = []
        write = []
        for kept, target in self.files:
            if not os.path.lexists(target):
                write.append((kept, target))
            elif not target.is_symlink() and _is_whole(target, kept):
                report.there += 1
            elif kept.is_source:
                report.kept.append(str(target))
            else:
                differ.append(str(target))
        if differ:
            more = f", and {len(differ) - _NAMED} more" if len(differ) > _NAMED else ""
            raise SetupError(
                f"{len(differ)} files are here already and differ from the backup's: "
                f"{', '.join(differ[:_NAMED])}{more}. Nothing is overwritten.",
                remedy="Restore into an empty data folder (IMAGEGEN_DATA_DIR), or move them away.",
            )
        self.files = write

    def write(self, report: RestoreReport, tell: Tell) -> None:
        """Write every file, whole or not at all, and flush all of them."""
        for number, (kept, target) in enumerate(self.files, start=1):
            if _write(self._backup / kept.inside, kept, target):
                report.restored += 1
            else:
                report.damaged.append(kept.path)
            tell(number, len(self.files))
        os.sync()


def _target(settings: Settings, kept: ManifestEntry) -> Path:
    """Where a file of the backup belongs, by the settings as they are now."""
    if kept.place == "prompt_db":
        return settings.prompt_db
    folder = {
        "data": settings.data_dir,
        "elsewhere": Path("/"),
        "prompt_json": settings.prompt_json_dir,
        "actors": settings.actors_dir,
        "ledger": settings.data_dir,
    }[kept.place]
    return folder / kept.path


def _refuse_outside(settings: Settings, files: Iterable[tuple[ManifestEntry, Path]]) -> None:
    allowed = result_places(settings)
    outside = sorted(
        {
            str(target.parent)
            for kept, target in files
            if kept.place == "elsewhere" and not any(target.is_relative_to(one) for one in allowed)
        }
    )
    if outside:
        raise SetupError(
            f"The backup has files of {', '.join(outside[:_NAMED])}, which no setting names.",
            remedy="Set IMAGEGEN_OUTPUT_DIR, IMAGEGEN_ACTORS_DIR and IMAGEGEN_LOG_DIR as they "
            "were, or add --elsewhere to have them written there all the same.",
        )


def _refuse_used_ledger(file: Path) -> None:
    """A ledger without any attempt may go: an earlier command has only looked at the sources."""
    if not file.exists():
        return
    number = count_attempts(file)
    if number:
        raise SetupError(
            f"There is a ledger at {file} already, with {number} attempts: nothing is overwritten.",
            remedy="Restore into an empty data folder (IMAGEGEN_DATA_DIR), or move it away.",
        )


def _is_whole(file: Path, kept: ManifestEntry) -> bool:
    try:
        return file.stat().st_size == kept.size and digest_of(file) == kept.sha256
    except OSError:
        return False


def _write(source: Path, kept: ManifestEntry, target: Path) -> bool:
    """Copy one file to where nothing is; returns False when the backup does not have it whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    spare = target.with_name(f".{target.stem[:40]}.restored")
    digest = hashlib.sha256()
    try:
        with spare.open("wb") as copy:
            try:
                with source.open("rb") as stream:
                    while part := stream.read(_PART):
                        digest.update(part)
                        copy.write(part)
            except FileNotFoundError:
                return False
        if digest.hexdigest() != kept.sha256:
            return False
        spare.chmod(0o644)
        os.utime(spare, ns=(kept.changed_ns, kept.changed_ns))
        rename_durably(spare, target, flush=False)  # all of them together, at the end
    except FileExistsError:
        raise NameTakenError(f"{target} has come to be meanwhile.") from None
    finally:
        spare.unlink(missing_ok=True)
    return True


def _write_ledger(
    settings: Settings, source: Path, ledger: ManifestEntry, *, report_to_dagster: bool
) -> None:
    """Put the ledger in its place, whole, as the last file of all."""
    target = ledger_file(settings.ledger_url)
    target.parent.mkdir(parents=True, exist_ok=True)
    spare = target.with_name(f".{target.stem[:40]}.restored")
    try:
        spare.write_bytes(source.read_bytes())
        if digest_of(spare) != ledger.sha256:
            raise StoreError(f"{spare} was not written as it was read.")
        if report_to_dagster:
            forget_reports(spare)
        with spare.open("rb+") as file:
            os.fsync(file.fileno())
        _refuse_used_ledger(target)
        for suffix in ("-wal", "-shm"):  # of the empty one that goes
            target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
        spare.replace(target)
        flush_folder(target.parent)
    finally:
        spare.unlink(missing_ok=True)


def _pictures_lost(ledger: Path, report: RestoreReport) -> list[str]:
    """The items whose current or approved picture the backup does not have whole."""
    damaged = set(report.damaged)
    return [
        picture.key
        for picture in pictures_of(ledger)
        if picture.path in damaged and (picture.is_current or picture.is_approved)
    ]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            folder = Path(error.filename or folder)
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}.") from error
