"""The columns of the results table."""

from __future__ import annotations

from collections.abc import Mapping

Columns = Mapping[str, tuple[str, str]]
"""The type and the description of each column. A type is a pandas type, or ``moment``: a
timestamp (milliseconds, UTC) in Parquet, an ISO 8601 text elsewhere.
"""
COLUMNS: dict[str, tuple[str, str]] = {
    "attempt": ("Int64", "The attempt's id in the ledger; empty for an unreadable source item."),
    "key": ("string", "The item's partition key."),
    "kind": ("string", "prompt or actor."),
    "source": ("string", "database, json, single_prompt or actor."),
    "location": ("string", "Where the item was read: a file, or a row of a database."),
    "state": (
        "string",
        "planned, submitting, submitted, completed, stored, failed, unknown, held, expired; "
        "unreadable for a source item that cannot be read.",
    ),
    "run": ("string", "The run or command that asked for it; its retries have the same name."),
    "current": ("boolean", "Whether this is the item's current image."),
    "verdict": ("string", "approved or rejected by a person; empty if not reviewed."),
    "verdict_at": ("moment", "When the image was approved or rejected (UTC)."),
    "gone": ("boolean", "Whether the item has left its source."),
    "provider": ("string", "The provider that was asked, such as duomi or runpod."),
    "model": ("string", "The model asked for."),
    "prompt": ("string", "The prompt that was sent."),
    "width": ("Int64", "Pixels of the image that was received."),
    "height": ("Int64", "Pixels of the image that was received."),
    "seed": ("string", "The seed that was sent: a text, since it can be as large as 2**64-1."),
    "steps": ("Int64", "Sampling steps asked for."),
    "guidance": ("Float64", "Guidance asked for."),
    "path": ("string", "The image file, relative to the data folder."),
    "archive": ("string", "The archive that holds the image; empty while it is a file."),
    "sha256": ("string", "SHA-256 of the image's bytes."),
    "seconds": ("Float64", "Seconds from planned to ended."),
    "run_seconds": ("Float64", "Seconds of generation, as reported by the provider."),
    "cost": ("Float64", "Money, by the price table; empty if the price is unknown."),
    "reserved": ("Float64", "Money reserved for it while its cost is unknown."),
    "simulated": ("boolean", "Whether the local simulator generated it."),
    "regenerate": ("boolean", "Whether it was requested although the item had an image."),
    "shared_from": ("Int64", "The attempt whose image this one shares, at no cost."),
    "possible_double_charge": ("boolean", "Whether it was sent again because no response arrived."),
    "job_id": ("string", "The provider's id of the job."),
    "error_kind": ("string", "The kind of failure, as in domain/errors.py."),
    "error": ("string", "What happened, in one sentence."),
    "remedy": ("string", "What to do next."),
    "warnings": ("string", "Warnings about an image that was generated."),
    "created_at": ("moment", "When the attempt was planned (UTC)."),
    "submitted_at": ("moment", "When it was sent to the provider (UTC); empty if it was not."),
    "finished_at": ("moment", "When it ended (UTC)."),
}
NEVER_EMPTY = ("state", "location")
"""Columns that are never null, not even for an unreadable source item."""
