"""The results table in Dagster: columns, counts and plots, and the JSON log of a run."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from PIL import Image

from imagegen_pipeline.dagster_ext import results_metadata, step_reporter
from imagegen_pipeline.domain.errors import StoreError
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.result_columns import COLUMNS
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.web.jobs.report_queue import ReportQueue
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator, until
from imagegen_pipeline_tests.integration.defs.conftest import PROMPT_ASSETS, Dagster

PRICES = json.dumps({"duomi": {"*": 0.25}})
LARGEST = {"PNG": 25_000, "WEBP": 60_000}
PLOTS = {"outcomes over time", "seconds", "cost by model", "newest pictures"}


def metadata(dagster: Dagster, asset: str = "generation_results") -> Mapping[str, Any]:
    """The metadata of the newest materialization."""
    event = dagster.events(asset)[0]
    return {name: value.value for name, value in event.metadata.items()}


def image(value: object) -> Image.Image:
    """Decode the image that is embedded in a Markdown value."""
    match = re.fullmatch(r"!\[\]\(data:image/(png|webp);base64,([A-Za-z0-9+/=]+)\)", str(value))
    assert match, str(value)[:200]
    data = base64.b64decode(match[2])
    opened = Image.open(io.BytesIO(data))
    kind = match[1].upper()
    assert opened.format == kind
    assert len(data) <= LARGEST[kind]
    return opened


def test_the_table_shows_its_columns(dagster: Dagster, prompts: list[str]) -> None:
    """The asset and its materialization have every column's type, description and constraints."""
    from imagegen_pipeline.definitions import defs

    dagster.run(*PROMPT_ASSETS, keys=prompts)
    made = metadata(dagster)["dagster/column_schema"]
    graph = defs.resolve_asset_graph()
    for asset in ("generation_results", "approved_pictures"):
        known = graph.get(dg.AssetKey(asset)).metadata["dagster/column_schema"]
        assert known == made or known.value == made
    assert [column.name for column in made.columns] == list(COLUMNS)
    assert all(column.description.endswith(".") for column in made.columns)
    by_name = {column.name: column for column in made.columns}
    assert by_name["created_at"].type.startswith("timestamp")
    assert by_name["attempt"].constraints.unique
    assert not by_name["state"].constraints.nullable
    assert by_name["cost"].constraints.nullable


def test_the_metadata_has_counts_and_plots(
    dagster: Dagster, prompts: list[str], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of four images were made at a known price: counts, rate, seconds, cost, four plots."""
    monkeypatch.setenv("IMAGEGEN_PRICES", PRICES)
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="number 2", times=-1
    )
    dagster.run(*PROMPT_ASSETS, keys=prompts)

    dagster.run("generation_results")
    shown = metadata(dagster)
    assert shown["dagster/row_count"] == len(pd.read_parquet(shown["path"]))
    assert (shown["pictures made"], shown["failed"], shown["success rate"]) == (3, 1, 0.75)
    assert (shown["cost"], shown["cost today"]) == (0.75, 0.75)
    assert shown["charges of unknown price"] == 0
    assert 0 < shown["duomi median seconds"] <= shown["duomi 95th percentile seconds"]
    assert "| failed | 1 |\n| stored | 3 |" in shown["states"]
    for name in PLOTS:
        image(shown[name])


@pytest.mark.parametrize("is_failing", [False, True])
def test_a_run_without_generation_results_draws_no_plots(
    dagster: Dagster, prompts: list[str], simulator: Simulator, is_failing: bool
) -> None:
    """The images' step refreshes the table with its counts only, whether or not an item failed."""
    if is_failing:
        simulator.fault(provider="duomi", operation="submit", fault="status", status=400, times=1)
    assert dagster.run("generated_images", keys=prompts).success is not is_failing
    shown = metadata(dagster)
    assert (shown["pictures made"], shown["failed"]) == ((3, 1) if is_failing else (4, 0))
    assert len(pd.read_parquet(shown["path"])) == shown["dagster/row_count"]
    assert PLOTS.isdisjoint(shown)


def test_unknown_numbers_are_texts(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """Without prices or images there are sentences instead of empty plots."""
    dagster.run("generation_results")
    shown = metadata(dagster)
    assert shown["success rate"] == "no attempt has ended"
    assert shown["outcomes over time"] == "No attempt has ended yet."
    assert shown["newest pictures"] == shown["seconds"] == "No image has been generated yet."
    assert shown["cost by model"] == "Nothing has been charged."

    dagster.run(*PROMPT_ASSETS, keys=prompts)
    shown = metadata(dagster)
    assert shown["cost"] == "unknown"
    assert shown["charges of unknown price"] == 4
    assert "IMAGEGEN_PRICES" in shown["cost by model"]


def test_a_plot_that_fails_does_not_fail_the_run(
    dagster: Dagster, prompts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is in the plot's place; the images and the table are stored."""

    def faulty(_: object) -> bytes:
        raise ZeroDivisionError("no bins")

    monkeypatch.setattr(results_metadata, "plot_seconds", faulty)
    assert dagster.run(*PROMPT_ASSETS, keys=prompts).success
    shown = metadata(dagster)
    assert shown["seconds"] == "The plot failed: ZeroDivisionError: no bins"
    image(shown["outcomes over time"])
    assert shown["pictures made"] == 4


def test_the_approved_table_has_metadata(dagster: Dagster, prompts: list[str]) -> None:
    """It has the columns, the newest images and their keys."""
    dagster.run(*PROMPT_ASSETS, keys=prompts)
    ledger = dagster.project.pipeline().ledger
    current = ledger.attempts.current(prompts[1])
    assert current is not None
    ledger.reviews.decide([current.id], Verdict.APPROVED)
    dagster.run("approved_pictures")
    shown = metadata(dagster, "approved_pictures")
    assert shown["dagster/row_count"] == 1
    assert len(shown["dagster/column_schema"].columns) == len(COLUMNS)
    assert f"| {prompts[1]} |" in shown["newest"]
    image(shown["newest pictures"])
    table = pd.read_parquet(shown["path"])
    assert str(table["verdict_at"].dtype) == "datetime64[ms, UTC]"


def users_logs(project: Project) -> list[Path]:
    """The JSON logs, oldest first."""
    return sorted((project.results / "logs").glob("duomi_generation_results_*.json"))


def test_a_run_writes_the_users_log(dagster: Dagster, prompts: list[str]) -> None:
    """It has one entry per prompt of the run; the step's output names the file."""
    result = dagster.run(*PROMPT_ASSETS, keys=prompts)
    (log,) = users_logs(dagster.project)
    entries = json.loads(log.read_text())
    assert sorted(entry["key"] for entry in entries) == sorted(prompts)
    assert {(entry["success"], entry["source"], entry["status"]) for entry in entries} == {
        (True, "json", "made")
    }
    assert all(Path(entry["saved_path"]).is_file() for entry in entries)
    outputs = result.filter_events(lambda event: event.is_successful_output)
    logs = [one.step_output_data.metadata.get("results log") for one in outputs]
    assert [value.value for value in logs if value] == [str(log)]


def test_a_run_that_fails_names_its_log(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """The log has the failed prompt with its reason, and the failure names the log."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="number 2", times=-1
    )
    result = dagster.run(*PROMPT_ASSETS, keys=prompts)
    (log,) = users_logs(dagster.project)
    (bad,) = [entry for entry in json.loads(log.read_text()) if not entry["success"]]
    assert bad["key"] == prompts[2]
    assert bad["error"].startswith("API request failed with status 400")
    (failure,) = result.get_step_failure_events()
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert details.metadata["results log"].value == str(log)


def test_a_log_that_cannot_be_written_fails_no_run(dagster: Dagster, prompts: list[str]) -> None:
    """The images and the table are stored; the run's log has an error."""
    logs = dagster.project.results / "logs"
    logs.parent.mkdir(parents=True, exist_ok=True)
    logs.touch()
    assert dagster.run(*PROMPT_ASSETS, keys=prompts).success
    assert metadata(dagster)["pictures made"] == 4


def test_the_log_is_written_before_the_table(
    dagster: Dagster, prompts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the log exists if the table fails, and the two are not in memory together."""

    def fail(_: object) -> None:
        raise StoreError("There is no room for the table.")

    monkeypatch.setattr(step_reporter, "refresh_table", fail)
    assert not dagster.run("generated_images", keys=prompts).success
    (log,) = users_logs(dagster.project)
    assert len(json.loads(log.read_text())) == len(prompts)


def test_base_images_write_no_json_log(dagster: Dagster) -> None:
    """The JSON log is of prompts only."""
    dagster.project.write_actor("0100_sailor", description="an old sailor")
    dagster.register()
    dagster.run("actor_base_images", keys=["0100_sailor"])
    assert metadata(dagster)["pictures made"] == 1
    assert users_logs(dagster.project) == []


def test_the_command_line_refreshes_the_table(project: Project, dagster: Dagster) -> None:
    """At the end of `imagegen generate` the table has its images; a command that only reuses
    reports nothing. No plot is drawn.
    """
    project.write_json("mill", "a mill by a stream")
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    for _ in range(2):
        project.run(*command)
    assert len(dagster.events("generation_results")) == 1
    assert metadata(dagster)["pictures made"] == 1
    assert PLOTS.isdisjoint(metadata(dagster))
    assert len(pd.read_parquet(project.pipeline().results_file)) == 1


def test_a_command_whose_images_failed_refreshes_the_table(
    project: Project, dagster: Dagster, simulator: Simulator
) -> None:
    """A failed attempt is a row of the table."""
    project.write_json("mill", "a mill by a stream")
    simulator.fault(provider="duomi", operation="submit", fault="status", status=400, times=-1)
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    assert project.run(*command, check=False).returncode == 1
    assert metadata(dagster)["failed"] == 1


def test_without_dagster_the_table_is_refreshed(project: Project) -> None:
    """A command in a folder without a Dagster instance writes the table without a warning."""
    (project.root / "dagster.yaml").unlink()
    (project.root / ".env").write_text("")
    project.write_json("mill", "a mill by a stream")
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    result = project.run(*command, IMAGEGEN_DATA_DIR=str(project.data))
    assert len(pd.read_parquet(project.results / "generation_results.parquet")) == 1
    assert "out of date" not in result.stderr


def test_a_table_that_cannot_be_written_fails_no_command(project: Project) -> None:
    """The command prints a warning, and its images are stored."""
    project.write_json("mill", "a mill by a stream")
    blocked = project.results / ".generation_results.parquet.lock"
    blocked.mkdir(parents=True)
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    result = project.run(*command)
    assert "The results table may be out of date" in result.stderr
    assert "1 made" in result.stdout


def test_an_idle_server_refreshes_the_table(project: Project, dagster: Dagster) -> None:
    """The table has a server's images once it has been idle, before the server ends."""
    project.write_json("mill", "a mill by a stream")
    pipeline = project.pipeline()
    (prompt,) = pipeline.scan_prompts(database=False).prompts
    parameters = PromptParameters(image_size=SMALL)
    (outcome,) = pipeline.generate_images([prompt], parameters, pipeline.order())
    queue = ReportQueue(pipeline, quiet_seconds=0.05)
    queue.start()
    queue.add(outcome)
    until(lambda: dagster.events("generation_results"))
    queue.close(30)
    assert len(dagster.events("generation_results")) == 1
    pipeline.close()
