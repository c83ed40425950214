"""What the parts of the table add up to is kept, so that the table need not be read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from imagegen_pipeline.ledger import Ledger, Verdict
from imagegen_pipeline.results import dataset, refresh, refresh_results
from imagegen_pipeline.results.part_sums import READ, sums_file, sums_of
from imagegen_pipeline.results.statistics import Statistics, statistics_of
from imagegen_pipeline_tests.results.conftest import add_picture, refreshed
from imagegen_pipeline_tests.results.test_dataset import spoil_part


@pytest.fixture
def nothing_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """No part is read only to see whether it reads."""
    monkeypatch.setattr(dataset, "LOOKED_AT", 0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that are read."""
    names: list[str] = []
    read = dataset.read_part

    def noting(file: Path, *columns: object) -> object:
        names.append(file.name)
        return read(file, *columns)  # type: ignore[arg-type]

    monkeypatch.setattr(dataset, "read_part", noting)
    return iter([names])


def counted(folder: Path, this_day: int) -> Statistics:
    """The numbers of the table as its files have it."""
    tables = [dataset.read_part(file, READ) for file in dataset.part_files(folder)]
    return statistics_of([sums_of(table, this_day) for table in tables], this_day)


def same(one: Statistics, other: Statistics) -> bool:
    """Whether all numbers are."""
    return all(
        np.array_equal(getattr(one, name)[key], getattr(other, name)[key])
        for name in ("ended", "seconds")
        for key in getattr(other, name)
    ) and all(
        getattr(one, name) == getattr(other, name)
        for name in ("rows", "states", "outcomes", "cost", "cost_today", "unpriced", "models")
    )


@pytest.mark.usefixtures("nothing_looked_at")
def test_only_what_has_changed_is_read(
    ledger: Ledger, folder: Path, reads: Iterator[list[str]]
) -> None:
    """The numbers are those of the whole table, though a part that stays as it is is not read."""
    (names,) = reads
    refreshed(ledger, folder)
    refreshed(ledger, folder)
    assert names == []
    ledger.reviews.decide([4], Verdict.REJECTED)
    add_picture(ledger, "g")
    numbers = refresh_results(ledger, folder)
    assert names == ["part-000001.parquet", "part-000002.parquet"]
    assert same(numbers, counted(folder, refresh.today()))


def delete(file: Path) -> None:
    """It is gone."""
    file.unlink()


def cut(file: Path) -> None:
    """Half of it was written."""
    file.write_bytes(file.read_bytes()[:-20])


def spoil(file: Path) -> None:
    """The disk has lost a byte of it."""
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def mix_up(file: Path) -> None:
    """It is that of another part."""
    file.write_bytes(sums_file(file.with_name("part-000002.parquet")).read_bytes())


@pytest.mark.usefixtures("nothing_looked_at")
@pytest.mark.parametrize("damage", [delete, cut, spoil, mix_up])
def test_what_was_kept_and_is_damaged_is_made_again(
    ledger: Ledger, folder: Path, reads: Iterator[list[str]], damage: Callable[[Path], None]
) -> None:
    """The part is read instead, once."""
    (names,) = reads
    before = refresh_results(ledger, folder)
    damage(sums_file(folder / "part-000000.parquet"))
    for _ in range(2):
        assert same(refresh_results(ledger, folder), before)
    assert names == ["part-000000.parquet"]


def test_every_part_is_looked_at_in_its_turn(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte that the disk has lost is found after as many refreshes as it takes to read all."""
    monkeypatch.setattr(dataset, "LOOKED_AT", 1)
    refreshed(ledger, folder)
    spoil_part(folder)
    refresh_results(ledger, folder)
    with pytest.raises(dataset.DamagedPartError):
        dataset.read_part(folder / "part-000001.parquet")
    refresh_results(ledger, folder)
    refreshed(ledger, folder)


@pytest.mark.usefixtures("nothing_looked_at")
@pytest.mark.parametrize(("later", "spent"), [(0, 3.5), (1, 0.0), (-1, 3.5)])
def test_the_money_of_a_day_is_not_the_next_days(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch, later: int, spent: float
) -> None:
    """What was kept says on which day it was spent; a clock that went back forgets nothing."""
    refreshed(ledger, folder)
    this_day = refresh.today() + later
    monkeypatch.setattr(refresh, "today", lambda: this_day)
    numbers = refresh_results(ledger, folder)
    assert (numbers.cost, numbers.cost_today) == (3.5, spent)
    assert same(numbers, counted(folder, this_day))


@pytest.mark.usefixtures("nothing_looked_at")
def test_what_was_sent_after_midnight_is_the_new_days(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh that began the day before has counted it as of that day, and keeps no such sum."""
    this_day = refresh.today()
    monkeypatch.setattr(refresh, "today", lambda: this_day - 1)
    refreshed(ledger, folder)
    monkeypatch.setattr(refresh, "today", lambda: this_day)
    numbers = refresh_results(ledger, folder)
    assert (numbers.cost, numbers.cost_today) == (3.5, 3.5)
    assert same(numbers, counted(folder, this_day))


def test_sums_that_do_not_read_are_made_again(ledger: Ledger, folder: Path) -> None:
    """Whatever lies where sums were kept, the refresh has the table's own numbers."""
    before = refresh_results(ledger, folder)
    part = dataset.part_files(folder)[0]
    for junk in (b"", b"00000000", b"00000000\n", b"no sums"):
        sums_file(part).write_bytes(junk)
        assert same(refresh_results(ledger, folder), before)
