"""The table of results: one row for each attempt, and for what in a source is unreadable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagegen_pipeline.ledger import Ledger

Columns = Mapping[str, tuple[str, str]]
"""For each column its type and a sentence on what it holds. A type is the pandas one, or
``moment``: a timestamp (milliseconds, UTC) in Parquet, a text in ISO 8601 everywhere else.
"""
COLUMNS: dict[str, tuple[str, str]] = {
    "attempt": ("Int64", "The attempt's number in the ledger; empty for an unreadable source."),
    "key": ("string", "The item's partition key."),
    "kind": ("string", "prompt or actor."),
    "source": ("string", "database, json, single_prompt or actor."),
    "location": ("string", "Where the item was read."),
    "state": (
        "string",
        "planned, submitting, submitted, completed, stored, failed, unknown, held, expired; "
        "unreadable for what in a source could not become an item.",
    ),
    "run": ("string", "The run or command that asked for it; its retries have the same."),
    "current": ("boolean", "Whether this is the item's current picture."),
    "verdict": ("string", "approved or rejected, as a person said of this picture; empty if not."),
    "verdict_at": ("moment", "When that was said (UTC)."),
    "gone": ("boolean", "Whether the item has left its source."),
    "service": ("string", "duomi or runpod."),
    "model": ("string", "The model asked for."),
    "prompt": ("string", "The prompt as it was sent."),
    "width": ("Int64", "Pixels of the picture as it came."),
    "height": ("Int64", "Pixels of the picture as it came."),
    "seed": ("string", "The seed as it was sent: up to 2**64-1, so a text."),
    "steps": ("Int64", "Sampling steps asked for."),
    "guidance": ("Float64", "Guidance asked for."),
    "path": ("string", "The picture's file, below the data folder."),
    "archive": ("string", "The archive that the file was moved into; empty while it is a file."),
    "sha256": ("string", "Digest of the picture's bytes."),
    "seconds": ("Float64", "From planned to ended."),
    "run_seconds": ("Float64", "The service's own measure of its work, in seconds."),
    "cost": ("Float64", "Money, by the price table; empty when the price is not known."),
    "reserved": ("Float64", "Money set aside for it, while its cost is not known."),
    "simulated": ("boolean", "Whether the local simulator made it."),
    "regenerate": ("boolean", "Whether it was asked for although a picture was there."),
    "shared_from": ("Int64", "The attempt whose picture this one shares, at no cost."),
    "possible_double_charge": ("boolean", "Sent again after an answer that never came."),
    "job_id": ("string", "The service's name for the job."),
    "error_kind": ("string", "What kind of failure, as in domain/errors.py."),
    "error": ("string", "What happened, in one sentence."),
    "remedy": ("string", "What to do next."),
    "warnings": ("string", "What is worth knowing of a picture that was made."),
    "created_at": ("moment", "When the attempt was planned (UTC)."),
    "submitted_at": ("moment", "When it was sent to the service (UTC); empty if it was not."),
    "finished_at": ("moment", "When it ended (UTC)."),
}
NEVER_EMPTY = ("state", "location")
"""Every row has these, that of an unreadable source too."""

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
        row.service,
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
