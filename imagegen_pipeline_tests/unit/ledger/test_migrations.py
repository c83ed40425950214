"""A ledger of an older version is migrated; one from before the first version is refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import Connection

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import Ledger, migrations, schema
from imagegen_pipeline_tests.unit.ledger.ledger_rows import plan, prompt, scan, store


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run SQL on the ledger's file; the rows of the last statement."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        return rows


def test_an_older_ledger_is_migrated_and_loses_nothing(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of version 2 adds its column to a ledger of version 1, and restores a table and an
    index that version 1 lacked.
    """
    ledger.items.record(scan(prompt("a")))
    stored = store(ledger, plan(ledger, "a"))
    ledger.close()
    execute(url, "DROP TABLE reuses", "DROP INDEX attempts_by_state")

    def add_column(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE attempts ADD COLUMN note TEXT DEFAULT 'new'")

    monkeypatch.setattr(schema, "VERSION", "2")
    monkeypatch.setitem(migrations.MIGRATIONS, "1", add_column)
    with closing(Ledger(url)) as opened:
        assert opened.attempts.current("a") == stored
    Ledger(url).close()  # a migrated ledger is migrated once
    assert execute(url, "SELECT note FROM attempts") == [("new",)]
    assert execute(url, "SELECT value FROM about WHERE name = 'schema_version'") == [("2",)]
    names = {name for (name,) in execute(url, "SELECT name FROM sqlite_master")}
    assert {"reuses", "attempts_by_state"} <= names


def test_a_failed_migration_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next program finds the ledger in its old version."""
    Ledger(url).close()

    def fail(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE attempts ADD COLUMN note TEXT")
        connection.exec_driver_sql("ALTER TABLE nothing ADD COLUMN note TEXT")

    with monkeypatch.context() as newer:
        newer.setattr(schema, "VERSION", "2")
        newer.setitem(migrations.MIGRATIONS, "1", fail)
        with pytest.raises(LedgerError, match="nothing"):
            Ledger(url)
    Ledger(url).close()
    columns = {row[1] for row in execute(url, "PRAGMA table_info(attempts)")}
    assert "note" not in columns


def test_a_ledger_from_before_the_first_version_is_refused(url: str) -> None:
    """Its format was never released; the error says what to do, and the file stays as it is."""
    Ledger(url).close()
    execute(url, "DELETE FROM about", "INSERT INTO about VALUES ('version', '5')")
    with pytest.raises(LedgerError, match="before the first release") as caught:
        Ledger(url)
    assert "IMAGEGEN_LEDGER_URL" in caught.value.remedy
    assert execute(url, "SELECT * FROM about") == [("version", "5")]


def test_a_ledger_of_a_newer_version_is_refused(url: str) -> None:
    """A program that does not know a ledger's version changes nothing in it."""
    Ledger(url).close()
    execute(url, "UPDATE about SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(LedgerError, match="version 99") as caught:
        Ledger(url)
    assert "another file" in caught.value.remedy
