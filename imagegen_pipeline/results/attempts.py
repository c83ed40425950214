"""The table of results: one row for each attempt, and for what in a source is unreadable."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.generation import Attempt, State
from imagegen_pipeline.ledger.reviews import Verdict

if TYPE_CHECKING:
    from imagegen_pipeline.ledger import Ledger

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
    "verdict_at": ("string", "When that was said (UTC, ISO 8601)."),
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
    "sha256": ("string", "Digest of the picture's bytes."),
    "seconds": ("Float64", "From planned to ended."),
    "run_seconds": ("Float64", "The service's own measure of its work."),
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
    "created_at": ("string", "When the attempt was planned (UTC, ISO 8601)."),
    "submitted_at": ("string", "When it was sent to the service (UTC, ISO 8601); empty if not."),
    "finished_at": ("string", "When it ended (UTC, ISO 8601)."),
}


def result_rows(ledger: Ledger) -> list[dict[str, Any]]:
    """Every attempt, oldest first, then what in the sources cannot be read."""
    rows = [_attempt_row(attempt, item) for attempt, item in ledger.attempts.rows()]
    for problem in ledger.items.problems():
        row = dict.fromkeys(COLUMNS)
        row |= {
            "location": problem.location,
            "state": "unreadable",
            "error_kind": "source",
            "error": problem.message,
            "remedy": problem.remedy,
        }
        rows.append(row)
    return rows


def _attempt_row(attempt: Attempt, item: Any) -> dict[str, Any]:  # noqa: ANN401 - a database row
    request = attempt.request
    return {
        "attempt": attempt.id,
        "key": attempt.item_key,
        "kind": item.item_kind,
        "source": item.item_source,
        "location": item.item_location,
        "state": str(attempt.state),
        "run": attempt.intent,
        "current": item.item_current_attempt == attempt.id,
        "verdict": attempt.verdict,
        "verdict_at": _iso(attempt.verdict_at),
        "gone": item.item_gone,
        "service": attempt.service,
        "model": attempt.model,
        "prompt": request["prompt"],
        "width": attempt.width,
        "height": attempt.height,
        "seed": str(attempt.seed),
        "steps": request["steps"],
        "guidance": request["guidance"],
        "path": attempt.path,
        "sha256": attempt.digest,
        "seconds": attempt.seconds,
        "run_seconds": attempt.run_seconds,
        "cost": attempt.cost,
        "reserved": attempt.reserved if attempt.cost is None else None,
        "simulated": attempt.simulated,
        "regenerate": attempt.regenerate,
        "shared_from": attempt.shared_from,
        "possible_double_charge": attempt.possible_double_charge,
        "job_id": attempt.job_id,
        "error_kind": attempt.error_kind,
        "error": attempt.error,
        "remedy": attempt.remedy,
        "warnings": " ".join(attempt.warnings) or None,
        "created_at": _iso(attempt.created_at),
        "submitted_at": _iso(attempt.submitted_at),
        "finished_at": _iso(attempt.finished_at),
    }


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")


def approved_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of current pictures that a person has approved: what to go on to training with."""
    return [dict(row) for row in rows if row["current"] and row["verdict"] == Verdict.APPROVED]


def attempts_for_reading(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows for people: an unreadable source is shown where a picture has its path."""
    return [
        {**row, "path": row["path"] if row["attempt"] is not None else row["location"]}
        for row in rows
    ]


def summary(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts by state, and what is known of the cost."""
    states: Counter[str] = Counter()
    cost, unknown_prices = 0.0, 0
    for row in rows:
        states[row["state"]] += 1
        if row["state"] == State.STORED and row["cost"] is None:
            unknown_prices += 1
        cost += row["cost"] or 0.0
    return {
        "states": dict(sorted(states.items())),
        "cost": round(cost, 6),
        "pictures_of_unknown_price": unknown_prices,
    }
