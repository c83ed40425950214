"""A batch on the terminal: a bar for people, plain lines when piped; Ctrl-C stops cleanly."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.generation import Outcome
    from imagegen_pipeline.engine import Batch


def run_batch(batch: Batch, total: int, each: Callable[[Outcome], None]) -> bool:
    """Run a batch to its end, showing progress; returns whether it was interrupted.

    Ctrl-C and SIGTERM stop taking new items and wait for what is in flight; a second one
    leaves at once, and what was sent is collected by the next run.
    """
    show = _Progress(total)
    interrupted = False
    with _TerminateAsInterrupt():
        try:
            for outcome in batch:
                show.outcome(outcome)
                each(outcome)
        except KeyboardInterrupt:
            interrupted = True
            show.line("Stopping: waiting for what was sent; press Ctrl-C again to leave at once.")
            batch.stop()
            for outcome in batch:
                show.outcome(outcome)
                each(outcome)
    show.close()
    return interrupted


class _TerminateAsInterrupt:
    """SIGTERM ends a batch as Ctrl-C does."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._interrupt)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt


class _Progress:
    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._counts: Counter[str] = Counter()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="picture", file=sys.stderr, dynamic_ncols=True)

    def outcome(self, outcome: Outcome) -> None:
        self._done += 1
        self._counts[str(outcome.status)] += 1
        if self._bar is not None:
            self._bar.set_postfix(dict(self._counts), refresh=False)
            self._bar.update()
        if self._bar is None or not outcome.ok:
            self.line(f"[{self._done}/{self._total}] {describe(outcome)}")

    def line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def describe(outcome: Outcome) -> str:
    """An outcome as one line."""
    if not outcome.ok or outcome.attempt is None:
        return f"{outcome.status} {outcome.item_key}: {outcome.reason}"
    cost = "unknown" if outcome.cost is None else f"{outcome.cost:g}"
    seed = outcome.attempt.seed
    return f"{outcome.status} {outcome.item_key}: {outcome.path} (seed {seed}, cost {cost})"


def count_line(counts: Counter[str]) -> str:
    """``3 made, 1 reused, …`` in a fixed order."""
    order = ("made", "reused", "shared", "failed", "held", "skipped", "unreadable")
    return ", ".join(f"{counts[name]} {name}" for name in order if counts[name]) or "nothing"
