"""``imagegen backup``: pictures, ledger and results, whole and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.maintenance.backup import BackupReport

_SHOWN = 10


@click.command(short_help="Back up pictures, ledger, results and sources.")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="How many backups stay in FOLDER; older ones are removed when the new one is whole.",
)
@click.option("--no-sources", is_flag=True, help="Leave prompts and actors out.")
def backup(folder: Path | None, keep: int, *, no_sources: bool) -> None:
    """Back up pictures, ledger, results, logs, prompts and actors into a new folder in FOLDER.

    FOLDER is IMAGEGEN_BACKUP_DIR if none is named; another disk best. Each backup is whole in
    itself; a file that has not changed since the one before is a hard link to it, which takes no
    room. It can be made while pictures are: the ledger is as it was at one moment, and every
    picture that it names is there. Keys and `.env` are in no backup. Exit code 1 means that
    something could not be read; the rest is backed up.

    \b
    imagegen backup /mnt/disk/pictures
    imagegen restore /mnt/disk/pictures --list
    """
    from contextlib import closing

    from imagegen_pipeline.cli.file_progress import FileProgress
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.maintenance.backup import back_up
    from imagegen_pipeline.pipeline import Pipeline

    with closing(Pipeline()) as pipeline:
        place = folder or pipeline.settings.backup_dir
        if place is None:
            raise SetupError(
                "No folder is named for the backup.",
                remedy="Name one, on another disk best, or set IMAGEGEN_BACKUP_DIR.",
            )
        with FileProgress("file") as steps:
            report = back_up(
                pipeline, place.absolute(), keep=keep, sources=not no_sources, tell=steps.at
            )
    _say(report)
    if report.unread:
        raise click.exceptions.Exit(1)


def _say(report: BackupReport) -> None:
    from imagegen_pipeline.cli.file_progress import megabytes
    from imagegen_pipeline.cli.progress import count, plain

    click.echo(plain(f"{report.folder} is whole, with {count(report.pictures, 'picture')}:"))
    click.echo(
        f"{count(report.copied, 'file')} copied ({megabytes(report.copied_bytes)}), "
        f"{report.linked} as in the backup before."
    )
    for name in report.removed:
        click.echo(f"removed {name}, since newer backups are whole")
    for line in report.unread:
        click.echo(plain(f"failed: {line}"), err=True)
    for line in report.missing[:_SHOWN]:
        click.echo(plain(f"note: on no disk: {line}"), err=True)
    if len(report.missing) > _SHOWN:
        click.echo(f"note: … and {len(report.missing) - _SHOWN} more pictures.", err=True)
