"""Queries of the clean-up: which images may be archived, and which files the ledger needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection, Select, bindparam, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.requests import OPEN_STATES, Attempt, State
from imagegen_pipeline.ledger.attempt_queries import COLUMNS, to_attempt
from imagegen_pipeline.ledger.change_log import record_change
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.reviews import Verdict
from imagegen_pipeline.ledger.schema import attempts, items

_CHUNK = 500
_current_ids = select(items.c.current_attempt).where(items.c.current_attempt.is_not(None))
_is_current = attempts.c.id.in_(_current_ids)
_is_approved = attempts.c.verdict == str(Verdict.APPROVED)
_others = attempts.alias("others")
_is_archivable = (
    attempts.c.state == State.STORED,
    attempts.c.path.is_not(None),
    attempts.c.digest.is_not(None),
    or_(attempts.c.verdict.is_(None), ~_is_approved),
    ~_is_current,
    # No attempt of the item is in progress.
    attempts.c.item_key.not_in(select(_others.c.item_key).where(_others.c.state.in_(OPEN_STATES))),
)


class RetentionRepository:
    """The ``archive`` column of the ``attempts`` table, and what a clean-up may remove."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def archivable(self, *, before: float, after: int = 0, limit: int = 1000) -> list[Attempt]:
        """Attempts whose image may be archived: neither current nor approved.

        ``before`` limits the time they were stored (seconds since the epoch), ``after`` is the last
        attempt of the previous page; oldest first.
        """
        query = select(*COLUMNS).where(
            *_is_archivable, attempts.c.finished_at < before, attempts.c.id > after
        )
        return self._attempts(query.order_by(attempts.c.id).limit(limit))

    def set_archive(self, archives: Mapping[int, str], images: Sequence[Attempt]) -> None:
        """Record the archive of each attempt id, except of images that may not be archived now."""
        with self._database.write() as connection:
            ids = self._still_archivable(connection, images)
            if ids:
                statement = update(attempts).where(attempts.c.id == bindparam("attempt_id"))
                connection.execute(
                    statement.values(archive=bindparam("archive_path")),
                    [{"attempt_id": one, "archive_path": archives[one]} for one in ids],
                )
            record_change(connection, {one.item_key for one in images if one.id in set(ids)})

    def remove_archived(self, images: Sequence[Attempt], remove: Callable[[Attempt], None]) -> None:
        """Call ``remove`` for each image that has an archive and may still be archived.

        The rows are locked meanwhile, so that no image becomes current or approved.
        """
        by_id = {one.id: one for one in images}
        with self._database.write() as connection:
            for attempt_id in self._still_archivable(
                connection, images, attempts.c.archive.is_not(None)
            ):
                remove(by_id[attempt_id])

    def _still_archivable(
        self, connection: Connection, images: Sequence[Attempt], *more: ColumnElement[bool]
    ) -> list[int]:
        """The ids of the images that may be archived and have the same file, with locked rows."""
        files = {one.id: (one.path, one.digest) for one in images}
        query = (
            select(attempts.c.id, attempts.c.path, attempts.c.digest)
            .where(attempts.c.id.in_(files), *_is_archivable, *more)
            .order_by(attempts.c.id)
            .with_for_update(of=attempts)
        )
        rows = connection.execute(query)
        return [row.id for row in rows if (row.path, row.digest) == files[row.id]]

    def archived_and_needed(self) -> list[Attempt]:
        """Attempts whose image is in an archive and has become current or approved since."""
        query = select(*COLUMNS).where(
            attempts.c.archive.is_not(None), or_(_is_current, _is_approved)
        )
        return self._attempts(query.order_by(attempts.c.id))

    def archives(self) -> set[str]:
        """The archives that hold images, as the ledger writes their paths."""
        return self._values(select(attempts.c.archive).where(attempts.c.archive.is_not(None)))

    def folders(self) -> set[str]:
        """The folders of all attempts, as the ledger writes them."""
        return self._values(select(attempts.c.folder))

    def file_stems(self, folder: str) -> set[str]:
        """The file names, without suffixes, of all attempts in a folder, whatever their state."""
        return self._values(select(attempts.c.file_stem).where(attempts.c.folder == folder))

    def expected_stems(self, folder: str) -> set[str]:
        """The file names in a folder whose image may still be written to it: in progress, archived,
        current or approved.
        """
        is_expected = or_(
            attempts.c.archive.is_not(None),
            attempts.c.state.in_(OPEN_STATES),
            _is_current,
            _is_approved,
        )
        query = select(attempts.c.file_stem).where(attempts.c.folder == folder, is_expected)
        return self._values(query)

    def digests(self) -> set[str]:
        """The digests of all stored images."""
        return self._values(select(attempts.c.digest).where(attempts.c.digest.is_not(None)))

    def states(self, attempt_ids: Iterable[int]) -> dict[int, tuple[State, str]]:
        """The state and the sent fingerprint of each of these attempts."""
        ids = list(attempt_ids)
        found: dict[int, tuple[State, str]] = {}
        query = select(attempts.c.id, attempts.c.state, attempts.c.sent_fingerprint)
        with self._database.read() as connection:
            for start in range(0, len(ids), _CHUNK):
                chunk = attempts.c.id.in_(ids[start : start + _CHUNK])
                for row in connection.execute(query.where(chunk)):
                    found[row.id] = (State(row.state), row.sent_fingerprint)
        return found

    def _values(self, query: Select[tuple[str]]) -> set[str]:
        with self._database.read() as connection:
            return set(connection.scalars(query.distinct()))

    def _attempts(self, query: Select[tuple[object, ...]]) -> list[Attempt]:
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]
