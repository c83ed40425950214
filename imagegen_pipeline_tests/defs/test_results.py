"""The table of results in Dagster: its columns, numbers and plots, and the users' log of a run."""

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
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.results import COLUMNS
from imagegen_pipeline.web.jobs.report_queue import ReportQueue
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator, until
from imagegen_pipeline_tests.defs.conftest import PROMPT_ASSETS, Dagster

PRICES = json.dumps({"duomi": {"*": 0.25}})
LARGEST = {"PNG": 25_000, "WEBP": 60_000}


def metadata(dagster: Dagster, asset: str = "generation_results") -> Mapping[str, Any]:
    """What is shown of the newest table."""
    event = dagster.events(asset)[0]
    return {name: value.value for name, value in event.metadata.items()}


def image(value: object) -> Image.Image:
    """The picture that a markdown value holds."""
    found = re.fullmatch(r"!\[\]\(data:image/(png|webp);base64,([A-Za-z0-9+/=]+)\)", str(value))
    assert found, str(value)[:200]
    data = base64.b64decode(found[2])
    opened = Image.open(io.BytesIO(data))
    assert opened.format == found[1].upper()
    assert len(data) <= LARGEST[opened.format]
    return opened


def test_the_table_shows_its_columns(dagster: Dagster, prompts: list[str]) -> None:
    """Every column with its type, what it holds, and whether a row can lack it, before the table
    is made and with it.
    """
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


def test_the_table_is_shown_in_numbers_and_plots(
    dagster: Dagster, prompts: list[str], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of four were made, at a known price: counts, rate, seconds, money, four images."""
    monkeypatch.setenv("IMAGEGEN_PRICES", PRICES)
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="number 2", times=-1
    )
    dagster.run(*PROMPT_ASSETS, keys=prompts)

    shown = metadata(dagster)
    assert shown["dagster/row_count"] == len(pd.read_parquet(shown["path"]))
    assert (shown["pictures made"], shown["failed"], shown["success rate"]) == (3, 1, 0.75)
    assert (shown["cost"], shown["cost today"]) == (0.75, 0.75)
    assert shown["charges of unknown price"] == 0
    assert 0 < shown["duomi median seconds"] <= shown["duomi 95th percentile seconds"]
    assert "| failed | 1 |\n| stored | 3 |" in shown["states"]
    for name in ("outcomes over time", "seconds", "cost by model", "newest pictures"):
        image(shown[name])


def test_what_is_not_known_is_said_in_words(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """Without prices, and without a picture, there are sentences and no empty plots."""
    dagster.run("generation_results")
    shown = metadata(dagster)
    assert shown["success rate"] == "nothing has ended"
    assert shown["outcomes over time"] == "Nothing has ended yet."
    assert shown["newest pictures"] == shown["seconds"] == "No picture has been made yet."
    assert shown["cost by model"] == "Nothing has cost anything."

    dagster.run(*PROMPT_ASSETS, keys=prompts)
    shown = metadata(dagster)
    assert shown["cost"] == "unknown"
    assert shown["charges of unknown price"] == 4
    assert "IMAGEGEN_PRICES" in shown["cost by model"]


def test_a_plot_that_fails_is_told_and_costs_nothing_else(
    dagster: Dagster, prompts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in drawing stands where the plot would be; pictures, table and run are good."""

    def faulty(_: object) -> bytes:
        raise ZeroDivisionError("no bins")

    monkeypatch.setattr(results_metadata, "plot_seconds", faulty)
    assert dagster.run(*PROMPT_ASSETS, keys=prompts).success
    shown = metadata(dagster)
    assert shown["seconds"] == "This could not be drawn: ZeroDivisionError: no bins"
    image(shown["outcomes over time"])
    assert shown["pictures made"] == 4


def test_approved_pictures_are_shown(dagster: Dagster, prompts: list[str]) -> None:
    """The approved table has its columns, its newest pictures and their names."""
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
    """The users' JSON logs, oldest first."""
    return sorted((project.results / "logs").glob("duomi_generation_results_*.json"))


def test_a_run_writes_the_users_log(dagster: Dagster, prompts: list[str]) -> None:
    """One entry for each prompt of the run, as the commands write it; the run names the file."""
    result = dagster.run(*PROMPT_ASSETS, keys=prompts)
    (log,) = users_logs(dagster.project)
    entries = json.loads(log.read_text())
    assert sorted(entry["key"] for entry in entries) == sorted(prompts)
    assert {(entry["success"], entry["source"], entry["status"]) for entry in entries} == {
        (True, "json", "made")
    }
    assert all(Path(entry["saved_path"]).is_file() for entry in entries)
    outputs = result.filter_events(lambda event: event.is_successful_output)
    told = [one.step_output_data.metadata.get("results log") for one in outputs]
    assert [value.value for value in told if value] == [str(log)]


def test_a_run_that_fails_names_its_log(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """What failed is in the log with its reason, and the failure says where the log lies."""
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
    """The pictures and the table are there: a missing log is an error line of the run."""
    logs = dagster.project.results / "logs"
    logs.parent.mkdir(parents=True, exist_ok=True)
    logs.touch()
    assert dagster.run(*PROMPT_ASSETS, keys=prompts).success
    assert metadata(dagster)["pictures made"] == 4


def test_the_log_does_not_wait_for_the_table(
    dagster: Dagster, prompts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written first, so that its lines are not in memory beside the table, and it is there
    when the table fails.
    """

    def fail(_: object) -> None:
        raise StoreError("There is no room for the table.")

    monkeypatch.setattr(step_reporter, "refresh_results", fail)
    assert not dagster.run("generated_images", keys=prompts).success
    (log,) = users_logs(dagster.project)
    assert len(json.loads(log.read_text())) == len(prompts)


def test_base_images_have_no_log_of_prompts(dagster: Dagster) -> None:
    """The users' log is of prompts: an actor's run writes none."""
    dagster.project.write_actor("0100_sailor", description="an old sailor")
    dagster.register()
    dagster.run("actor_base_images", keys=["0100_sailor"])
    assert metadata(dagster)["pictures made"] == 1
    assert users_logs(dagster.project) == []


def test_the_command_line_refreshes_the_table(project: Project, dagster: Dagster) -> None:
    """What `imagegen generate` makes is in the table at its end; reuse changes nothing."""
    project.write_json("mill", "a mill by a stream")
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    for _ in range(2):
        project.run(*command)
    assert len(dagster.events("generation_results")) == 1
    assert metadata(dagster)["pictures made"] == 1
    assert len(pd.read_parquet(project.pipeline().results_file)) == 1


def test_a_command_whose_pictures_failed_refreshes_the_table(
    project: Project, dagster: Dagster, simulator: Simulator
) -> None:
    """A failure is news of the table, though no picture is."""
    project.write_json("mill", "a mill by a stream")
    simulator.fault(provider="duomi", operation="submit", fault="status", status=400, times=-1)
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    assert project.run(*command, check=False).returncode == 1
    assert metadata(dagster)["failed"] == 1


def test_without_dagster_the_table_is_refreshed_all_the_same(project: Project) -> None:
    """A command in a folder without an instance writes the table, and says nothing of it."""
    (project.root / "dagster.yaml").unlink()
    (project.root / ".env").write_text("")
    project.write_json("mill", "a mill by a stream")
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    output_without_event = project.run(*command, IMAGEGEN_DATA_DIR=str(project.data))
    assert len(pd.read_parquet(project.results / "generation_results.parquet")) == 1
    assert "out of date" not in output_without_event.stderr


def test_a_table_that_cannot_be_written_costs_no_picture(project: Project) -> None:
    """The command says so, and its pictures are made."""
    project.write_json("mill", "a mill by a stream")
    blocked = project.results / ".generation_results.parquet.lock"
    blocked.mkdir(parents=True)
    command = ("imagegen", "generate", "--source", "json", "--image-size", SMALL)
    output_without_event = project.run(*command)
    assert "The results table may be out of date" in output_without_event.stderr
    assert "1 made" in output_without_event.stdout


def test_a_server_that_has_fallen_quiet_refreshes_the_table(
    project: Project, dagster: Dagster
) -> None:
    """What a server made is in the table when nothing more comes, long before the server ends."""
    project.write_json("mill", "a mill by a stream")
    pipeline = project.pipeline()
    (prompt,) = pipeline.scan_prompts(database=False).prompts
    parameters = PromptParameters(image_size=SMALL)
    (outcome,) = pipeline.generate_images([prompt], parameters, pipeline.order())
    news = ReportQueue(pipeline, quiet_seconds=0.05)
    news.start()
    news.add(outcome)
    until(lambda: dagster.events("generation_results"))
    news.close(30)
    assert len(dagster.events("generation_results")) == 1
    pipeline.close()
