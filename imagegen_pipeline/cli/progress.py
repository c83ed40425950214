"""Runs a batch on the terminal: a progress bar, or plain lines when piped; Ctrl-C stops it."""

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


def run_batch(batch: Batch, total: int, finished: Callable[[Outcome], None]) -> bool:
    """Run a batch to its end, showing progress; returns whether it was interrupted.

    ``finished`` is called with each outcome after it is shown. Ctrl-C and SIGTERM stop the batch:
    requests in flight are completed. A second signal ends the process at once; the next run
    collects the jobs that were sent.
    """
    progress = _Progress(total)
    stop = partial(batch.stop, leave_jobs=True)
    with batch, _limiter_messages(progress), interruptible(stop) as interrupts:
        try:
            for outcome in batch:
                progress.show(outcome)
                finished(outcome)
        finally:
            progress.close()
    return interrupts.happened


@contextmanager
def _limiter_messages(progress: _Progress) -> Iterator[None]:
    """Show on the terminal, too, which limit the batch waits for."""
    limiter = logging.getLogger("imagegen_pipeline.engine.submit_limiter")
    handler = _ProgressHandler(progress)
    limiter.addHandler(handler)
    try:
        yield
    finally:
        limiter.removeHandler(handler)


class _ProgressHandler(logging.Handler):
    def __init__(self, progress: _Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.message(record.getMessage())


class _Progress:
    """Progress on stderr. If stderr is closed, the batch continues without progress."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._has_shown_skipped = False
        self._is_closed = False
        self._counts: Counter[str] = Counter()
        self._bar = None
        if is_screen():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="picture", file=sys.stderr, dynamic_ncols=True)

    def show(self, outcome: Outcome) -> None:
        """Count an outcome and show it."""
        self._done += 1
        self._counts[str(outcome.status)] += 1
        if self._is_closed:
            return
        try:
            self._print_outcome(outcome)
        except OSError:
            self._is_closed = True

    def message(self, text: str) -> None:
        """Show a line about the batch; from any thread."""
        if self._is_closed:
            return
        try:
            self._print(plain(text))
        except OSError:
            self._is_closed = True

    def _print_outcome(self, outcome: Outcome) -> None:
        if self._bar is not None:
            self._bar.set_postfix(dict(self._counts), refresh=False)
            self._bar.update()
        if outcome.status == "skipped" and outcome.cost == 0:  # with a cost, a job was sent
            if not self._has_shown_skipped:
                self._print(f"{describe(outcome)} (Further skipped items are only counted.)")
            self._has_shown_skipped = True
        elif self._bar is None or not outcome.ok:
            self._print(f"[{self._done}/{self._total}] {describe(outcome)}")

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        if self._bar is not None and not self._is_closed:
            self._bar.close()


def is_screen() -> bool:
    """Whether stderr is a terminal with a width; some terminals report none."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (AttributeError, OSError):  # closed, or no stderr
        return False


def describe(outcome: Outcome) -> str:
    """An outcome as one line, without control characters."""
    if not outcome.ok or outcome.attempt is None:
        return plain(f"{outcome.status} {outcome.item_key}: {outcome.reason}")
    cost = "unknown" if outcome.cost is None else f"{outcome.cost:g}"
    seed = outcome.attempt.seed
    return plain(f"{outcome.status} {outcome.item_key}: {outcome.path} (seed {seed}, cost {cost})")


def plain(text: str) -> str:
    """``text`` with ``?`` for each unprintable character, such as a terminal's escape codes."""
    return "".join(char if char.isprintable() else "?" for char in text)


def count_line(counts: Counter[str]) -> str:
    """``3 made, 1 reused, …`` in a fixed order."""
    order = ("made", "reused", "shared", "failed", "held", "skipped", "unreadable")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "nothing"


def count(number: int, noun: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
