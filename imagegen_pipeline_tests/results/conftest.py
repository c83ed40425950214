"""A ledger with pictures in every state, and the folder of its table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from imagegen_pipeline.ledger import Ledger
from imagegen_pipeline.results import dataset, refresh_results, result_rows
from imagegen_pipeline.results.parquet import table_of_rows
from imagegen_pipeline_tests.ledger.ledger_rows import plan, prompt, scan, store

SEVEN = ("a", "b", "c", "d", "e", "f", "g")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the table goes."""
    return tmp_path / "generation_results.parquet"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Seven pictures, of which each three are a part of the table."""
    monkeypatch.setattr(dataset, "PART_ROWS", 3)
    with closing(Ledger(f"sqlite:///{tmp_path / 'imagegen.db'}")) as opened:
        opened.items.record(scan(*(prompt(key) for key in SEVEN)))
        for key in SEVEN:
            add_picture(opened, key)
        yield opened


def add_picture(ledger: Ledger, key: str) -> int:
    """One more picture of an item; returns its attempt."""
    return store(ledger, plan(ledger, key, file_stem=key)).id


def check(ledger: Ledger, folder: Path) -> pd.DataFrame:
    """The table as pandas reads it, which has to be what the ledger says."""
    found = pd.read_parquet(folder).sort_values("attempt", ignore_index=True)
    wanted = table_of_rows(result_rows(ledger)).to_pandas()
    pd.testing.assert_frame_equal(found, wanted)
    return found


def refreshed(ledger: Ledger, folder: Path) -> pd.DataFrame:
    """Bring the table up to date and check it."""
    statistics = refresh_results(ledger, folder)
    table = check(ledger, folder)
    assert statistics.rows == len(table)
    return table


def times(folder: Path) -> dict[str, int]:
    """When each file was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("part-*")}


def written(folder: Path, before: dict[str, int]) -> set[str]:
    """The parts that were written since."""
    return {name for name, moment in times(folder).items() if before.get(name) != moment}
