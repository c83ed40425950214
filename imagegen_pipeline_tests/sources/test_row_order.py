"""Places and bounds sort as SQLite sorts the ids of rows, whatever their kinds."""

import random
import sqlite3
from contextlib import closing
from itertools import product

import pytest

from imagegen_pipeline.sources.row_order import (
    bound_at,
    bound_of,
    bound_of_key,
    parameter,
    place_of,
    row_stamp,
    stamps_between,
)
from imagegen_pipeline.sources.sqlite_file import StoredText

IDS = (
    *(None, 0, -5, 7, 70, 700, 2**63 - 1, -(2**63), 1.5, -0.5, 1e300, -1e300, float("inf")),
    *("a", "ab", "b", "A", "-", "_", "0", "00", "a-b", "aa", "9", "10", b"x", b""),
)
CONTENT = "f" * 32


@pytest.fixture
def bounds() -> list[str]:
    """The bounds of ids of every kind, in SQLite's own order."""
    shuffled = list(IDS)
    random.Random(7).shuffle(shuffled)  # noqa: S311 - chance, no secret
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = StoredText
        connection.execute("CREATE TABLE t (id)")
        connection.executemany("INSERT INTO t VALUES (?)", [(one,) for one in shuffled])
        rows = connection.execute("SELECT id FROM t ORDER BY id").fetchall()
        return [bound_of(stored) for (stored,) in rows]


def test_places_and_stamps_sort_as_the_ids_do(bounds: list[str]) -> None:
    """Sorting by place, or by stamp, is sorting by id."""
    places = [place_of(bound) for bound in bounds]
    assert places == sorted(places)
    stamps = [row_stamp(bound, CONTENT) for bound in bounds if bound[0] in "it"]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == len(stamps)


def test_a_range_of_ids_is_a_range_of_stamps(bounds: list[str]) -> None:
    """Between any two ids lie just the stamps of the rows between them, the last one included."""
    named = [(at, row_stamp(one, CONTENT)) for at, one in enumerate(bounds) if one[0] in "it"]
    ends = [(-1, None), *enumerate(bounds)]
    for (start, after), (stop, until) in product(ends, ends):
        from_, below = stamps_between(after, until)
        stop = len(bounds) if until is None else stop
        within = {at for at, stamp in named if stamp >= from_ and (below is None or stamp < below)}
        assert within == {at for at, _ in named if start < at <= stop}, (after, until)


def test_a_bound_is_told_from_a_stamp_and_given_back_to_sqlite(bounds: list[str]) -> None:
    """A stamp says which row it is of; a bound comes back from SQLite as it went in."""
    for bound in bounds:
        if bound[0] in "it":
            assert bound_at(row_stamp(bound, CONTENT)) == bound
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = StoredText
        for bound in (*bounds, "tff"):  # a text that is not UTF-8 too
            placeholder, value = parameter(bound)
            ((stored,),) = connection.execute(f"SELECT {placeholder}", (value,))
            assert bound_of(stored) == bound


def test_a_prompts_own_id_has_the_bound_of_its_row() -> None:
    """The id that a prompt keeps names the row that it was read from."""
    assert bound_of_key(-3) == bound_of(-3)
    assert bound_of_key("a_1") == bound_of(StoredText(b"a_1"))
