"""A part of the table in numbers: made when it is written, and kept beside it.

A refresh that had to read a million rows to count them would take longer with each picture. What
is kept (``_part-000000.sums``) says which file it is of and has a checksum: when it is missing,
torn, or of another file, it is made again from the part, so nothing hangs on it.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.results.dataset_state import Stamp, stamp_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

READ = (
    *("attempt", "state", "provider", "model", "error_kind", "shared_from", "cost", "seconds"),
    *("created_at", "submitted_at", "finished_at"),
)
"""The columns of the table that are added up."""
SUMS_FILES = "_part-*.sums"
"""Readers of Parquet folders skip what begins with an underscore."""
_STATES = {
    "failed": (State.FAILED, State.EXPIRED),
    "unknown": (State.UNKNOWN,),
    "held": (State.HELD,),
}
_GROUPS = ("attempt", "state", "provider", "model", "error_kind", "shared", "priced", "paid", "new")
_DAY_SECONDS = 86_400
_VERSION = 1
"""To be raised when what is kept changes its form or its meaning."""


@dataclass(frozen=True, slots=True)
class PartSums:
    """``groups`` are the part's attempts, those that count alike together: how many (``count_all``)
    and what they cost (``cost_sum``). ``day`` is the newest UTC day (since the epoch) on which one
    was sent, and ``new`` says of a group that it was sent on that day.

    ``is_settled``: no later day, which would be another's tomorrow, was counted as ``day``.
    ``ended`` are the moments (seconds since the epoch) of each outcome, ``seconds`` how long each
    picture that was made took, by service.
    """

    day: int | None
    groups: Sequence[Mapping[str, Any]]
    ended: Mapping[str, np.ndarray]
    seconds: Mapping[str, np.ndarray]
    is_settled: bool = True


def today() -> int:
    """The UTC day, since the epoch."""
    return int(time.time() // _DAY_SECONDS)


def sums_of(table: pa.Table, this_day: int) -> PartSums:
    """Add up a part that has the columns ``READ``. What was sent later than ``this_day`` (a clock
    was wrong) counts as of this day.
    """
    import pyarrow.compute as pc

    sent = pc.cast(_when(table, "submitted_at"), "int64")
    days = pc.divide(sent, 1000 * _DAY_SECONDS)
    newest = pc.max(days).as_py()
    days = pc.min_element_wise(days, this_day, skip_nulls=False)
    day = pc.max(days).as_py()
    groups = _groups(table, pc.equal(days, day))
    return PartSums(day, groups, _ended(table), _seconds(table), is_settled=newest == day)


def keep_sums(part: Path, sums: PartSums) -> None:
    """Write down what the file ``part`` adds up to, unless that is not settled; raises OSError."""
    if not sums.is_settled:
        return
    head = {
        "version": _VERSION,
        "part": stamp_of(part),
        "day": sums.day,
        "groups": sums.groups,
        "ended": {name: len(numbers) for name, numbers in sums.ended.items()},
        "seconds": {name: len(numbers) for name, numbers in sums.seconds.items()},
    }
    arrays = [
        *(numbers.astype("<i8").tobytes() for numbers in sums.ended.values()),
        *(numbers.astype("<f8").tobytes() for numbers in sums.seconds.values()),
    ]
    data = b"\n".join((json.dumps(head).encode(), b"".join(arrays)))
    sums_file(part).write_bytes(b"%08x\n" % zlib.crc32(data) + data)


def kept_sums(part: Path, stamp: Stamp | None, this_day: int) -> PartSums | None:
    """What was kept of the file ``part``; None when it has to be added up again."""
    try:
        data = sums_file(part).read_bytes()
        if int(data[:8], 16) != zlib.crc32(memoryview(data)[9:]):
            return None
        line = data[9 : data.index(b"\n", 9)]
        head = json.loads(line)
    except (OSError, ValueError):
        return None
    arrays = memoryview(data)[9 + len(line) + 1 :]
    if head["version"] != _VERSION or stamp is None or head["part"] != list(stamp):
        return None
    if head["day"] is not None and head["day"] > this_day:
        return None  # the clock went back
    split = 8 * sum(head["ended"].values())
    ended = dict(_arrays(arrays[:split], head["ended"], "<i8"))
    seconds = dict(_arrays(arrays[split:], head["seconds"], "<f8"))
    return PartSums(head["day"], head["groups"], ended, seconds)


def sums_file(part: Path) -> Path:
    """Where the sums of a part are kept."""
    return part.with_name(f"_{part.stem}.sums")


def _arrays(
    data: memoryview, lengths: Mapping[str, int], kind: str
) -> Iterator[tuple[str, np.ndarray]]:
    import numpy as np

    numbers = np.frombuffer(data, kind)
    for name, (first, last) in zip(
        lengths, pairwise(accumulate(lengths.values(), initial=0)), strict=True
    ):
        yield name, numbers[first:last]


def _groups(table: pa.Table, new: pa.ChunkedArray) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {
        "attempt": pc.is_valid(table["attempt"]),
        **{name: table[name] for name in ("state", "provider", "model", "error_kind", "cost")},
        "shared": pc.is_valid(table["shared_from"]),
        "priced": pc.is_valid(table["cost"]),
        "paid": pc.fill_null(pc.greater(table["cost"], 0.0), False),
        "new": pc.fill_null(new, False),
    }
    grouped = (
        pa.table(columns).group_by(list(_GROUPS)).aggregate([([], "count_all"), ("cost", "sum")])
    )
    rows: list[dict[str, Any]] = grouped.to_pylist()
    return rows


def _ended(table: pa.Table) -> dict[str, np.ndarray]:
    import pyarrow.compute as pc

    stored = pc.equal(table["state"], State.STORED)
    masks = {"made": _made(table), "shared": pc.and_(stored, pc.is_valid(table["shared_from"]))}
    for outcome, states in _STATES.items():
        masks[outcome] = pc.is_in(table["state"], value_set=_texts(states))
    moments = pc.divide(pc.cast(_when(table, "finished_at"), "int64"), 1000)
    return {outcome: _numbers(moments.filter(mask)) for outcome, mask in masks.items()}


def _seconds(table: pa.Table) -> dict[str, np.ndarray]:
    import pyarrow.compute as pc

    made = _made(table)
    providers = pc.unique(table["provider"].filter(made)).to_pylist()
    masks = {name: pc.and_(made, pc.equal(table["provider"], name)) for name in providers}
    return {name: _numbers(table["seconds"].filter(mask)) for name, mask in masks.items()}


def _made(table: pa.Table) -> pa.ChunkedArray:
    """Stored, and not shared."""
    import pyarrow.compute as pc

    return pc.and_(pc.equal(table["state"], State.STORED), pc.is_null(table["shared_from"]))


def _when(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A moment of each attempt; where it has none, the one before."""
    import pyarrow.compute as pc

    return pc.coalesce(table[name], table["submitted_at"], table["created_at"])


def _texts(values: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array([str(value) for value in values])


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    numbers: np.ndarray = column.drop_null().to_numpy()
    return numbers
