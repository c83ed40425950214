"""A ledger with images, and the folder of its results table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.results import dataset
from imagegen_pipeline.results.attempt_rows import result_rows
from imagegen_pipeline.results.dataset import refresh_dataset
from imagegen_pipeline.results.parquet import table_of_rows
from imagegen_pipeline.results.statistics import read_statistics
from imagegen_pipeline_tests.unit.ledger.ledger_rows import plan, prompt, scan, store

SEVEN = ("a", "b", "c", "d", "e", "f", "g")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the results table."""
    return tmp_path / "generation_results.parquet"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger with seven images, in partitions of three."""
    monkeypatch.setattr(dataset, "PART_ROWS", 3)
    with closing(Ledger(f"sqlite:///{tmp_path / 'imagegen.db'}")) as opened:
        opened.items.record(scan(*(prompt(key) for key in SEVEN)))
        for key in SEVEN:
            add_picture(opened, key)
        yield opened


def add_picture(ledger: Ledger, key: str) -> int:
    """Store one more image of an item; returns its attempt's id."""
    return store(ledger, plan(ledger, key, file_stem=key)).id


def check(ledger: Ledger, folder: Path) -> pd.DataFrame:
    """Read the table with pandas and compare it with the ledger."""
    table = pd.read_parquet(folder).sort_values("attempt", ignore_index=True)
    expected = table_of_rows(result_rows(ledger)).to_pandas()
    pd.testing.assert_frame_equal(table, expected)
    return table


def refreshed(ledger: Ledger, folder: Path) -> pd.DataFrame:
    """Refresh the table and check it."""
    refresh_dataset(ledger, folder)
    table = check(ledger, folder)
    assert read_statistics(ledger, time.time()).rows == len(table)
    return table


def times(folder: Path) -> dict[str, int]:
    """When each partition was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("part-*")}


def written(folder: Path, before: dict[str, int]) -> set[str]:
    """The partitions that were written since."""
    return {name for name, moment in times(folder).items() if before.get(name) != moment}
