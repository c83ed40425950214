"""The order in which things happened to items: what a page that is open asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, select, update

from imagegen_pipeline.ledger.schema import items

_CHUNK = 500


def last_touched(connection: Connection) -> int:
    """The number of the newest change."""
    return connection.scalar(select(func.coalesce(func.max(items.c.touched), 0))) or 0


def touch(connection: Connection, keys: Iterable[str], **values: Any) -> None:  # noqa: ANN401
    """Give items the next number, and ``values``, in the transaction that changed something."""
    number = last_touched(connection) + 1
    wanted = list(keys)
    for start in range(0, len(wanted), _CHUNK):
        here = wanted[start : start + _CHUNK]
        # Nearly always it is one, for which SQLAlchemy has no list to write into the statement.
        which = items.c.key == here[0] if len(here) == 1 else items.c.key.in_(here)
        connection.execute(update(items).where(which).values(touched=number, **values))
