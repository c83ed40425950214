"""``imagegen restore``: a backup into an empty data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.maintenance.restore import RestoreReport

_SHOWN = 20


@click.command(short_help="Put a backup into an empty data folder, every byte checked.")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--list", "only_list", is_flag=True, help="Only say which backups FOLDER has.")
@click.option("--backup", "name", help="The backup of this name; the newest one without it.")
@click.option("--dry-run", is_flag=True, help="Only read the backup and check every byte.")
@click.option(
    "--elsewhere",
    is_flag=True,
    help="Write files outside of the folders that the settings name, too, where they lay. Only for "
    "a backup that you trust.",
)
@click.option(
    "--tell-dagster",
    is_flag=True,
    help="Have Dagster told of every picture anew, if its own records are lost too; `imagegen "
    "sync` does that afterwards.",
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
    """Put a backup from FOLDER into an empty data folder; FOLDER is IMAGEGEN_BACKUP_DIR if none
    is named. Afterwards the same runs find the same pictures, and nothing is bought anew.

    Nothing is overwritten: what is here and differs is refused before anything is written. Every
    byte is checked; what is damaged in the backup is named and left out, and exit code 1 says so.
    Stop Dagster and `imagegen serve` first. An interrupted restore is finished by running it
    again; until then generate nothing, since the ledger comes last.

    \b
    imagegen restore /mnt/disk/pictures --list
    imagegen restore /mnt/disk/pictures --dry-run
    imagegen restore /mnt/disk/pictures --backup 20260131_020000
    """
    from imagegen_pipeline.cli.file_progress import FileProgress
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.maintenance.backup_manifest import chosen_backup
    from imagegen_pipeline.maintenance.restore import restore as put_back
    from imagegen_pipeline.settings import load_settings

    settings = load_settings()
    place = folder or settings.backup_dir
    if place is None:
        raise SetupError(
            "No folder is named for the restore.",
            remedy="Name the one that `imagegen backup` wrote to, or set IMAGEGEN_BACKUP_DIR.",
        )
    if only_list:
        _list(place)
        return
    with FileProgress("file") as steps:
        report = put_back(
            settings,
            chosen_backup(place.absolute(), name),
            dry_run=dry_run,
            elsewhere=elsewhere,
            report_to_dagster=report_to_dagster,
            tell=steps.at,
        )
    _say(report, dry_run=dry_run)
    if report.damaged:
        raise click.exceptions.Exit(1)


def _list(folder: Path) -> None:
    from imagegen_pipeline.cli.file_progress import megabytes
    from imagegen_pipeline.cli.progress import count, plain
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.maintenance.backup_manifest import (
        backups_in,
        read_manifest,
        unfinished_in,
    )

    found = backups_in(folder)
    for backup in found:
        try:
            manifest = read_manifest(backup)
        except SetupError as error:
            click.echo(plain(f"{backup.name}: damaged: {error}"))
            continue
        size = megabytes(sum(one.size for one in manifest.files))
        kind = "simulated" if manifest.simulated else "live"
        click.echo(f"{backup.name}: {count(len(manifest.files), 'file')}, {size}, {kind}")
    for part in unfinished_in(folder):
        click.echo(f"{part.name}: interrupted; `imagegen backup` goes on with it")
    if not found:
        click.echo(plain(f"There is no whole backup in {folder}."))


def _say(report: RestoreReport, *, dry_run: bool) -> None:
    from imagegen_pipeline.cli.progress import count, plain

    for path in report.damaged[:_SHOWN]:
        click.echo(plain(f"damaged or missing in the backup: {path}"), err=True)
    if len(report.damaged) > _SHOWN:
        click.echo(f"… and {len(report.damaged) - _SHOWN} more files.", err=True)
    if report.pictures:
        keys = ", ".join(report.pictures[:_SHOWN])
        click.echo(plain(f"Their next run would buy these anew: {keys}"), err=True)
    for path in report.kept:
        click.echo(plain(f"left as it is here, although the backup has another: {path}"), err=True)
    if dry_run:
        verdict = f"{len(report.damaged)} files are damaged" if report.damaged else "it is whole"
        click.echo(plain(f"{report.backup} was read: {verdict}."))
        return
    click.echo(
        plain(
            f"Restored {count(report.restored, 'file')} of {report.backup}; "
            f"{report.there} were here already. `imagegen sync` tells Dagster."
        )
    )
