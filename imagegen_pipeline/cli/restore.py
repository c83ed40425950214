"""``imagegen restore``: restore a backup into an empty data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.maintenance.restore import RestoreReport

_MAX_NAMED = 20


@click.command(short_help="Restore a backup into an empty data folder; every byte is checked.")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--list", "only_list", is_flag=True, help="Only list the backups in FOLDER.")
@click.option("--backup", "name", help="Name of the backup; the newest by default.")
@click.option("--dry-run", is_flag=True, help="Only read the backup and check every byte.")
@click.option(
    "--elsewhere",
    is_flag=True,
    help="Also write files to their former folders outside of those that the settings name. Only "
    "for a backup that you trust.",
)
@click.option(
    "--report-to-dagster",
    is_flag=True,
    help="Have the next `imagegen sync` report every current image to Dagster, for when Dagster's "
    "own records are lost too.",
)
def restore(
    folder: Path | None,
    name: str | None,
    *,
    only_list: bool,
    dry_run: bool,
    elsewhere: bool,
    report_to_dagster: bool,
) -> None:
    """Restore a backup from FOLDER (default: IMAGEGEN_BACKUP_DIR) into an empty data folder.
    Afterwards the same runs reuse the same images, and nothing is bought again.

    Nothing is overwritten: an existing file that differs is refused before anything is written.
    Every byte is checked; files that are damaged in the backup are named and left out, with exit
    code 1. Stop Dagster and `imagegen serve` first. Run the command again to finish an interrupted
    restore; generate nothing until then, because the ledger is written last.

    \b
    imagegen restore /mnt/disk/pictures --list
    imagegen restore /mnt/disk/pictures --dry-run
    imagegen restore /mnt/disk/pictures --backup 20260131_020000
    """
    from imagegen_pipeline.cli.file_progress import FileProgress
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.maintenance import restore as restoring
    from imagegen_pipeline.maintenance.backup_manifest import select_backup
    from imagegen_pipeline.settings import load_settings

    settings = load_settings()
    source = folder or settings.backup_dir
    if source is None:
        raise SetupError(
            "No folder is named for the restore.",
            remedy="Name the one that `imagegen backup` wrote to, or set IMAGEGEN_BACKUP_DIR.",
        )
    if only_list:
        _list(source)
        return
    with FileProgress("file") as progress:
        report = restoring.restore(
            settings,
            select_backup(source.absolute(), name),
            dry_run=dry_run,
            elsewhere=elsewhere,
            report_to_dagster=report_to_dagster,
            report_progress=progress.update,
        )
    _print(report, dry_run=dry_run)
    if report.damaged:
        raise click.exceptions.Exit(1)


def _list(folder: Path) -> None:
    from imagegen_pipeline.cli.file_progress import format_size
    from imagegen_pipeline.cli.progress import count, plain
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.maintenance import backup_manifest

    backups = backup_manifest.backups_in(folder)
    for backup in backups:
        try:
            manifest = backup_manifest.read_manifest(backup)
        except SetupError as error:
            click.echo(plain(f"{backup.name}: damaged: {error}"))
            continue
        size = format_size(sum(one.size for one in manifest.files))
        kind = "simulated" if manifest.simulated else "live"
        click.echo(f"{backup.name}: {count(len(manifest.files), 'file')}, {size}, {kind}")
    for part in backup_manifest.unfinished_in(folder):
        click.echo(f"{part.name}: interrupted; `imagegen backup` finishes it")
    if not backups:
        click.echo(plain(f"There is no complete backup in {folder}."))


def _print(report: RestoreReport, *, dry_run: bool) -> None:
    from imagegen_pipeline.cli.progress import count, plain

    lines = [f"damaged or missing in the backup: {one}" for one in report.damaged[:_MAX_NAMED]]
    if len(report.damaged) > _MAX_NAMED:
        lines.append(f"… and {len(report.damaged) - _MAX_NAMED} more files.")
    if report.pictures:
        keys = ", ".join(report.pictures[:_MAX_NAMED])
        lines.append(f"The next run would buy the images of these items again: {keys}")
    lines += [f"kept, although the backup's file differs: {one}" for one in report.kept]
    for line in lines:
        click.echo(plain(line), err=True)
    if dry_run:
        verdict = f"{len(report.damaged)} files are damaged" if report.damaged else "it is complete"
        click.echo(plain(f"{report.backup} was checked: {verdict}."))
    else:
        click.echo(
            plain(
                f"Restored {count(report.restored, 'file')} of {report.backup}; {report.there} "
                "existed already. Run `imagegen sync` to update Dagster."
            )
        )
