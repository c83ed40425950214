"""Connections and transactions: every write is durable when its block ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Float, cast, create_engine, event, func
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.ledger.group_commit import GroupCommit
from imagegen_pipeline.ledger.migrations import create_or_migrate
from imagegen_pipeline.ledger.network_fs import network_file_system

BUSY_SECONDS = 60
"""How long a process waits for another that writes; SQLite has one writer at a time."""
_CACHE_KIB = 512


class Database:
    """One engine; ``read()`` and ``write()`` are the only ways in."""

    def __init__(self, url: str) -> None:
        """Open ``url`` and create what is missing; raises LedgerError."""
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            # Their own words may repeat the address, which may hold a password.
            raise LedgerError("The ledger's address is not a SQLAlchemy URL.") from None
        self.shown = parsed.render_as_string(hide_password=True)
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        if self._is_sqlite and parsed.database:
            self._make_folder(Path(parsed.database).parent)
        try:
            self._engine = self._create_engine(url)
        except (SQLAlchemyError, ImportError) as error:
            raise LedgerError(f"The ledger at {self.shown} cannot be opened: {error}.") from error
        self._group = GroupCommit(self._engine) if self._is_sqlite else None
        try:
            with self.write() as connection:
                create_or_migrate(connection, self.shown)
        except LedgerError:
            self.close()
            raise

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"The ledger's folder {folder} cannot be made: {error}.") from error
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
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment and writes nothing."""
        with self._as_ledger_error(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable when the block ends, or did not happen."""
        with self._as_ledger_error():
            if self._group is None:
                with self._engine.begin() as connection:
                    yield connection
            else:
                with self._group.transaction() as connection:
                    yield connection

    @contextmanager
    def _as_ledger_error(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise LedgerError(f"The ledger at {self.shown} failed: {cause}.") from error

    def now(self) -> ColumnElement[float]:
        """The database's own clock, in seconds: the one that all processes share."""
        if self._is_sqlite:
            return (func.julianday("now") - 2440587.5) * 86400.0
        return cast(func.extract("epoch", func.clock_timestamp()), Float)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:  # noqa: ANN401 - DBAPI types
    # SQLAlchemy's begin event starts the transactions; the driver must not start its own.
    connection.isolation_level = None
    cursor = connection.cursor()
    (mode,) = cursor.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise LedgerError(
            f"SQLite cannot keep the ledger in WAL mode here (it says {mode!r}).",
            remedy="Name a file on an ordinary disk of this machine in IMAGEGEN_LEDGER_URL.",
        )
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    # Of a dozen connections each would come to hold 2 MB; what is not here the system has.
    cursor.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("imagegen_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
