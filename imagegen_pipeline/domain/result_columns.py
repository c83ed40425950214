"""The columns of the tables of results."""

from __future__ import annotations

from collections.abc import Mapping

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
    "provider": ("string", "The provider that was asked, such as duomi or runpod."),
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
