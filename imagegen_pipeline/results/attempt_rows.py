"""The rows of the results table: one per attempt, and one per unreadable source item."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.result_columns import COLUMNS

if TYPE_CHECKING:
    from imagegen_pipeline.ledger import Ledger

Values = tuple[Any, ...]
"""The values of a row, in the order of ``COLUMNS``."""


def row_values(row: Any) -> Values:  # noqa: ANN401 - a database row
    """Convert a row of the ledger (see ``ResultRows``) into a row of the table."""
    request, planned_at, finished_at = row.request, row.created_at, row.finished_at
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
        None if finished_at is None else finished_at - planned_at,
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
        _iso(planned_at),
        _iso(row.submitted_at),
        _iso(finished_at),
    )


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")


def unreadable_rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """One row for each source item that cannot be read."""
    for problem in ledger.items.problems():
        yield dict.fromkeys(COLUMNS) | {
            "location": problem.location,
            "state": "unreadable",
            "error_kind": "source",
            "error": problem.message,
            "remedy": problem.remedy,
        }


def iter_result_rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Every attempt, oldest first, then the unreadable source items."""
    for row in ledger.results.all():
        yield _by_name(row)
    yield from unreadable_rows(ledger)


def result_rows(ledger: Ledger) -> list[dict[str, Any]]:
    """The rows of ``iter_result_rows`` as a list."""
    return list(iter_result_rows(ledger))


def approved_rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The current images that a person has approved, oldest first."""
    return map(_by_name, ledger.results.approved())


def _by_name(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a database row
    return dict(zip(COLUMNS, row_values(row), strict=True))


def rows_for_display(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows with the location of an unreadable source item in the column ``path``."""
    for row in rows:
        yield {**row, "path": row["path"] if row["attempt"] is not None else row["location"]}
