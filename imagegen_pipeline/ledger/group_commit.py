"""One commit for the changes of many threads: SQLite has one writer, and waits for the disk.

A thread that finishes its changes while others wait for their turn leaves the commit to the
last of them, and goes on when that commit is on disk. So what a thread has written is durable
when its block ends, and the disk is flushed once a group.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError

LARGEST_GROUP = 64
"""Changes in one commit: none of them waits longer than that for its own."""
_LENGTH = 2
"""How many times as long as a commit takes a group may gather: on a quick disk nobody waits long
for the others, and on a slow one a third of the time at most goes into commits.
"""
_LOOK_SECONDS = 1.0


class _Group:
    """Changes that one commit will make durable."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.size = 0
        self.began = time.monotonic()
        self.error: SQLAlchemyError | None = None
        self.done = threading.Event()

    @property
    def stands(self) -> bool:
        """Whether the transaction is still open: a full disk makes SQLite roll it back."""
        try:
            driver = self.connection.connection.driver_connection
        except SQLAlchemyError:
            return False
        return bool(getattr(driver, "in_transaction", True))


class _Place:
    """A thread's place in the queue, left once."""

    def __init__(self, queue: GroupCommit) -> None:
        self._queue: GroupCommit | None = queue
        with queue.counting:
            queue.waiting += 1
            self.refused = queue.refused

    def leave(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            with queue.counting:
                queue.waiting -= 1


class GroupCommit:
    """Gives out one connection, turn by turn; each turn's changes stand or fall by themselves."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self.counting = threading.Lock()
        self.waiting = 0
        self._group: _Group | None = None
        self.commit_seconds = 0.0
        """What the last commit took."""
        self.refused = 0
        self._refusal: SQLAlchemyError | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Changes that are on disk when the block ends, or did not happen.

        An exception in the block undoes its own changes only.
        """
        place = _Place(self)
        try:
            # As a statement of its own: an interrupt cannot come between taking and giving back.
            with self._turn:
                place.leave()
                group = self._group or self._begin(place)
                try:
                    with group.connection.begin_nested():
                        yield group.connection
                finally:
                    group.size += 1
                    if self._is_last(group):
                        self._end(group)
        finally:
            place.leave()
        self._await(group)

    def _begin(self, place: _Place) -> _Group:
        if self.refused > place.refused and self._refusal is not None:
            # The database was locked for as long as one waits: hundreds do not wait in a row.
            raise self._refusal
        connection = self._engine.connect().execution_options(imagegen_writes=True)
        try:
            connection.begin()
        except BaseException as error:
            connection.close()
            if isinstance(error, SQLAlchemyError):
                self.refused, self._refusal = self.refused + 1, error
            raise
        self._group = _Group(connection)
        return self._group

    def _is_last(self, group: _Group) -> bool:
        if not group.stands or not self.waiting or group.size >= LARGEST_GROUP:
            return True
        return time.monotonic() - group.began > _LENGTH * self.commit_seconds

    def _end(self, group: _Group) -> None:
        self._group = None
        try:
            if not group.stands:  # the driver would commit nothing, and be content
                raise InvalidRequestError("SQLite rolled the whole transaction back")
            began = time.monotonic()
            group.connection.commit()
            self.commit_seconds = time.monotonic() - began
        except SQLAlchemyError as error:
            group.error = error
        except BaseException:
            group.error = InvalidRequestError("the commit was interrupted")
            raise
        finally:
            group.connection.close()
            group.done.set()

    def _await(self, group: _Group) -> None:
        while not group.done.wait(_LOOK_SECONDS):
            # Whoever was to have the next turn, and to commit, may have been interrupted.
            if self._turn.acquire(blocking=False):
                try:
                    if self._group is group:
                        self._end(group)
                finally:
                    self._turn.release()
        if group.error is not None:
            raise group.error
