"""The table of results: one row for each attempt, and for what in a source is unreadable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.result_columns import COLUMNS

if TYPE_CHECKING:
    from imagegen_pipeline.ledger import Ledger

Values = tuple[Any, ...]
"""A row as its values, in the order of ``COLUMNS``."""


def values_of(row: Any) -> Values:  # noqa: ANN401 - a database row
    """A row of the ledger (see ``ResultRows``) as a row of the table."""
    request, planned, ended = row.request, row.created_at, row.finished_at
    return (
        row.id,
        row.item_key,
        row.kind,
        row.source,
        row.location,
        row.state,
        row.intent,
        row.current_attempt == row.id,
        row.verdict,
        _iso(row.verdict_at),
        row.gone,
        row.provider,
        row.model,
        request["prompt"],
        row.width,
        row.height,
        row.seed,
        request["steps"],
        request["guidance"],
        row.path,
        row.archive,
        row.digest,
        None if ended is None else ended - planned,
        row.run_seconds,
        row.cost,
        row.reserved if row.cost is None else None,
        row.simulated,
        row.regenerate,
        row.shared_from,
        row.possible_double_charge,
        row.job_id,
        row.error_kind,
        row.error,
        row.remedy,
        " ".join(row.warnings) or None,
        _iso(planned),
        _iso(row.submitted_at),
        _iso(ended),
    )


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")


def unreadable_rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """What in the sources cannot be read."""
    for problem in ledger.items.problems():
        yield dict.fromkeys(COLUMNS) | {
            "location": problem.location,
            "state": "unreadable",
            "error_kind": "source",
            "error": problem.message,
            "remedy": problem.remedy,
        }


def each_result(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Every attempt, oldest first, then what in the sources cannot be read, one at a time."""
    for row in ledger.results.all():
        yield _named(row)
    yield from unreadable_rows(ledger)


def result_rows(ledger: Ledger) -> list[dict[str, Any]]:
    """Every row at once, as ``each_result``."""
    return list(each_result(ledger))


def approved_rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The current pictures that a person has approved: what to go on to training with."""
    return map(_named, ledger.results.approved())


def _named(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a database row
    return dict(zip(COLUMNS, values_of(row), strict=True))


def attempts_for_reading(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows for people: an unreadable source is shown where a picture has its path."""
    for row in rows:
        yield {**row, "path": row["path"] if row["attempt"] is not None else row["location"]}
