"""The order of changes of items: an open page asks for the changes after a number."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Update, bindparam, func, select, update

from imagegen_pipeline.ledger.schema import items

_CHUNK = 500
_others = items.alias("others")
_NEXT = select(func.coalesce(func.max(_others.c.change_seq), 0) + 1).scalar_subquery()


@cache
def _recording(names: tuple[str, ...]) -> Update:
    """The statement for one item, compiled once."""
    values: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in names}
    return (
        update(items).where(items.c.key == bindparam("the_key")).values(change_seq=_NEXT, **values)
    )


def last_change_seq(connection: Connection) -> int:
    """The number of the newest change."""
    return connection.scalar(select(func.coalesce(func.max(items.c.change_seq), 0))) or 0


def record_change(connection: Connection, keys: Iterable[str], **values: Any) -> None:  # noqa: ANN401
    """Give items the next change number, and ``values``, in the current transaction."""
    wanted = list(keys)
    if len(wanted) == 1:  # nearly always
        connection.execute(_recording(tuple(values)), {"the_key": wanted[0], **values})
        return
    number = last_change_seq(connection) + 1
    for start in range(0, len(wanted), _CHUNK):
        here = items.c.key.in_(wanted[start : start + _CHUNK])
        connection.execute(update(items).where(here).values(change_seq=number, **values))
