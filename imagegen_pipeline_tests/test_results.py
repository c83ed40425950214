"""The table of results and the users' JSON log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.results import (
    COLUMNS,
    result_rows,
    results_table,
    summary,
    write_json_log,
    write_results,
)
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator

PARAMETERS = PromptParameters(image_size=SMALL, seed=9_999_999_999)


@pytest.fixture
def pipeline(project: Project) -> Iterator[Pipeline]:
    """A pipeline on the simulator, closed after the test."""
    with closing(project.pipeline()) as opened:
        yield opened


def make(pipeline: Pipeline, **wishes: Any) -> None:
    """A picture of every JSON prompt."""
    prompts: tuple[Prompt, ...] = pipeline.scan_prompts(database=False).prompts
    for _ in pipeline.generate_images(prompts, PARAMETERS, pipeline.order(**wishes)):
        pass


def test_each_attempt_is_a_row_in_full(project: Project, pipeline: Pipeline) -> None:
    """A row tells where the prompt was, what was asked, and what came of it."""
    path = project.write_json("mill", "a mill by a stream")
    make(pipeline)
    (row,) = result_rows(pipeline.ledger)
    assert list(row) == list(COLUMNS)
    assert row["key"].startswith("json-mill-")
    assert (row["kind"], row["source"], row["location"]) == ("prompt", "json", str(path))
    assert (row["state"], row["current"], row["gone"]) == ("stored", True, False)
    assert (row["service"], row["prompt"]) == ("duomi", "a mill by a stream")
    assert (row["width"], row["height"], row["steps"]) == (64, 64, 20)
    assert row["seed"] == "9999999999"
    assert row["simulated"] is True
    assert (project.results / row["path"]).is_file()
    assert row["created_at"].endswith("+00:00")
    assert row["created_at"] <= row["finished_at"]
    assert row["error"] is None


def test_older_pictures_and_unreadable_files_stay_in_sight(
    project: Project, pipeline: Pipeline
) -> None:
    """A regenerated picture is a second row, the first is no longer current; a bad file is one."""
    project.write_json("mill", "a mill by a stream")
    (project.data / "prompt_json" / "bad.json").write_text("{")
    make(pipeline)
    make(pipeline, regenerate=True)
    first, second, unreadable = result_rows(pipeline.ledger)
    assert (first["current"], second["current"]) == (False, True)
    assert (first["regenerate"], second["regenerate"]) == (False, True)
    assert unreadable["state"] == "unreadable"
    assert unreadable["attempt"] is None
    assert unreadable["location"].endswith("bad.json")
    assert unreadable["remedy"]


def test_a_failure_keeps_its_reason_and_remedy(
    project: Project, simulator: Simulator, pipeline: Pipeline
) -> None:
    """The error's kind, sentence and remedy stand in columns of their own."""
    project.write_json("mill", "a mill by a stream")
    simulator.fault(service="duomi", operation="submit", fault="status", status=400)
    make(pipeline)
    (row,) = result_rows(pipeline.ledger)
    assert (row["state"], row["error_kind"]) == ("failed", "bad_request")
    assert row["error"].startswith("API request failed with status 400")
    assert row["remedy"]
    assert row["path"] is None


def test_columns_have_types_even_without_rows() -> None:
    """Every column keeps its type when it is empty, so that tables can be joined."""
    empty = results_table([])
    full = results_table([dict.fromkeys(COLUMNS)])
    for table in (empty, full):
        assert {name: str(kind) for name, kind in table.dtypes.items()} == {
            name: kind for name, (kind, _) in COLUMNS.items()
        }


def test_a_column_is_described_in_a_sentence() -> None:
    """The table's documentation is complete."""
    assert all(description.endswith(".") for _, description in COLUMNS.values())


def test_the_summary_counts_states_and_knows_what_it_does_not() -> None:
    """Costs are added up; a picture of unknown price is counted, never taken as free."""
    rows = [
        {"state": "stored", "cost": 0.1},
        {"state": "stored", "cost": 0.2},
        {"state": "stored", "cost": None},
        {"state": "failed", "cost": None},
        {"state": "unreadable", "cost": None},
    ]
    assert summary(rows) == {
        "states": {"failed": 1, "stored": 3, "unreadable": 1},
        "cost": 0.3,
        "pictures_of_unknown_price": 1,
    }


def test_the_parquet_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """A table replaces the one before it; where none can be written, nothing is left behind."""
    path = tmp_path / "new" / "results.parquet"
    write_results([], path)
    write_results([dict.fromkeys(COLUMNS) | {"state": "stored"}], path)
    assert list(pd.read_parquet(path)["state"]) == ["stored"]
    assert list(path.parent.iterdir()) == [path]

    blocked = tmp_path / "taken"
    blocked.mkdir()
    (blocked / "inside").touch()
    with pytest.raises(StoreError, match=f"{blocked} cannot be written"):
        write_results([], blocked)
    assert sorted(tmp_path.iterdir()) == [path.parent, blocked]


def test_a_log_never_overwrites_another(tmp_path: Path) -> None:
    """Three logs of one second get three names, and each is whole."""
    path = tmp_path / "logs" / "results_20260101_000000.json"
    written = [write_json_log([{"number": number}], path) for number in range(3)]
    assert [place.stem for place in written] == [path.stem, f"{path.stem}_2", f"{path.stem}_3"]
    assert [json.loads(place.read_text())[0]["number"] for place in written] == [0, 1, 2]
    assert sorted(path.parent.iterdir()) == sorted(written)


def test_a_log_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that refuses links the log is written all the same, under a free name."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "results.json"
    assert write_json_log([{"number": 1}], path) == path
    second = write_json_log([{"number": 2}], path)
    assert second == tmp_path / "results_2.json"
    assert json.loads(path.read_text()) == [{"number": 1}]
    assert sorted(tmp_path.iterdir()) == sorted([path, second])


def test_a_log_keeps_every_text(tmp_path: Path) -> None:
    """Accents, line breaks and half a character come back as they were."""
    told = [{"prompt": "ein Café\n\u2028“x”", "source_file": "bad\udcff.json"}]
    assert json.loads(write_json_log(told, tmp_path / "log.json").read_text()) == told


def test_a_log_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    """A file where the folder belongs is named."""
    (tmp_path / "logs").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_json_log([], tmp_path / "logs" / "log.json")
