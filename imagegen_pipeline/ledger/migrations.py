"""Creates the ledger's tables and migrates a ledger of an older version."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, insert, inspect, select, update

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import schema

Migration = Callable[[Connection], None]
MIGRATIONS: dict[str, Migration] = {}
"""What brings a ledger of a version to the next one. Versions are consecutive numbers as text. A
migration changes existing tables; new tables and indexes are created afterwards.
"""
_VERSION_ROW = schema.about.c.name == schema.VERSION_NAME
_UNRELEASED = "0"
_REMEDY = "Use the program that wrote it, or name another file in IMAGEGEN_LEDGER_URL."


def has_current_version(connection: Connection) -> bool:
    """Whether the ledger needs neither tables nor a migration."""
    return _version(connection) == schema.VERSION


def create_or_migrate(connection: Connection, display_url: str) -> None:
    """Create the tables, or migrate those of an older version; raises LedgerError for a ledger of
    a newer version, or of one from before the first.
    """
    version = _version(connection)
    if version == schema.VERSION:  # another process was first
        return
    if version is None:
        schema.metadata.create_all(connection)
        rows = {schema.VERSION_NAME: schema.VERSION, schema.EPOCH_ROW: "0"}
        connection.execute(
            insert(schema.about), [{"name": name, "value": value} for name, value in rows.items()]
        )
        return
    _migrate(connection, version, display_url)


def _version(connection: Connection) -> str | None:
    """The ledger's version; None for an empty database, "0" for a ledger from before the first."""
    if not inspect(connection).has_table(schema.about.name):
        return None
    version = connection.scalar(select(schema.about.c.value).where(_VERSION_ROW))
    return _UNRELEASED if version is None else str(version)


def _migrate(connection: Connection, version: str, display_url: str) -> None:
    if version == _UNRELEASED:
        raise LedgerError(
            f"The ledger at {display_url} has a format from before the first release, which this "
            "program does not read.",
            remedy=_REMEDY,
        )
    known = version
    while known in MIGRATIONS:
        MIGRATIONS[known](connection)
        known = str(int(known) + 1)
    if known != schema.VERSION:
        raise LedgerError(
            f"The ledger at {display_url} has version {version}, and this program reads version "
            f"{schema.VERSION}.",
            remedy=_REMEDY,
        )
    schema.metadata.create_all(connection)
    for table in schema.metadata.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    connection.execute(update(schema.about).where(_VERSION_ROW).values(value=schema.VERSION))
