"""A batch on the terminal: a bar for people, plain lines when piped; Ctrl-C stops cleanly."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from imagegen_pipeline.cli.signal_messages import interruptible

if TYPE_CHECKING:
    from imagegen_pipeline.domain.requests import Outcome
    from imagegen_pipeline.engine import Batch


def run_batch(batch: Batch, total: int, each: Callable[[Outcome], None]) -> bool:
    """Run a batch to its end, showing progress; returns whether it was interrupted.

    Ctrl-C and SIGTERM stop taking new items and wait for what is in flight; a second one
    leaves at once, and what was sent is collected by the next run.
    """
    show = _Progress(total)
    stop = partial(batch.stop, leave_jobs=True)
    with batch, _why_it_waits(show), interruptible(stop) as interrupts:
        try:
            for outcome in batch:
                each(outcome)
                show.outcome(outcome)
        finally:
            show.close()
    return interrupts.happened


@contextmanager
def _why_it_waits(show: _Progress) -> Iterator[None]:
    """Say on the terminal, too, which limit a batch waits for."""
    gate = logging.getLogger("imagegen_pipeline.engine.submit_limiter")
    handler = _Notices(show)
    gate.addHandler(handler)
    try:
        yield
    finally:
        gate.removeHandler(handler)


class _Notices(logging.Handler):
    def __init__(self, show: _Progress) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show.notice(record.getMessage())


class _Progress:
    """Progress on stderr. When nobody can read it any more, the batch goes on without."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._skipped = False
        self._unseen = False
        self._counts: Counter[str] = Counter()
        self._bar = None
        if is_screen():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="picture", file=sys.stderr, dynamic_ncols=True)

    def outcome(self, outcome: Outcome) -> None:
        self._done += 1
        self._counts[str(outcome.status)] += 1
        if self._unseen:
            return
        try:
            self._show(outcome)
        except OSError:
            self._unseen = True

    def notice(self, text: str) -> None:
        """A line of what the batch is about; from any thread."""
        if self._unseen:
            return
        try:
            self._line(plain(text))
        except OSError:
            self._unseen = True

    def _show(self, outcome: Outcome) -> None:
        if self._bar is not None:
            self._bar.set_postfix(dict(self._counts), refresh=False)
            self._bar.update()
        if outcome.status == "skipped" and outcome.cost == 0:  # a job left at its service is named
            if not self._skipped:
                self._line(f"{describe(outcome)} (What else is skipped is only counted.)")
            self._skipped = True
        elif self._bar is None or not outcome.ok:
            self._line(f"[{self._done}/{self._total}] {describe(outcome)}")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        if self._bar is not None and not self._unseen:
            self._bar.close()


def is_screen() -> bool:
    """Whether stderr is a terminal with room for a bar; some have no width."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (AttributeError, OSError):  # closed, or none at all
        return False


def describe(outcome: Outcome) -> str:
    """An outcome as one line, without what would steer a terminal."""
    if not outcome.ok or outcome.attempt is None:
        return plain(f"{outcome.status} {outcome.item_key}: {outcome.reason}")
    cost = "unknown" if outcome.cost is None else f"{outcome.cost:g}"
    seed = outcome.attempt.seed
    return plain(f"{outcome.status} {outcome.item_key}: {outcome.path} (seed {seed}, cost {cost})")


def plain(text: str) -> str:
    """``text`` with everything that is not printable, such as a terminal's codes, as ``?``."""
    return "".join(char if char.isprintable() else "?" for char in text)


def count_line(counts: Counter[str]) -> str:
    """``3 made, 1 reused, …`` in a fixed order."""
    order = ("made", "reused", "shared", "failed", "held", "skipped", "unreadable")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "nothing"


def count(number: int, source_item: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number} {source_item}" if number == 1 else f"{number} {source_item}s"
