"""Reviews of images (approved, rejected), and the choice of an item's current image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select, update

from imagegen_pipeline.domain.errors import DecisionError
from imagegen_pipeline.domain.requests import Attempt, State
from imagegen_pipeline.ledger.attempt_queries import COLUMNS, to_attempt
from imagegen_pipeline.ledger.change_log import record_change
from imagegen_pipeline.ledger.database import Database
from imagegen_pipeline.ledger.schema import attempts, reuses

_CHUNK = 500


class Verdict(StrEnum):
    """The review of one image, not of its item: the next image is not reviewed. ``none`` takes a
    review back.
    """

    APPROVED = "approved"
    REJECTED = "rejected"
    NONE = "none"


class ReviewRepository:
    """The reviews in the ``attempts`` table, and the count of reused images."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def decide(self, attempt_ids: Sequence[int], verdict: Verdict) -> int:
        """Review these images at this moment; returns how many reviews changed.

        Raises DecisionError, and changes nothing, when one of them has no stored image.
        """
        review = None if verdict is Verdict.NONE else str(verdict)
        with self._database.write() as connection:
            pictures = self._pictures(connection, attempt_ids)
            changed = [one for one in pictures if one.verdict != review]
            moment = None if review is None else time.time()
            for start in range(0, len(changed), _CHUNK):
                ids = [one.id for one in changed[start : start + _CHUNK]]
                connection.execute(
                    update(attempts)
                    .where(attempts.c.id.in_(ids))
                    .values(verdict=review, verdict_at=moment)
                )
            record_change(connection, dict.fromkeys(one.item_key for one in changed))
        return len(changed)

    def make_current(self, attempt_id: int) -> Attempt:
        """Make this image its item's current one again, not yet reported to Dagster.

        Raises DecisionError when it has no stored image.
        """
        with self._database.write() as connection:
            (picture,) = self._pictures(connection, [attempt_id])
            here = attempts.c.id == attempt_id
            connection.execute(update(attempts).where(here).values(reported=False))
            record_change(connection, [picture.item_key], current_attempt=attempt_id)
            return to_attempt(connection.execute(select(*COLUMNS).where(here)).one())

    def _pictures(self, connection: Connection, attempt_ids: Sequence[int]) -> list[Any]:
        """``id``, ``item_key`` and ``verdict`` of each, in one query: thousands would block other
        writers.
        """
        wanted = list(dict.fromkeys(attempt_ids))
        found: list[Any] = []
        columns = (attempts.c.id, attempts.c.item_key, attempts.c.verdict)
        for start in range(0, len(wanted), _CHUNK):
            part = attempts.c.id.in_(wanted[start : start + _CHUNK])
            query = select(*columns).where(part, attempts.c.state == State.STORED)
            found += connection.execute(query).all()
        missing = set(wanted) - {one.id for one in found}
        if missing:
            raise DecisionError(
                f"Attempt {min(missing)} has no picture to decide on.",
                remedy="Reload the page and decide on what it shows now.",
            )
        return found

    def count_reuse(self, pictures: int) -> None:
        """Add to the day's (UTC) count of images that were reused at no cost."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        with self._database.write() as connection:
            here = reuses.c.day == day
            added = connection.execute(
                update(reuses).where(here).values(pictures=reuses.c.pictures + pictures)
            )
            if added.rowcount == 0:
                connection.execute(reuses.insert().values(day=day, pictures=pictures))
