"""``imagegen backup``: back up images, ledger, results and sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.maintenance.backup import BackupReport

_MAX_NAMED = 10


@click.command(short_help="Back up images, ledger, results and sources.")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="Number of backups to keep in FOLDER. Older ones are removed after a complete backup.",
)
@click.option("--no-sources", is_flag=True, help="Leave prompts and actors out.")
def backup(folder: Path | None, keep: int, *, no_sources: bool) -> None:
    """Back up images, ledger, results, logs, prompts and actors to a new folder in FOLDER.

    FOLDER defaults to IMAGEGEN_BACKUP_DIR and should be on another disk. Each backup is complete in
    itself; a file that has not changed since the previous backup is a hard link, which takes no
    space. A backup may run beside a batch: it holds a consistent copy of the ledger and every image
    that the copy names. No backup holds keys or `.env`. Exit code 1 means that some files could not
    be read; the others are backed up.

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
        target = folder or pipeline.settings.backup_dir
        if target is None:
            raise SetupError(
                "No folder is named for the backup.",
                remedy="Name one, preferably on another disk, or set IMAGEGEN_BACKUP_DIR.",
            )
        with FileProgress("file") as progress:
            report = back_up(
                pipeline,
                target.absolute(),
                keep=keep,
                sources=not no_sources,
                report_progress=progress.update,
            )
    _print(report)
    if report.unread:
        raise click.exceptions.Exit(1)


def _print(report: BackupReport) -> None:
    from imagegen_pipeline.cli.file_progress import format_size
    from imagegen_pipeline.cli.progress import count, plain

    click.echo(plain(f"{report.folder} is complete, with {count(report.pictures, 'image')}:"))
    click.echo(
        f"{count(report.copied, 'file')} copied ({format_size(report.copied_bytes)}), "
        f"{report.linked} unchanged since the previous backup."
    )
    for name in report.removed:
        click.echo(f"removed {name}, an older backup")
    for line in report.unread:
        click.echo(plain(f"failed: {line}"), err=True)
    for line in report.missing[:_MAX_NAMED]:
        click.echo(plain(f"note: on no disk: {line}"), err=True)
    if len(report.missing) > _MAX_NAMED:
        click.echo(f"note: … and {len(report.missing) - _MAX_NAMED} more images.", err=True)
