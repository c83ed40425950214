"""The table of results: ledger → rows, one for each attempt, and the users' JSON log.

pandas is imported only where a table is made of the rows.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.generation import Attempt, State
from imagegen_pipeline.whole_files import spare_file

if TYPE_CHECKING:
    import pandas as pd

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
    "current": ("boolean", "Whether this is the item's current picture."),
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
        "current": item.item_current_attempt == attempt.id,
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
        "finished_at": _iso(attempt.finished_at),
    }


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds")


def results_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table with typed columns."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({name: kind for name, (kind, _) in COLUMNS.items()})


def render(rows: list[dict[str, Any]], form: str, *, shown: Sequence[str]) -> bytes:
    """The rows as ``csv``, ``json``, ``parquet``, or a ``table`` of the columns ``shown``."""
    table = results_table(rows)
    if form == "parquet":
        return bytes(table.to_parquet(index=False))
    if form == "csv":
        text = table.to_csv(index=False)
    elif form == "json":
        records = table.astype(object).where(table.notna(), None).to_dict("records")
        text = json.dumps(records, ensure_ascii=False, indent=2) + "\n"
    else:
        text = _as_text_table(table, shown)
    return text.encode()


def _as_text_table(table: pd.DataFrame, shown: Sequence[str]) -> str:
    """For people: blanks for what is not known, and an unreadable source as the path."""
    if table.empty:
        return ""
    text = table.astype(object).where(table.notna(), "")
    text["path"] = text["path"].where(text["path"] != "", text["location"])
    text.loc[table["attempt"].notna() & table["path"].isna(), "path"] = ""
    text["seconds"] = [f"{value:.1f}" if value != "" else "" for value in text["seconds"]]
    lines = text[list(shown)].to_string(index=False, max_colwidth=100).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def write_results(rows: list[dict[str, Any]], path: Path) -> pd.DataFrame:
    """Write the table as Parquet, whole or not at all; raises StoreError."""
    table = results_table(rows)
    spare = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            table.to_parquet(spare, index=False)
            spare.replace(path)
        finally:
            spare.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    return table


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


def write_json_log(results: list[dict[str, Any]], path: Path) -> Path:
    """The users' results log, written whole or not at all; raises StoreError.

    A name that is taken gets ``_2``, ``_3``: no log is ever overwritten.
    """
    text = json.dumps(results, ensure_ascii=False, indent=2, default=str) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Half a character can only come from a folder's name; JSON has an escape for it.
        spare = spare_file(path, text.encode("utf-8", "backslashreplace"))
        try:
            return _move_to_free_name(spare, path)
        finally:
            spare.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


def _move_to_free_name(spare: Path, path: Path) -> Path:
    target, number = path, 1
    while True:
        try:
            os.link(spare, target)  # unlike rename(), refuses a name that is taken
            return target
        except FileExistsError:
            number += 1
            target = path.with_name(f"{path.stem}_{number}{path.suffix}")
        except OSError:  # a file system without hard links
            if not target.exists():
                return spare.replace(target)
            number += 1
            target = path.with_name(f"{path.stem}_{number}{path.suffix}")
