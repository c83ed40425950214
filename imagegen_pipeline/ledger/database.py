"""Connections and transactions. A write is durable when its block ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Float, cast, create_engine, event, func
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger.migrations import create_or_migrate, has_current_version
from imagegen_pipeline.ledger.network_fs import network_file_system

BUSY_SECONDS = 60
"""How long a write waits for another process that writes: SQLite has one writer at a time."""
_CACHE_KIB = 512


class Database:
    """One engine; all access is through ``read()`` and ``write()``."""

    def __init__(self, url: str) -> None:
        """Open ``url`` and create what is missing; raises LedgerError."""
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            # Their message may repeat the address, which may hold a password.
            raise LedgerError("The ledger's address is not a SQLAlchemy URL.") from None
        self.display_url = parsed.render_as_string(hide_password=True)
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        if self._is_sqlite and parsed.database:
            self._make_folder(Path(parsed.database).parent)
        try:
            self._engine = self._create_engine(url)
        except (SQLAlchemyError, ImportError) as error:
            raise LedgerError(
                f"The ledger at {self.display_url} cannot be opened: {error}."
            ) from error
        self._writing = threading.Lock()
        self._refused_at = 0.0
        try:
            with self.read() as connection:
                is_current = has_current_version(connection)
            if not is_current:
                with self.write() as connection:
                    create_or_migrate(connection, self.display_url)
        except LedgerError:
            self.close()
            raise

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"The ledger's folder {folder} cannot be created: {error}."
            ) from error
        network = network_file_system(folder)
        if network is not None:
            raise LedgerError(
                f"The ledger's folder {folder} lies on a network file system ({network}), where "
                "SQLite's locks do not hold: two processes could buy the same picture.",
                remedy="Name a file on a disk of this machine in IMAGEGEN_LEDGER_URL; the "
                "pictures may stay where they are.",
            )

    def _create_engine(self, url: str) -> Engine:
        if not self._is_sqlite:
            return create_engine(
                url, hide_parameters=True, pool_pre_ping=True, pool_size=8, max_overflow=64
            )
        engine = create_engine(
            url,
            hide_parameters=True,
            connect_args={"timeout": BUSY_SECONDS},
            pool_size=8,
            max_overflow=512,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one snapshot and writes nothing."""
        try:
            with self._engine.connect() as connection:
                if self._is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                yield connection
        except SQLAlchemyError as error:
            raise self._as_ledger_error(error) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable when the block ends, or did not happen.

        The threads of this process take turns: SQLite's own wait for its one writer is unfair.
        """
        asked = time.monotonic()
        try:
            if not self._is_sqlite:
                with self._engine.begin() as connection:
                    yield connection
                return
            with self._writing, self._engine.begin() as connection:
                self._begin_sqlite(connection, asked)
                yield connection
                if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
                    # A full disk makes SQLite roll back; the driver would then commit nothing.
                    raise LedgerError(f"The ledger at {self.display_url} lost a transaction.")
        except SQLAlchemyError as error:
            raise self._as_ledger_error(error) from error

    def _begin_sqlite(self, connection: Connection, asked: float) -> None:
        """Become SQLite's writer. ``asked`` is when this thread began to wait."""
        if asked < self._refused_at:  # another thread waited meanwhile, and in vain
            raise LedgerError(f"The ledger at {self.display_url} failed: database is locked.")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except SQLAlchemyError:
            self._refused_at = time.monotonic()
            raise

    def _as_ledger_error(self, error: SQLAlchemyError) -> LedgerError:
        cause = getattr(error, "orig", None) or error
        return LedgerError(f"The ledger at {self.display_url} failed: {cause}.")

    def now(self) -> ColumnElement[float]:
        """The database's clock, which all processes share, in seconds since the epoch."""
        if self._is_sqlite:
            return (func.julianday("now") - 2440587.5) * 86400.0
        return cast(func.extract("epoch", func.clock_timestamp()), Float)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:  # noqa: ANN401 - DBAPI types
    # ``Database`` begins the transactions; the driver must not begin its own.
    connection.isolation_level = None
    cursor = connection.cursor()
    (mode,) = cursor.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise LedgerError(
            f"SQLite cannot use WAL mode for the ledger here (it reports {mode!r}).",
            remedy="Name a file on an ordinary disk of this machine in IMAGEGEN_LEDGER_URL.",
        )
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    # Each of a dozen connections would come to hold 2 MB; the system caches the file anyway.
    cursor.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    cursor.close()
