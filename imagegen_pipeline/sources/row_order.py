"""The order of a database's rows: bounds to read from, and places that sort as SQLite does.

SQLite sorts ids by kind (none, numbers, texts, blobs) and then by value, texts by their bytes.
A *bound* is an id written as text, to be stored and bound again with its own kind. A *place* is a
text that sorts, in any database and language, as the ids do. It stands at the front of a row's
stamp in the ledger, so that a range of ids there is a range of stamps.
"""

from __future__ import annotations

import math

from imagegen_pipeline.sources.sqlite_file import StoredText

NONE = "n"
"""The bound behind all rows without id."""
_LEAST = -(2**63)
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_ROW, _BEHIND = "0", "1"
"""After a place: its own row's stamp, and what comes before every later place. Digits sort before
the letters by which a longer text goes on.
"""


def bound_of(stored: object) -> str:
    """An id, as SQLite gave it, as a bound."""
    match stored:
        case None:
            return NONE
        case int():
            return f"i{stored}"
        case float():
            return f"r{stored.hex()}"
        case StoredText():
            return f"t{stored.hex()}"
        case bytes():
            return f"b{stored.hex()}"
    raise TypeError(f"SQLite has no {type(stored).__name__}")


def bound_of_key(row_id: int | str) -> str:
    """The bound of a prompt's row."""
    return f"i{row_id}" if isinstance(row_id, int) else f"t{row_id.encode().hex()}"


def parameter(bound: str) -> tuple[str, int | float | str | bytes | None]:
    """The id of a bound in a statement: its placeholder and its value."""
    kind, value = bound[0], bound[1:]
    match kind:
        case "i":
            return "?", int(value)
        case "r":
            return "?", float.fromhex(value)
        case "t":
            stored = bytes.fromhex(value)
            try:
                return "?", stored.decode()
            except UnicodeDecodeError:
                return "CAST(? AS TEXT)", stored
        case "b":
            return "?", bytes.fromhex(value)
    return "?", None


def place_of(bound: str) -> str:
    """Where the row of that id sorts. Only whole numbers and texts have a place of their own;
    others, which cannot name a picture, share that of the whole number below, or stand at an end.
    """
    kind, value = bound[0], bound[1:]
    match kind:
        case "i":
            return _number(int(value))
        case "r":
            return _fraction(float.fromhex(value))
        case "t":
            return "t" + value.translate(_LETTERS)
        case "b":
            return "u"
    return ""


def _fraction(value: float) -> str:
    if value < _LEAST:
        return "h"
    return _number(math.floor(value) if value < -_LEAST else -_LEAST - 1)


def _number(value: int) -> str:
    return f"i{value - _LEAST:020d}"


def bound_at(stamp: str) -> str:
    """The bound of the row that has this stamp."""
    place = stamp[: stamp.index(_ROW)] if stamp[0] == "t" else stamp[:21]
    if place[0] == "t":
        back = {after: before for before, after in _LETTERS.items()}
        return "t" + place[1:].translate(back)
    return f"i{int(place[1:]) + _LEAST}"


def row_stamp(bound: str, content: str) -> str:
    """The stamp of a row whose content has the stamp ``content``."""
    return f"{place_of(bound)}{_ROW}{content}"


def stamps_between(after: str | None, end: str | None) -> tuple[str, str | None]:
    """The stamps of the rows behind one bound and up to another: from, and below."""
    return (
        "" if after is None else place_of(after) + _BEHIND,
        None if end is None else place_of(end) + _BEHIND,
    )
