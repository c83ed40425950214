"""What was made and spent, over all attempts: counted in indexes, where a million take 30 ms."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, func, select
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger.admission import money_today
from imagegen_pipeline.ledger.schema import attempts, reuses

FAILED = (State.FAILED, State.UNKNOWN, State.EXPIRED)
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Count:
    """A number in all, and of today (UTC)."""

    all: int
    today: int


@dataclass(frozen=True, slots=True)
class GalleryStats:
    """Pictures made, shared, reused, and attempts that failed; money of today that is spent, and
    that is set aside for what is under way; how many of today's pictures have no known price.
    """

    made: Count
    shared: Count
    reused: Count
    failed: Count
    spent_today: float
    reserved_today: float
    unpriced_today: int


def gallery_stats(connection: Connection, now: float) -> GalleryStats:
    """The totals at ``now`` (seconds since the epoch). Each count is answered by an index alone,
    which "stored, and not shared" would not be; only today's pictures are read, for their prices.
    """
    midnight = now - now % _DAY
    of_today = attempts.c.finished_at >= midnight
    is_stored = attempts.c.state == State.STORED
    is_shared = attempts.c.shared_from.is_not(None)

    def count(*rows: ColumnElement[bool]) -> Count:
        ever, today = (_number(connection, *rows, *more) for more in ((), (of_today,)))
        return Count(ever, today)

    stored, shared = count(is_stored), count(is_stored, is_shared)
    is_unpriced = attempts.c.cost.is_(None)
    spent, aside = money_today(connection, now)
    return GalleryStats(
        # Where a database answers each question anew, one may be shared in between.
        made=Count(max(0, stored.all - shared.all), max(0, stored.today - shared.today)),
        shared=shared,
        reused=_reused(connection, midnight),
        failed=count(attempts.c.state.in_(FAILED)),
        spent_today=spent,
        reserved_today=aside,
        unpriced_today=_number(connection, is_stored, ~is_shared, of_today, is_unpriced),
    )


def _number(connection: Connection, *rows: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(attempts).where(*rows)) or 0


def _reused(connection: Connection, midnight: float) -> Count:
    day = time.strftime("%Y-%m-%d", time.gmtime(midnight))
    today = connection.scalar(select(reuses.c.pictures).where(reuses.c.day == day))
    ever = connection.scalar(select(func.sum(reuses.c.pictures)))
    return Count(ever or 0, today or 0)
