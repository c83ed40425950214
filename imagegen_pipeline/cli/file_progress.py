"""Progress of work on many files: a bar for people, nothing but what matters when piped."""

from __future__ import annotations

import sys
from types import TracebackType

import click

from imagegen_pipeline.cli.progress import is_screen


class FileProgress:
    """Progress on stderr, each step a ``source_item``."""

    def __init__(self, source_item: str, total: int | None = None) -> None:
        self._bar = None
        if is_screen():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=source_item, file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> FileProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def next(self) -> None:
        """One more is done."""
        if self._bar is not None:
            self._bar.update()

    def at(self, done: int, total: int) -> None:
        """So many are done, of so many."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def say(self, line: str) -> None:
        """A line that a person must see."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            click.echo(line, err=True)


def megabytes(number: int) -> str:
    """Bytes as a person reads them."""
    return f"{number / 2**20:,.1f} MB" if number >= 2**20 else f"{number / 2**10:,.1f} KB"
