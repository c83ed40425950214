"""Many threads, one commit: each change stands or falls by itself, and all are on disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import event

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger import database as ledger_database
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline_tests.conftest import until

WRITERS = 12


class Held:
    """Another program in the middle of a write, so that ours have to queue."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(
            url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
        )
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


def insert(database: Database, name: str) -> None:
    """One small change."""
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO about VALUES (?, 'x')", (name,))


def slow_down(database: Database) -> None:
    """Let it be known that a commit takes a minute here."""
    assert database._group is not None
    database._group.commit_seconds = 60.0


def names(url: str) -> set[str]:
    """What a program that comes later finds."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM about")}


def write_at_once(
    database: Database, url: str, works: list[Callable[[], None]]
) -> tuple[list[Future[None]], int]:
    """All works in threads of their own, queued behind another program; counts the commits."""
    commits: list[object] = []
    event.listen(database._engine, "commit", commits.append)
    other, started = Held(url), threading.Semaphore(0)

    def begin(work: Callable[[], None]) -> None:
        started.release()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(begin, work) for work in works]
        for _ in works:
            started.acquire()
        until(lambda: database._group is not None and database._group.waiting == len(works) - 1)
        other.release()
    return futures, len(commits)


def test_writers_that_wait_share_a_commit(url: str) -> None:
    """Twelve threads that queue for SQLite's one writer cost one flush of a disk that is slow."""
    with closing(Database(url)) as database:
        slow_down(database)
        works = [lambda n=n: insert(database, f"n{n}") for n in range(WRITERS)]
        futures, commits = write_at_once(database, url, works)
        assert [future.exception() for future in futures] == [None] * WRITERS
        assert commits == 1
        assert names(url) >= {f"n{n}" for n in range(WRITERS)}


def test_nobody_waits_long_for_a_quick_disk(url: str) -> None:
    """Where a commit takes no time, a group ends as soon as it has gathered for so long."""
    with closing(Database(url)) as database:
        assert database._group is not None
        database._group.commit_seconds = 0.0
        works = [lambda n=n: insert(database, f"n{n}") for n in range(WRITERS)]
        futures, commits = write_at_once(database, url, works)
        assert [future.exception() for future in futures] == [None] * WRITERS
        assert commits > 1


def test_one_that_fails_undoes_only_its_own(url: str) -> None:
    """Of writers in one commit, those that raise leave nothing and the others stand."""

    def failing(database: Database, name: str) -> None:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO about VALUES (?, 'x')", (name,))
            raise RuntimeError(name)

    with closing(Database(url)) as database:
        works: list[Callable[[], None]] = []
        for n in range(WRITERS):
            work = failing if n % 3 == 0 else insert
            works.append(lambda n=n, work=work: work(database, f"n{n}"))
        futures, _ = write_at_once(database, url, works)
        failed = {n for n, future in enumerate(futures) if future.exception()}
        assert failed == set(range(0, WRITERS, 3))
        made = {f"n{n}" for n in range(WRITERS) if n % 3}
        assert names(url) & {f"n{n}" for n in range(WRITERS)} == made


def test_what_a_writer_was_told_is_on_disk(url: str) -> None:
    """When a block has ended, another program sees its change, whoever committed it."""
    missing: list[str] = []

    def insert_and_look(database: Database, name: str) -> None:
        insert(database, name)
        if name not in names(url):
            missing.append(name)

    with closing(Database(url)) as database, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: insert_and_look(database, f"n{n}"), range(100)))
    assert not missing


def test_a_commit_that_its_thread_never_made_is_made_by_another(url: str) -> None:
    """A writer that waits for a commit makes it itself if the one who was to do so is gone."""
    with closing(Database(url)) as database:
        group = database._group
        assert group is not None
        group.waiting = 1  # as if a thread had been interrupted while it queued
        writer = threading.Thread(target=insert, args=(database, "left"))
        writer.start()
        writer.join(timeout=30)
        assert not writer.is_alive()
        assert "left" in names(url)
        group.waiting = 0


def test_a_lost_transaction_is_told_to_everyone_in_it(url: str) -> None:
    """When SQLite itself rolls a shared transaction back, no writer believes that it stands."""

    def rolled_back(database: Database) -> None:
        with database.write() as connection:
            connection.exec_driver_sql("ROLLBACK")  # as a full disk makes it do by itself

    with closing(Database(url)) as database:
        works = [lambda n=n: insert(database, f"n{n}") for n in range(WRITERS - 1)]
        futures, _ = write_at_once(database, url, [*works, lambda: rolled_back(database)])
        told = {f"n{n}" for n, future in enumerate(futures[:-1]) if future.exception() is None}
        assert futures[-1].exception() is not None
        assert told == names(url) & {f"n{n}" for n in range(WRITERS)}


def test_a_locked_ledger_is_waited_for_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve threads that queue behind a lock that is never given back all fail together, and
    the next write after it goes through.
    """
    monkeypatch.setattr(ledger_database, "BUSY_SECONDS", 0.3)
    with closing(Database(url)) as database, ThreadPoolExecutor(WRITERS) as pool:
        other = Held(url)
        begun: list[object] = []
        event.listen(database._engine, "begin", begun.append)
        futures = [pool.submit(insert, database, f"n{n}") for n in range(WRITERS)]
        errors = [future.exception(timeout=60) for future in futures]
        other.release()
        assert all(isinstance(error, LedgerError) for error in errors)
        assert len(begun) < WRITERS
        insert(database, "later")
        assert "later" in names(url)


@pytest.mark.parametrize("writers", [1, 70])
def test_every_writer_gets_its_turn(url: str, writers: int) -> None:
    """More writers than one commit takes are served too."""
    with closing(Database(url)) as database, ThreadPoolExecutor(writers) as pool:
        list(pool.map(lambda n: insert(database, f"n{n}"), range(writers * 2)))
    assert len(names(url)) >= writers * 2
