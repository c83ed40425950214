"""A ledger of an older program goes on being one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger import Filter, Ledger
from imagegen_pipeline_tests.ledger.ledger_rows import plan, prompt, scan, store, submitting


def downgrade(url: str) -> None:
    """The ledger as version 1 of the program had it."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        newer = ("attempts_by_state", "attempts_by_submit", "attempts_by_run", "attempts_shared")
        for index in (*newer, "items_by_last_attempt", "items_by_touched"):
            connection.execute(f"DROP INDEX {index}")
        connection.execute("DROP INDEX items_by_container")
        connection.execute("CREATE INDEX items_by_container ON items (kind, container)")
        connection.execute("DROP TABLE reuses")
        connection.execute("DROP TABLE source_reads")
        for table, column in (
            *(("attempts", "verdict"), ("attempts", "verdict_at")),
            *(("attempts", "measures"), ("attempts", "archive")),
            *(("items", "last_attempt"), ("items", "change_seq")),
            *(("items", "stamp"), ("items", "lifted")),
        ):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("ALTER TABLE attempts DROP COLUMN reserved")
        connection.execute("ALTER TABLE leases DROP COLUMN epoch")
        connection.execute("DELETE FROM about WHERE name = 'lease_epoch'")
        connection.execute("UPDATE about SET value = '1' WHERE name = 'version'")


def test_an_older_ledger_is_brought_up_and_loses_nothing(ledger: Ledger, url: str) -> None:
    """What version 1 wrote is all there, and work goes on in it."""
    ledger.items.record(scan(prompt("a"), prompt("b")))
    stored = store(ledger, plan(ledger, "a"))
    ledger.close()
    downgrade(url)

    with closing(Ledger(url)) as opened:
        current = opened.attempts.current("a")
        assert current is not None
        assert current.id == stored.id
        assert (current.digest, current.cost) == (stored.digest, 0.5)
        assert [card.key for card in opened.gallery.cards(Filter())] == ["a", "b"]
        attempt = submitting(opened, plan(opened, "b"), reserve=0.25)
        assert (attempt.state, attempt.reserved) == (State.SUBMITTING, 0.25)


def test_the_older_ledger_gets_the_newer_ones_indexes(tmp_path: Path) -> None:
    """A ledger that was brought up has what a new one has."""

    def shape(url: str) -> set[tuple[str, str]]:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
            columns = {
                (table, row[1])
                for table in tables
                for row in connection.execute("SELECT * FROM pragma_table_info(?)", (table,))
            }
            return columns | {("", name) for name in tables}

    old, new = (f"sqlite:///{tmp_path / name}" for name in ("old.db", "new.db"))
    for url in (old, new):
        Ledger(url).close()
    downgrade(old)
    Ledger(old).close()
    assert shape(old) == shape(new)
