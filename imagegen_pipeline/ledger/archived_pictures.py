"""Which pictures may be put away, and where those lie that were.

Never one that is its item's current picture or is approved: both are asked again in the very
transaction that lets it go, so that what a person has decided meanwhile counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.requests import OPEN_STATES, Attempt, State
from imagegen_pipeline.ledger.attempt_queries import COLUMNS, to_attempt
from imagegen_pipeline.ledger.change_log import record_change
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.reviews import Verdict
from imagegen_pipeline.ledger.schema import attempts, items

_CHUNK = 500
_current_ids = select(items.c.current_attempt).where(items.c.current_attempt.is_not(None))
_approved = attempts.c.verdict == str(Verdict.APPROVED)


def _may_go() -> tuple[ColumnElement[bool], ...]:
    """A stored picture that nobody needs at its place: neither current nor approved, and nothing
    is under way for its item.
    """
    others = attempts.alias("others")
    busy = select(others.c.item_key).where(others.c.state.in_(OPEN_STATES))
    return (
        attempts.c.state == State.STORED,
        attempts.c.path.is_not(None),
        attempts.c.digest.is_not(None),
        or_(attempts.c.verdict.is_(None), ~_approved),
        attempts.c.id.not_in(_current_ids),
        attempts.c.item_key.not_in(busy),
    )


class ArchivedPictureRepository:
    """The ``archive`` column of the ``attempts`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def may_go(self, *, before: float, after: int = 0, limit: int = 1000) -> list[Attempt]:
        """Pictures that were stored ``before`` a moment (seconds since the epoch) and may be put
        away, from behind the attempt ``after``, oldest first.
        """
        query = (
            select(*COLUMNS)
            .where(*_may_go(), attempts.c.finished_at < before, attempts.c.id > after)
            .order_by(attempts.c.id)
            .limit(limit)
        )
        return self._read(query)

    def put(self, pictures: Sequence[Attempt], archive: str) -> list[int]:
        """Write down that ``archive`` holds these pictures; returns the ids of those that may
        still be put away: of the others nothing is written.
        """
        with self._database.write() as connection:
            here = self._still(connection, pictures)
            for start in range(0, len(here), _CHUNK):
                part = attempts.c.id.in_(here[start : start + _CHUNK])
                connection.execute(update(attempts).where(part).values(archive=archive))
            stored = set(here)
            record_change(connection, {one.item_key for one in pictures if one.id in stored})
        return here

    def let_go(self, pictures: Sequence[Attempt], remove: Callable[[Attempt], None]) -> list[int]:
        """Call ``remove`` for each picture that an archive holds and that may still be put away,
        while nobody can change that; returns their ids.
        """
        by_id = {one.id: one for one in pictures}
        with self._database.write() as connection:
            here = self._still(connection, pictures, attempts.c.archive.is_not(None))
            for attempt_id in here:
                remove(by_id[attempt_id])
        return here

    def _still(
        self, connection: Connection, pictures: Sequence[Attempt], *more: ColumnElement[bool]
    ) -> list[int]:
        """Which of the pictures may go, their rows locked until the transaction ends."""
        paths = {one.id: (one.path, one.digest) for one in pictures}
        wanted = list(paths)
        found: list[int] = []
        columns = (attempts.c.id, attempts.c.path, attempts.c.digest)
        for start in range(0, len(wanted), _CHUNK):
            part = attempts.c.id.in_(wanted[start : start + _CHUNK])
            query = select(*columns).where(part, *_may_go(), *more).order_by(attempts.c.id)
            rows = connection.execute(query.with_for_update(of=attempts))
            found += [row.id for row in rows if (row.path, row.digest) == paths[row.id]]
        return found

    def wanted_back(self) -> list[Attempt]:
        """Pictures that were put away and have become current or approved since."""
        is_wanted = or_(attempts.c.id.in_(_current_ids), _approved)
        query = (
            select(*COLUMNS)
            .where(attempts.c.archive.is_not(None), is_wanted)
            .order_by(attempts.c.id)
        )
        return self._read(query)

    def archives(self) -> list[str]:
        """The archives that hold pictures, as the ledger writes their paths."""
        query = select(attempts.c.archive).where(attempts.c.archive.is_not(None)).distinct()
        with self._database.read() as connection:
            return sorted(connection.scalars(query))

    def folders(self) -> list[str]:
        """The folders that attempts have names in, as the ledger writes them."""
        query = select(attempts.c.folder).distinct().order_by(attempts.c.folder)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def names(self, folder: str) -> set[str]:
        """The names that attempts have in a folder, without suffixes, whatever became of them."""
        query = select(attempts.c.file_stem).where(attempts.c.folder == folder)
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def awaited(self, folder: str) -> set[str]:
        """The names in a folder of pictures that may come (back) to it: under way, put away,
        current or approved.
        """
        may_come = or_(
            attempts.c.archive.is_not(None),
            attempts.c.state.in_(OPEN_STATES),
            attempts.c.id.in_(_current_ids),
            _approved,
        )
        query = select(attempts.c.file_stem).where(attempts.c.folder == folder, may_come)
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def digests(self) -> set[str]:
        """The digests of all pictures that were stored."""
        query = select(attempts.c.digest).where(attempts.c.digest.is_not(None)).distinct()
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def states(self, attempt_ids: Iterable[int]) -> dict[int, tuple[State, str]]:
        """The state and the fingerprint of what was sent of these attempts."""
        wanted = list(attempt_ids)
        found: dict[int, tuple[State, str]] = {}
        columns = (attempts.c.id, attempts.c.state, attempts.c.sent_fingerprint)
        with self._database.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                part = attempts.c.id.in_(wanted[start : start + _CHUNK])
                for row in connection.execute(select(*columns).where(part)):
                    found[row.id] = (State(row.state), row.sent_fingerprint)
        return found

    def _read(self, query: Any) -> list[Attempt]:  # noqa: ANN401 - SQLAlchemy's select
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]
