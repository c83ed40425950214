"""Progress of work on many files: a bar on a terminal, only the important lines when piped."""

from __future__ import annotations

import sys

import click

from imagegen_pipeline.cli.progress import is_screen


class FileProgress:
    """A progress bar on stderr; ``unit`` names what it counts."""

    def __init__(self, unit: str, total: int | None = None) -> None:
        self._bar = None
        if is_screen():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> FileProgress:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self) -> None:
        """Count one more."""
        if self._bar is not None:
            self._bar.update()

    def update(self, done: int, total: int) -> None:
        """Set how many are done, and the total."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def print(self, line: str) -> None:
        """Print a line on stderr without breaking the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            click.echo(line, err=True)


def format_size(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**20:,.1f} MB" if size >= 2**20 else f"{size / 2**10:,.1f} KB"
