"""The database behind the ledger: durable, and clear about what ails it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger.database import Database


def test_every_connection_writes_durably(url: str) -> None:
    """WAL lets readers read while another writes; FULL makes a commit outlive a power cut."""
    with closing(Database(url)) as database:
        for transaction in (database.read, database.write):
            with transaction() as connection:
                pragmas = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("journal_mode", "synchronous", "foreign_keys")
                }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_reader_is_not_held_up_by_a_writer(url: str) -> None:
    """While one writes, another reads what was there before."""
    with closing(Database(url)) as database, database.write() as writer:
        writer.exec_driver_sql("INSERT INTO about VALUES ('x', 'y')")
        with database.read() as reader:
            assert reader.exec_driver_sql("SELECT count(*) FROM about").scalar() == 2


def test_what_fails_midway_did_not_happen(url: str) -> None:
    """A write that is broken off leaves nothing."""

    def broken_off(database: Database) -> None:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO about VALUES ('x', 'y')")
            raise RuntimeError

    with closing(Database(url)) as database:
        with pytest.raises(RuntimeError):
            broken_off(database)
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM about").scalar() == 2


def test_the_clock_is_the_databases_own(url: str) -> None:
    """``now`` is seconds since the epoch."""
    import time

    from sqlalchemy import select

    with closing(Database(url)) as database, database.read() as connection:
        assert connection.scalar(select(database.now())) == pytest.approx(time.time(), abs=5)


def test_a_new_ledgers_folder_is_made(url: str) -> None:
    """A first run needs no folder."""
    path = Path(url.removeprefix("sqlite:///"))
    assert not path.parent.exists()
    Ledger(url).close()
    assert path.is_file()


def test_many_processes_open_a_new_ledger_at_once(url: str) -> None:
    """Whoever comes first makes the tables; nobody stumbles over it."""
    code = f"from imagegen_pipeline.ledger import Ledger; Ledger({url!r}).close()"
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(6)]
    errors = [process.communicate(timeout=60)[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0] * 6, errors


@pytest.mark.parametrize(
    "address",
    [
        "",
        "not an address",
        "postgresql://user:s3cret@localhost:port/db",
        "nosuchdialect://user:s3cret@localhost/db",
        "user:s3cret@localhost",
    ],
)
def test_an_address_that_cannot_be_opened_is_said_without_its_password(address: str) -> None:
    """The error names what to do; it never holds the password."""
    with pytest.raises(LedgerError) as caught:
        Ledger(address)
    assert "IMAGEGEN_LEDGER_URL" in caught.value.sentence
    assert "s3cret" not in caught.value.sentence


@pytest.mark.parametrize("obstacle", ["a file for a folder", "a folder", "no database"])
def test_a_place_that_cannot_be_a_ledger_is_named(tmp_path: Path, obstacle: str) -> None:
    """A folder that cannot be made, a folder in the file's place and a stranger's file."""
    place = tmp_path / "imagegen.db"
    if obstacle == "a folder":
        place.mkdir()
    else:
        place.write_bytes(b"something else altogether " * 100)
    if obstacle == "a file for a folder":
        place = place / "imagegen.db"
    with pytest.raises(LedgerError) as caught:
        Ledger(f"sqlite:///{place}")
    assert str(tmp_path) in str(caught.value)
    assert caught.value.remedy
    assert caught.value.stops_batch


def test_a_ledger_of_another_version_is_refused(url: str) -> None:
    """A program that does not know a ledger's version leaves it alone, and says so."""
    Ledger(url).close()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE about SET value = '99' WHERE name = 'version'")
    with pytest.raises(LedgerError, match="version 99") as caught:
        Ledger(url)
    assert "another ledger" in caught.value.remedy


def test_a_ledger_that_breaks_later_is_a_typed_error(ledger: Ledger, url: str) -> None:
    """A table that is lost while the program runs is no traceback."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DROP TABLE leases")
    with pytest.raises(LedgerError, match="leases"):
        ledger.leases.acquire(["item:a"], "one")
