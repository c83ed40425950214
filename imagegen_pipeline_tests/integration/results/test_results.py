"""The rows of the results table, their totals, and the guides' JSON log."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.domain.result_columns import COLUMNS
from imagegen_pipeline.legacy.logs import write_json_log
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.results import table
from imagegen_pipeline.results.attempt_rows import result_rows
from imagegen_pipeline.results.parquet import write_results
from imagegen_pipeline.results.spending import By, spending_columns, spending_rows
from imagegen_pipeline.results.table import data_frame, render
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator

PARAMETERS = PromptParameters(image_size=SMALL, seed=9_999_999_999)


@pytest.fixture
def pipeline(project: Project) -> Iterator[Pipeline]:
    """A pipeline on the simulator, closed after the test."""
    with closing(project.pipeline()) as opened:
        yield opened


def make(pipeline: Pipeline, **options: Any) -> None:
    """Generate an image of every JSON prompt."""
    prompts: tuple[Prompt, ...] = pipeline.scan_prompts(database=False).prompts
    for _ in pipeline.generate_images(prompts, PARAMETERS, pipeline.order(**options)):
        pass


IMPORTS = """
import importlib, pkgutil, sys
import imagegen_pipeline.results as results
for module in pkgutil.iter_modules(results.__path__):
    importlib.import_module(f"{results.__name__}.{module.name}")
print(*({"pandas", "pyarrow", "numpy", "matplotlib", "PIL"} & sys.modules.keys()))
"""


def test_data_libraries_are_imported_when_used() -> None:
    """Importing the results' modules loads neither pandas nor pyarrow nor matplotlib."""
    code = [sys.executable, "-c", IMPORTS]
    assert subprocess.run(code, capture_output=True, check=True, timeout=60).stdout == b"\n"


def test_each_attempt_is_a_row_in_full(project: Project, pipeline: Pipeline) -> None:
    """A row has the prompt's location, the request and the outcome."""
    path = project.write_json("mill", "a mill by a stream")
    make(pipeline, intent="a-run")
    (row,) = result_rows(pipeline.ledger)
    assert list(row) == list(COLUMNS)
    assert row["run"] == "a-run"
    assert row["key"].startswith("json-mill-")
    assert (row["kind"], row["source"], row["location"]) == ("prompt", "json", str(path))
    assert (row["state"], row["current"], row["gone"]) == ("stored", True, False)
    assert (row["provider"], row["prompt"]) == ("duomi", "a mill by a stream")
    assert (row["width"], row["height"], row["steps"]) == (64, 64, 20)
    assert row["seed"] == "9999999999"
    assert row["simulated"] is True
    assert (project.results / row["path"]).is_file()
    assert row["created_at"].endswith("+00:00")
    assert row["created_at"] <= row["finished_at"]
    assert row["submitted_at"].endswith("+00:00")
    assert row["error"] is None


def test_older_images_and_unreadable_files_have_rows(project: Project, pipeline: Pipeline) -> None:
    """A regenerated image is a second row, and the first is not current; a bad file is a row."""
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
    """The error's kind, sentence and remedy have their own columns."""
    project.write_json("mill", "a mill by a stream")
    simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    make(pipeline)
    (row,) = result_rows(pipeline.ledger)
    assert (row["state"], row["error_kind"]) == ("failed", "bad_request")
    assert row["error"].startswith("API request failed with status 400")
    assert row["remedy"]
    assert row["path"] is None


def test_reserved_money_is_shown_until_the_cost_is_known(
    project: Project, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An assumed price is reserved and no cost; a known price is a cost and not reserved."""
    project.write_json("mill", "a mill by a stream")
    monkeypatch.setenv("IMAGEGEN_BUDGET_DAY", "1")
    for prices in ({"assumed": {"duomi": 0.05}}, {"duomi": {PARAMETERS.model: 0.02}}):
        monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps(prices))
        with closing(project.pipeline()) as with_budget:
            make(with_budget, regenerate=True)
    assumed, known = result_rows(pipeline.ledger)
    assert (assumed["cost"], assumed["reserved"]) == (None, 0.05)
    assert (known["cost"], known["reserved"]) == (0.02, None)


TABLES = {
    "attempts": COLUMNS,
    "runs": spending_columns("run"),
    "days": spending_columns("day"),
}


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_columns_have_types_even_without_rows(columns: dict[str, tuple[str, str]]) -> None:
    """An empty column keeps its type, so that tables can be concatenated."""
    empty = data_frame([], columns)
    full = data_frame([dict.fromkeys(columns)], columns)
    for one in (empty, full):
        assert {name: str(kind) for name, kind in one.dtypes.items()} == {
            name: "string" if kind == "moment" else kind for name, (kind, _) in columns.items()
        }


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_a_column_is_described_in_a_sentence(columns: dict[str, tuple[str, str]]) -> None:
    """Every column has a description."""
    assert all(description.endswith(".") for _, description in columns.values())


def row(state: str = "stored", **facts: Any) -> dict[str, Any]:
    """The row of an attempt that was sent at noon."""
    sent = {"run": "one", "created_at": at("2026-03-01T11:59"), "submitted_at": at()}
    made = {"attempt": 1, "state": state, "possible_double_charge": False}
    return {**dict.fromkeys(COLUMNS), **made, **sent, **facts}


def at(minute: str = "2026-03-01T12:00") -> str:
    """A time in the form of the rows."""
    return f"{minute}:00.000+00:00"


def spent(*rows: dict[str, Any], by: By = "run") -> dict[str, Any]:
    """The total of these rows, which are of one run or day."""
    (only,) = spending_rows(rows, by)
    assert list(only) == list(spending_columns(by))
    return only


@pytest.mark.parametrize("state", State)
def test_every_attempt_counts_once(state: State) -> None:
    """An attempt of any state is in exactly one of the five counts."""
    sums = spent(row(state))
    counts = {name: sums[name] for name in ("made", "shared", "failed", "unknown", "open")}
    expected = {
        State.STORED: "made",
        State.FAILED: "failed",
        State.EXPIRED: "failed",
        State.UNKNOWN: "unknown",
        State.HELD: "unknown",
    }.get(state, "open")
    assert counts == {**dict.fromkeys(counts, 0), expected: 1}
    assert sums["attempts"] == 1


def test_possible_double_charges_are_counted() -> None:
    """A request without a response, and the one that was sent again after it, have counts."""
    sums = spent(row("unknown"), row("stored", possible_double_charge=True, cost=0.1))
    assert (sums["unknown"], sums["possible_double_charges"]) == (1, 1)
    assert (sums["made"], sums["cost"]) == (1, 0.1)


def test_known_costs_are_added_up_and_unknown_prices_counted() -> None:
    """Paid failures are part of the cost; charges of unknown price are counted."""
    sums = spent(
        row(cost=0.1),
        row(cost=0.2),
        row("failed", cost=0.3, error_kind="not_a_picture"),
        row(),
        row("completed"),
        row("expired"),
        row("failed", error_kind="not_a_picture"),
        row("failed", error_kind="bad_request"),
        row("unknown"),
    )
    assert (sums["cost"], sums["unknown_price"]) == (0.6, 4)


def test_an_unknown_cost_is_empty() -> None:
    """Images of unknown price make no cost of 0, not even beside attempts that are free."""
    shared, refused = row(cost=0.0, shared_from=1), row("failed", cost=0.0)
    sums = spent(row(), shared, refused)
    assert (sums["cost"], sums["unknown_price"], sums["shared"]) == (None, 1, 1)


def test_a_job_that_failed_and_was_billed_is_in_the_cost() -> None:
    """A billed failure is the known cost beside a charge of unknown price."""
    sums = spent(row("failed", cost=0.3, error_kind="job_failed"), row())
    assert (sums["cost"], sums["unknown_price"], sums["failed"]) == (0.3, 1, 1)


def test_a_run_without_charges_costs_nothing() -> None:
    """A run of refusals and shared images has a known cost of 0."""
    sums = spent(row("failed", cost=0.0, error_kind="bad_request"), row(cost=0.0, shared_from=1))
    assert (sums["cost"], sums["unknown_price"]) == (0.0, 0)


def test_reserved_money_is_added_up() -> None:
    """The money reserved for attempts of unknown cost is a sum apart from the cost."""
    sums = spent(row("unknown", reserved=0.1), row("submitted", reserved=0.2), row(cost=0.5))
    assert (sums["reserved"], sums["cost"]) == (0.3, 0.5)


def test_each_run_is_a_row_the_oldest_first() -> None:
    """The attempts of a run are one row, with the times of its first and last event."""
    early, late = at("2026-03-01T10:00"), at("2026-03-02T18:00")
    rows = [
        row(run="two", finished_at=at("2026-03-01T12:05")),
        row(run="one", submitted_at=early),
        row(run="two", submitted_at=at("2026-03-01T12:30")),
        row(run="one", submitted_at=at("2026-03-01T10:01"), finished_at=late),
    ]
    one, two = spending_rows(rows, "run")
    assert (one["run"], one["attempts"], one["first"], one["last"]) == ("one", 2, early, late)
    assert (two["run"], two["attempts"]) == ("two", 2)
    assert (two["first"], two["last"]) == (at(), at("2026-03-01T12:30"))


def test_a_day_is_a_day_in_utc_and_of_the_request() -> None:
    """A request counts for the day on which it was sent, or planned if it was not sent."""
    evening, night = at("2026-03-01T23:59"), at("2026-03-02T00:00")
    rows = [
        row(created_at=evening, submitted_at=night),
        row(created_at=evening, submitted_at=None),
        row(created_at=evening, submitted_at=evening, finished_at=night, run="two"),
    ]
    first, second = spending_rows(rows, "day")
    assert (first["day"], first["attempts"]) == ("2026-03-01", 2)
    assert (second["day"], second["attempts"], second["first"]) == ("2026-03-02", 1, night)


def test_an_unreadable_source_item_is_no_attempt() -> None:
    """It is not part of any total."""
    unreadable = {**dict.fromkeys(COLUMNS), "state": "unreadable"}
    assert spending_rows([unreadable], "run") == []
    assert spent(row(), unreadable)["attempts"] == 1


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_rows_are_encoded_in_chunks(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of two rows give one table in each format."""
    monkeypatch.setattr(table, "_CHUNK", 2)
    rows = [row(attempt=number, prompt=f"a “mill”\n{number}") for number in range(count)]
    prompts = [one["prompt"] for one in rows]
    texts = {form: b"".join(render(iter(rows), form)) for form in ("csv", "json", "parquet")}
    assert [one["prompt"] for one in json.loads(texts["json"])] == prompts
    assert list(pd.read_csv(io.BytesIO(texts["csv"]))["prompt"]) == prompts
    assert list(pd.read_parquet(io.BytesIO(texts["parquet"]))["prompt"]) == prompts
    assert texts["json"].decode().splitlines()[0] == ("[" if count else "[]")


def test_a_parquet_file_is_replaced_atomically(tmp_path: Path) -> None:
    """A table replaces the previous one; if it cannot be written, no temporary file stays."""
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
    """Three logs of one second get three names."""
    path = tmp_path / "logs" / "results_20260101_000000.json"
    written = [write_json_log([{"number": number}], path) for number in range(3)]
    assert [log.stem for log in written] == [path.stem, f"{path.stem}_2", f"{path.stem}_3"]
    assert [json.loads(log.read_text())[0]["number"] for log in written] == [0, 1, 2]
    assert sorted(path.parent.iterdir()) == sorted(written)


def test_a_log_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links the log is written under a free name."""

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
    """Accents, line breaks and lone surrogates are preserved."""
    results = [{"prompt": "ein Café\n\u2028“x”", "source_file": "bad\udcff.json"}]
    assert json.loads(write_json_log(results, tmp_path / "log.json").read_text()) == results


def test_a_log_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    """The error names the file that is in the folder's place."""
    (tmp_path / "logs").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_json_log([], tmp_path / "logs" / "log.json")
