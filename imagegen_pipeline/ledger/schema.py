"""The ledger's tables. Times are seconds since the epoch (UTC)."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

VERSION_NAME, VERSION = "schema_version", "1"
"""The row of ``about`` with the version of these tables, and that version; see ``migrations``."""
EPOCH_ROW = "lease_epoch"
"""The row of ``about`` with the epoch of the newest lease."""

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements only INTEGER
_IS_SHARED = text("shared_from IS NOT NULL")  # a partial index: few rows are shared

about = Table(
    "about",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("kind", String(10), nullable=False),  # prompt | actor
    Column("source", String(20), nullable=False),
    Column("container", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("position", _Id, nullable=False),  # the order in which items were first seen
    Column("sequence", _Id, nullable=False),  # the order in which items were new, changed or gone
    Column("revision", Integer, nullable=False),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("gone", Boolean, nullable=False),
    Column("current_attempt", _Id, nullable=True),
    Column("last_attempt", _Id, nullable=False, server_default="0"),  # 0: never tried
    Column("change_seq", _Id, nullable=False, server_default="0"),  # grows with every change of it
    Column("change_token", Text),  # of its file or row: with the same token it is not read again
    Column(
        "failures_reset", _Id, nullable=False, server_default="0"
    ),  # failures up to this attempt no longer count
    Index("items_by_container", "kind", "container"),
    Index("items_by_sequence", "kind", "sequence"),
    Index("items_by_last_attempt", "last_attempt", "position"),
    Index("items_by_change_seq", "change_seq"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("item_key", String(200), ForeignKey("items.key"), nullable=False),
    Column("kind", String(10), nullable=False),  # prompt | actor: what the image is for
    Column("provider", String(40), nullable=False),
    Column("model", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("sent_fingerprint", String(64), nullable=False),
    Column("request", JSON, nullable=False),
    Column("seed", String(20), nullable=False),  # to 2**64-1, more than BIGINT holds
    Column("state", String(12), nullable=False),
    Column("intent", String(80), nullable=False),
    Column("regenerate", Boolean, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("submitted_at", Float),
    Column("finished_at", Float),
    Column("job_id", String(200)),
    Column("endpoint", Text),
    Column("result_url", Text),
    Column("folder", Text, nullable=False),
    Column("file_stem", String(255), nullable=False),
    Column("path", Text),
    Column("digest", String(64)),
    Column("width", Integer),
    Column("height", Integer),
    Column("bytes", Integer),
    Column("cost", Float),
    Column("reserved", Float),  # reserved for it while its cost is not known
    Column("queue_seconds", Float),
    Column("run_seconds", Float),
    Column("error_kind", String(40)),
    Column("error", Text),
    Column("remedy", Text),
    Column("warnings", JSON, nullable=False),
    Column("shared_from", _Id),
    Column("possible_double_charge", Boolean, nullable=False),
    Column("reported", Boolean, nullable=False),
    Column("verdict", String(10)),  # approved | rejected, by a person
    Column("verdict_at", Float),
    Column("measures", JSON),  # of the decoded image, for its quality checks
    Column("archive", Text),  # the archive that its file was moved into; relative like path
    Index("attempts_by_item", "item_key", "state"),
    Index("attempts_by_sent", "sent_fingerprint", "state"),
    Index("attempts_by_intent", "item_key", "intent"),
    Index("attempts_names", "folder", "file_stem", unique=True),
    Index("attempts_unreported", "reported", "state"),
    Index("attempts_by_state", "state", "finished_at"),
    Index("attempts_by_submit", "provider", "submitted_at"),
    Index("attempts_by_run", "intent"),
    Index(
        "attempts_shared",
        *("state", "finished_at", "shared_from"),
        sqlite_where=_IS_SHARED,
        postgresql_where=_IS_SHARED,
    ),
)

problems = Table(
    "problems",
    metadata,
    Column("container", Text, primary_key=True),
    Column("location", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
)

reuses = Table(
    "reuses",
    metadata,
    Column("day", String(10), primary_key=True),  # UTC, as in 2026-01-31
    Column("pictures", Integer, nullable=False),
)

source_states = Table(
    "source_states",
    metadata,
    Column("container", Text, primary_key=True),
    Column("change_token", Text, nullable=False),  # of the whole source at its last scan
    Column("trusted_since", Float, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(240), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("epoch", _Id, nullable=False),  # grows with each acquisition, on the whole ledger
    Column("until", Float, nullable=False),
)
