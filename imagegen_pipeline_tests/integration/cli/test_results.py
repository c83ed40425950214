"""``imagegen results``: the table, and its totals by run and day, in four formats."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from imagegen_pipeline.domain.result_columns import COLUMNS
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.results.spending import By, spending_columns
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator
from imagegen_pipeline_tests.integration.cli.conftest import GENERATE, Invoke, on_a_terminal


@pytest.fixture
def two_rows(project: Project, invoke: Invoke) -> Project:
    """A project with an image and an unreadable file."""
    project.write_json("mill", "a mill, a “stream”\nand a café")
    (project.data / "prompt_json" / "bad.json").write_text("{")
    assert invoke(*GENERATE, "json").exit_code == 1
    return project


def test_an_empty_ledger_is_explained_on_stderr(project: Project, invoke: Invoke) -> None:
    """The exit code is 0, and stdout is empty or an empty table."""
    table = invoke("results")
    assert table.exit_code == 0
    assert table.stdout == ""
    assert "No attempts yet" in table.stderr
    assert json.loads(invoke("results", "--format", "json").stdout) == []
    assert invoke("results", "--format", "csv").stdout.splitlines() == [",".join(COLUMNS)]


def test_the_text_table_is_readable(two_rows: Project, invoke: Invoke) -> None:
    """A row per attempt, blanks for nulls, and the location of an unreadable source item."""
    head, made, unreadable = invoke("results").stdout.splitlines()
    assert head.split()[:3] == ["attempt", "key", "state"]
    assert "json-mill-" in made
    assert "stored" in made
    assert "generated_images/mill_" in made
    assert str(two_rows.data / "prompt_json" / "bad.json") in unreadable
    assert "The JSON is broken" in unreadable
    assert "NA" not in made + unreadable
    assert "None" not in made + unreadable


def test_csv_json_and_parquet_are_equal(two_rows: Project, invoke: Invoke) -> None:
    """Each has every column; texts keep line breaks and accents."""
    rows = json.loads(invoke("results", "--format", "json").stdout)
    lines = list(csv.DictReader(io.StringIO(invoke("results", "--format", "csv").stdout)))
    path = two_rows.root / "results.parquet"
    assert invoke("results", "--format", "parquet", "--output", str(path)).stdout == ""
    table = pd.read_parquet(path)
    assert list(rows[0]) == list(lines[0]) == list(table.columns) == list(COLUMNS)
    assert [row["state"] for row in rows] == ["stored", "unreadable"]
    assert [line["state"] for line in lines] == list(table["state"]) == ["stored", "unreadable"]
    prompt = "a mill, a “stream”\nand a café"
    assert rows[0]["prompt"] == lines[0]["prompt"] == table["prompt"][0] == prompt
    assert rows[0]["seed"] == "51515151", "a seed may be too large for a number"
    assert rows[0]["attempt"] == 1
    assert rows[0]["current"] is True
    assert rows[0]["cost"] is None


@pytest.mark.parametrize("by", ["run", "day"])
def test_totals_by_run_and_day(by: By, two_rows: Project, invoke: Invoke) -> None:
    """A row per command, or per day of the commands; unreadable source items are left out."""
    assert invoke(*GENERATE, "json", "--regenerate").exit_code == 1
    rows = json.loads(invoke("results", "--by", by, "--format", "json").stdout)
    lines = list(
        csv.DictReader(io.StringIO(invoke("results", "--by", by, "--format", "csv").stdout))
    )
    path = two_rows.root / "sums.parquet"
    invoke("results", "--by", by, "--format", "parquet", "--output", str(path))
    table = pd.read_parquet(path)
    columns = list(spending_columns(by))
    assert list(rows[0]) == list(lines[0]) == list(table.columns) == columns
    made = [1, 1] if by == "run" else [2]
    assert [row["made"] for row in rows] == [row["attempts"] for row in rows] == made
    assert [int(line["made"]) for line in lines] == list(table["made"]) == made
    assert len({row[by] for row in rows}) == len(made)
    assert rows[0]["first"] <= rows[0]["last"]


def test_an_unknown_price_is_a_blank_and_a_count(two_rows: Project, invoke: Invoke) -> None:
    """Without a price table a run has a blank cost and the number of its charges."""
    head, run = invoke("results", "--by", "run").stdout.splitlines()
    assert head.split() == list(spending_columns("run"))
    (row,) = json.loads(invoke("results", "--by", "run", "--format", "json").stdout)
    assert (row["cost"], row["unknown_price"]) == (None, 1)
    assert len(run.split()) == len(head.split()) - 1, "the cost is blank"
    assert "NA" not in run
    assert "None" not in run


def test_known_prices_are_added_up(
    project: Project, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a price by model and size, the day's cost is the sum of its images' costs."""
    prices = {"duomi": {"*": {SMALL: 0.1, "*": 5}}}
    (project.root / "prices.json").write_text(json.dumps(prices))
    monkeypatch.setenv("IMAGEGEN_PRICES", "prices.json")
    for stem in ("mill", "boat", "tree"):
        project.write_json(stem, f"a {stem}")
    assert invoke(*GENERATE, "json").exit_code == 0
    (row,) = json.loads(invoke("results", "--by", "day", "--format", "json").stdout)
    assert (row["cost"], row["unknown_price"], row["reserved"]) == (0.3, 0, 0.0)


def test_an_empty_ledger_has_no_totals(project: Project, invoke: Invoke) -> None:
    """The table of totals is empty in every format."""
    table = invoke("results", "--by", "day")
    assert (table.exit_code, table.stdout) == (0, "")
    assert "No attempts yet" in table.stderr
    assert json.loads(invoke("results", "--by", "run", "--format", "json").stdout) == []
    csv_text = invoke("results", "--by", "run", "--format", "csv").stdout
    assert csv_text.splitlines() == [",".join(spending_columns("run"))]


def test_parquet_is_refused_on_a_terminal(two_rows: Project) -> None:
    """It is written to a pipe; on a terminal the command exits with 2 and names the remedy."""
    command = ("imagegen", "results", "--format", "parquet")
    done = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:]],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert len(pd.read_parquet(io.BytesIO(done.stdout))) == 2
    code, shown = on_a_terminal(*command)
    assert code == 2
    assert "--output FILE" in shown


def test_a_file_that_cannot_be_written_is_an_error(two_rows: Project, invoke: Invoke) -> None:
    """For a folder that does not exist the command exits with 2 and names the path."""
    path = two_rows.root / "nowhere" / "results.csv"
    result = invoke("results", "--format", "csv", "--output", str(path))
    assert result.exit_code == 2
    assert f"{path} cannot be written" in result.stderr


def test_approved_images_can_be_selected(two_rows: Project, invoke: Invoke) -> None:
    """``--approved`` has the current images that a person approved, and when."""
    nothing = invoke("results", "--approved")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "imagegen serve" in nothing.stderr
    two_rows.pipeline().ledger.reviews.decide([1], Verdict.APPROVED)
    (row,) = json.loads(invoke("results", "--approved", "--format", "json").stdout)
    assert (row["attempt"], row["verdict"]) == (1, "approved")
    assert row["verdict_at"].endswith("+00:00")
    assert (two_rows.results / row["path"]).is_file()
    two_rows.pipeline().ledger.reviews.decide([1], Verdict.REJECTED)
    assert json.loads(invoke("results", "--approved", "--format", "json").stdout) == []
    assert json.loads(invoke("results", "--format", "json").stdout)[0]["verdict"] == "rejected"


def test_a_closed_pipe_is_no_error(two_rows: Project) -> None:
    """``imagegen results | head`` prints nothing to stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [Path(sys.executable).parent / "imagegen", "results", "--format", "json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert done.stderr == ""


def test_it_needs_no_key_and_submits_nothing(
    live_project: Project,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    invoke: Invoke,
) -> None:
    """The table is printed without any provider key."""
    monkeypatch.delenv("DUOMI_API_KEY")
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert invoke("results").exit_code == 0
    assert simulator.stats()["duomi"]["accepted"] == 0
