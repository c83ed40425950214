"""Transactions of the ledger's database: durable, fair among threads, with typed errors."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.ledger import database as ledger_database
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


def test_a_ledger_that_breaks_later_is_a_typed_error(ledger: Ledger, url: str) -> None:
    """A table that is lost while the program runs is no traceback."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DROP TABLE leases")
    with pytest.raises(LedgerError, match="leases"):
        ledger.leases.acquire(["item:a"], "one")


WRITERS = 12


def insert(database: Database, name: str) -> None:
    """One small change."""
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO about VALUES (?, 'x')", (name,))


def names(url: str) -> set[str]:
    """The rows that another program reads."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM about")}


@pytest.mark.parametrize("writers", [1, 70])
def test_every_writer_gets_its_turn(url: str, writers: int) -> None:
    """Many threads that write at once all succeed, and each change is on disk when its block ends:
    another program reads it.
    """
    missing: list[str] = []

    def insert_and_read(name: str) -> None:
        insert(database, name)
        if name not in names(url):
            missing.append(name)

    with closing(Database(url)) as database, ThreadPoolExecutor(writers) as pool:
        list(pool.map(insert_and_read, [f"n{n}" for n in range(writers * 2)]))
    assert not missing


def test_a_failing_writer_undoes_only_its_own_change(url: str) -> None:
    """Of writers that run at once, those that raise leave nothing and the others stand."""

    def write(n: int) -> None:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO about VALUES (?, 'x')", (f"n{n}",))
            if n % 3 == 0:
                raise RuntimeError

    with closing(Database(url)) as database, ThreadPoolExecutor(WRITERS) as pool:
        futures = [pool.submit(write, n) for n in range(WRITERS)]
        failed = {n for n, future in enumerate(futures) if future.exception()}
    assert failed == set(range(0, WRITERS, 3))
    written = {f"n{n}" for n in range(WRITERS)} - {f"n{n}" for n in failed}
    assert names(url) & {f"n{n}" for n in range(WRITERS)} == written


def test_a_transaction_that_sqlite_rolled_back_is_an_error(url: str) -> None:
    """When SQLite ends a transaction itself, as on a full disk, the writer learns of it."""

    def rolled_back() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO about VALUES ('lost', 'x')")
            connection.exec_driver_sql("ROLLBACK")

    with closing(Database(url)) as database:
        with pytest.raises(LedgerError):
            rolled_back()
        insert(database, "later")
    assert "later" in names(url)
    assert "lost" not in names(url)


def test_a_locked_ledger_is_waited_for_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve threads behind a lock that is never released all fail after one wait, and the next
    write after it succeeds.
    """
    monkeypatch.setattr(ledger_database, "BUSY_SECONDS", 0.3)
    with closing(Database(url)) as database, ThreadPoolExecutor(WRITERS) as pool:
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waits: list[object] = []
        event.listen(
            database._engine, "before_cursor_execute", lambda *given: waits.append(given[2])
        )
        futures = [pool.submit(insert, database, f"n{n}") for n in range(WRITERS)]
        errors = [future.exception(timeout=60) for future in futures]
        other.execute("ROLLBACK")
        other.close()
        assert all(isinstance(error, LedgerError) for error in errors)
        assert waits.count("BEGIN IMMEDIATE") < WRITERS
        insert(database, "later")
    assert "later" in names(url)
