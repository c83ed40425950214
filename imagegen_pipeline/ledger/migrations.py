"""The ledger's version: new ones are made, older ones brought up, newer ones refused."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select, text, update

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import schema

_UPGRADES: dict[str, tuple[str, tuple[str, ...]]] = {
    # Leases end by themselves within a minute: the table is made anew with its epochs.
    "1": ("2", ("ALTER TABLE attempts ADD COLUMN reserved FLOAT", "DROP TABLE leases")),
    "2": (
        "3",
        (
            "ALTER TABLE attempts ADD COLUMN verdict VARCHAR(10)",
            "ALTER TABLE attempts ADD COLUMN verdict_at FLOAT",
            "ALTER TABLE items ADD COLUMN last_attempt BIGINT DEFAULT 0 NOT NULL",
            "ALTER TABLE items ADD COLUMN touched BIGINT DEFAULT 0 NOT NULL",
            "UPDATE items SET last_attempt = COALESCE("
            "(SELECT MAX(id) FROM attempts WHERE item_key = items.key), 0)",
        ),
    ),
    "3": (
        "4",
        (
            "ALTER TABLE items ADD COLUMN stamp TEXT",
            "ALTER TABLE items ADD COLUMN lifted BIGINT DEFAULT 0 NOT NULL",
            "ALTER TABLE attempts ADD COLUMN measures JSON",
            "ALTER TABLE attempts ADD COLUMN archive TEXT",
            "DROP INDEX items_by_container",  # it is made anew, over the stamp too
        ),
    ),
    "4": ("5", ()),  # an index more
}
"""From each version to the next one, and the statements that bring it there."""


def create_or_migrate(connection: Connection, shown: str) -> None:
    """Make the tables, or add what an older program's ledger lacks; raises LedgerError."""
    known = None
    if inspect(connection).has_table(schema.about.name):
        row = schema.about.c.name == "version"
        known = connection.scalar(select(schema.about.c.value).where(row))
    version = known
    while version in _UPGRADES:
        version, statements = _UPGRADES[version]
        for statement in statements:
            connection.execute(text(statement))
    if version not in (None, schema.VERSION):
        raise LedgerError(
            f"The ledger at {shown} has version {version}; this program reads "
            f"version {schema.VERSION}.",
            remedy="Use the program that wrote it, or another ledger.",
        )
    schema.metadata.create_all(connection)
    if known is None:
        connection.execute(insert(schema.about).values(name="version", value=schema.VERSION))
    if known in (None, "1"):
        connection.execute(insert(schema.about).values(name=schema.EPOCH_ROW, value="0"))
    if known not in (None, schema.VERSION):
        for table in schema.metadata.tables.values():
            for index in table.indexes:
                index.create(connection, checkfirst=True)
        row = schema.about.c.name == "version"
        connection.execute(update(schema.about).where(row).values(value=schema.VERSION))
