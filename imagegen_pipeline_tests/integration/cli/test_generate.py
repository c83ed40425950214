"""``imagegen generate``: results, output and refusals."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.cli.conftest import GENERATE, Invoke, on_a_terminal

ONE = (*GENERATE, "prompt", "--prompt", "a lighthouse at dusk")
MODEL = "stabilityai/stable-diffusion-xl-base-1.0"


def attempts(project: Project) -> list[Attempt]:
    """Every attempt in the ledger."""
    with closing(project.pipeline()) as pipeline:
        return [attempt for attempt, _ in pipeline.ledger.attempts.rows()]


def pictures(project: Project) -> list[Path]:
    """The pictures that the simulator made."""
    return sorted((project.results / "generated_images").glob("*.png"))


def test_an_image_is_generated_and_then_reused(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """Progress goes to stderr, the summary to stdout; a repeated command costs nothing."""
    first = invoke(*ONE)
    (picture,) = pictures(project)
    assert first.exit_code == 0
    assert first.stderr.startswith("[1/1] made prompt-a-lighthouse-at-dusk-")
    assert str(picture) in first.stderr
    assert first.stdout.startswith("1 made. Cost 0, and 1 picture of unknown price")
    assert f"pictures: {picture.parent}\n" in first.stdout
    assert "[1/1]" not in first.stdout

    second = invoke(*ONE)
    assert second.exit_code == 0
    assert second.stdout.startswith("1 reused. Cost 0.\n")
    assert pictures(project) == [picture]
    assert simulator.billed() == 1


def test_regenerate_buys_one_more_and_keeps_the_old(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """``--regenerate`` generates a second image with a new seed and keeps the first."""
    invoke(*ONE)
    assert invoke(*ONE, "--regenerate").exit_code == 0
    assert len(pictures(project)) == simulator.billed() == 2
    assert len({attempt.seed for attempt in attempts(project)}) == 2


def test_every_parameter_is_sent(project: Project, invoke: Invoke) -> None:
    """The values of the options are sent to the provider."""
    options = (
        *("--model", "black-forest-labs/FLUX.1-dev", "--image-size", "80x96", "--steps", "30"),
        *("--guidance", "10.5", "--seed", "42", "--negative-prompt", "fog, ünschärfe"),
    )
    assert invoke(*ONE, *options).exit_code == 0
    (attempt,) = attempts(project)
    request = attempt.sent_request
    assert (request.model, request.width, request.height) == (options[1], 80, 96)
    assert (request.steps, request.guidance, request.seed) == (30, 10.5, 42)
    assert request.negative_prompt == "fog, ünschärfe"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "0"], "--steps"),
        (["--steps", "101"], "--steps"),
        (["--steps", "2.5"], "--steps"),
        (["--guidance", "-0.1"], "--guidance"),
        (["--guidance", "20.5"], "--guidance"),
        (["--guidance", "nan"], "--guidance"),
        (["--seed", "-2"], "--seed"),
        (["--seed", "10000000000"], "--seed"),
        (["--image-size", "1080"], "'1080' is not a size. Write WIDTHxHEIGHT"),
        (["--image-size", "0x64"], "--image-size"),
        (["--delay", "-1"], "--delay"),
        (["--delay", "nan"], "--delay"),
        (["--delay", "inf"], "--delay"),
        (["--limit", "0"], "--limit"),
        (["--concurrency", "0"], "--concurrency"),
        (["--concurrency", "513"], "--concurrency"),
        (["--model", " "], "--model"),
        (["--negative-prompt", "half \udcff"], "--negative-prompt"),
        (["--api-key", ""], "--api-key"),
        (["--input-dir", "."], "--input-dir works with --source json"),
        (["--prompt", "  "], "The prompt is blank."),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_sent(
    options: list[str], message: str, project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A value out of range is exit 2, names its option, and changes neither ledger nor provider."""
    result = invoke(*ONE, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert simulator.stats()["duomi"]["accepted"] == 0
    assert attempts(project) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*GENERATE, "prompt"), "add --prompt TEXT"),
        ((*GENERATE, "json", "--prompt", "x"), "not with json"),
        ((*GENERATE, "json", "--input-dir", "nowhere"), "The folder does not exist"),
        ((*GENERATE, "sqlite"), "the file does not exist"),
    ],
)
def test_a_missing_source_is_exit_2(
    arguments: tuple[str, ...], message: str, project: Project, invoke: Invoke
) -> None:
    """A source that is missing or not named is wrong usage."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_input_dir_is_relative_to_the_current_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """A relative ``--input-dir`` starts at the current folder, unlike the settings' paths."""
    project.write_json("one", "a mill by a stream")
    (project.root / "below").mkdir()
    monkeypatch.chdir(project.root / "below")
    result = invoke(*GENERATE, "json", "--input-dir", "../data/prompt_json")
    assert result.exit_code == 0
    assert len(pictures(project)) == 1


def test_one_bad_file_fails_alone(project: Project, invoke: Invoke) -> None:
    """An unreadable file is named on stderr, counted, logged, and exit 1."""
    project.write_json("good", "a mill by a stream")
    (project.data / "prompt_json" / "bad.json").write_text("{")
    result = invoke(*GENERATE, "json")
    assert result.exit_code == 1
    assert "bad.json: The JSON is broken" in result.stderr
    assert result.stdout.startswith("1 made, 1 unreadable.")
    (log,) = (project.results / "logs").glob("*.json")
    assert [entry["status"] for entry in json.loads(log.read_text())] == ["made", "unreadable"]


def test_an_empty_folder_is_no_failure(project: Project, invoke: Invoke) -> None:
    """Without prompts the command prints a message and exits with 0."""
    (project.data / "prompt_json").mkdir()
    result = invoke(*GENERATE, "json")
    assert result.exit_code == 0
    assert "there are no prompts to read (--source json)" in result.stderr


def test_a_database_without_image_names_is_noted_and_works(
    project: Project, invoke: Invoke
) -> None:
    """A note on a readable database is no failure: exit 0."""
    path = project.data / "llm_video_batch.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE prompts (id INTEGER, image_id INTEGER, image_prompt TEXT)")
        database.execute("INSERT INTO prompts VALUES (7, 1, 'a mill by a stream')")
    result = invoke(*GENERATE, "sqlite")
    assert result.exit_code == 0
    assert f"note {path}" in result.stderr
    assert result.stdout.startswith("1 made. ")
    assert pictures(project)[0].name.startswith("db_7_")


def test_limit_takes_the_first_in_the_sources_order(project: Project, invoke: Invoke) -> None:
    """``--limit N`` counts items, however large N is."""
    for name in ("a", "b", "c"):
        project.write_json(name, f"picture {name}")
    assert invoke(*GENERATE, "json", "--limit", "2").exit_code == 0
    assert [path.name[0] for path in pictures(project)] == ["a", "b"]
    assert invoke(*GENERATE, "json", "--limit", "9" * 30).exit_code == 0
    assert len(pictures(project)) == 3


def test_the_delay_applies_between_submits_only(project: Project, invoke: Invoke) -> None:
    """Three submits take at least two delays; three reused images take none."""
    for name in ("a", "b", "c"):
        project.write_json(name, f"picture {name}")
    begun = time.monotonic()
    assert invoke(*GENERATE, "json", "--delay", "0.2").exit_code == 0
    assert time.monotonic() - begun >= 0.4
    # A delay before reused images would keep the command for two hours.
    assert invoke(*GENERATE, "json", "--delay", "3600").stdout.startswith("3 reused")


def test_a_dry_run_sends_nothing_and_prints_the_cost(
    project: Project,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    invoke: Invoke,
) -> None:
    """It tells what would be made, reused and spent, by the price table if there is one."""
    project.write_json("a", "picture a")
    invoke(*GENERATE, "json")
    project.write_json("b", "picture b")
    unknown = invoke(*GENERATE, "json", "--dry-run")
    assert unknown.exit_code == 0
    assert "1 to reuse, 1 to make.\nThe price is unknown" in unknown.stdout
    assert unknown.stdout.splitlines()[1].startswith("make json-b-")
    monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps({"duomi": {MODEL: 0.04}}))
    assert "Cost: 0.04." in invoke(*GENERATE, "json", "--dry-run").stdout
    assert simulator.billed() == 1


def test_a_dry_run_needs_no_key(
    live_project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """A dry run works without a key."""
    monkeypatch.delenv("DUOMI_API_KEY")
    result = invoke(*ONE, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "1 to make."


def test_a_live_run_without_its_key_stops_at_once(
    live_project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """One message names the variable and the simulator, before the sources are scanned."""
    live_project.write_json("a", "picture a")
    monkeypatch.setenv("DUOMI_API_KEY", "")
    result = invoke(*GENERATE, "json")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "DUOMI_API_KEY is not set." in line
    assert "IMAGEGEN_SIMULATOR=1" in line
    with closing(live_project.pipeline()) as pipeline:
        assert pipeline.ledger.items.keys("prompt") == []


def test_api_key_replaces_the_variable(
    live_project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """``--api-key`` works if the variable is not set."""
    monkeypatch.delenv("DUOMI_API_KEY")
    assert invoke(*ONE, "--api-key", "simulated-duomi-key").exit_code == 0
    assert simulator.billed() == 1


def test_a_wrong_key_fails_the_first_and_skips_the_rest(
    live_project: Project, simulator: Simulator
) -> None:
    """A refused key stops the batch: one line on the refusal, one on the skipped, exit 1."""
    for number in range(6):
        live_project.write_json(f"p{number}", f"picture {number}")
    command = ("imagegen", *GENERATE, "json", "--api-key", "wrong", "--concurrency", "1")
    done = live_project.run(*command, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("1 failed, 5 skipped. Cost 0.")
    assert "API request failed with status 401" in done.stderr
    assert "Verify that DUOMI_API_KEY is correct" in done.stderr
    assert sum(line.startswith("skipped") for line in done.stderr.splitlines()) == 1
    assert simulator.billed() == 0


def test_an_unwritable_output_folder_is_refused_before_the_first_request(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A file instead of the folder is exit 2, with its path and a remedy; nothing is bought."""
    project.results.mkdir()
    place = project.results / "generated_images"
    place.touch()
    result = invoke(*ONE)
    assert result.exit_code == 2
    assert f"{place} cannot be made" in result.stderr
    assert "permissions" in result.stderr
    assert simulator.billed() == 0


@pytest.mark.parametrize("place", ["simulated", "simulated/logs"])
def test_an_unwritable_data_folder_is_one_line(
    place: str, project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A file instead of the ledger's or the log's folder is exit 2 before anything is sent."""
    blocked = project.data / place
    blocked.parent.mkdir(exist_ok=True)
    blocked.touch()
    result = invoke(*ONE)
    assert result.exit_code == 2
    assert str(blocked) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert simulator.billed() == 0


def test_each_image_is_reported_to_dagster(project: Project, invoke: Invoke) -> None:
    """The instance has the partition of an image when the command ends."""
    invoke(*ONE)
    (attempt,) = attempts(project)
    assert attempt.reported
    instance = open_instance()
    assert instance is not None
    with instance:
        assert instance.get_dynamic_partitions("prompts") == [attempt.item_key]


def test_a_broken_dagster_loses_no_image(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """If the instance cannot be opened, one message is printed and all images are stored."""
    ill = project.root / "ill"
    ill.mkdir()
    (ill / "dagster.yaml").write_text("storage: {nonsense: true}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(ill))
    for name in ("a", "b"):
        project.write_json(name, f"picture {name}")
    result = invoke(*GENERATE, "json")
    assert result.exit_code == 0
    assert result.stderr.count("Reporting to Dagster failed") == 1
    assert "`imagegen sync`" in result.stderr
    assert len(pictures(project)) == 2
    monkeypatch.delenv("DAGSTER_HOME")
    assert "2 pictures reported" in invoke("sync").stdout


def test_a_providers_message_cannot_control_the_terminal(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """Control codes in a refusal are not printed; its text is."""
    body = '{"code": 30003, "message": "gone \\u001b[2J"}'
    told = "\x1b[2J and \x07"
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=403, body=body + told
    )
    result = invoke(*ONE)
    assert result.exit_code == 1
    assert "[2J and" in result.stderr
    assert not {"\x1b", "\x07"} & set(result.stderr)
    assert "\x1b" not in result.stderr


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(project: Project, invoke: Invoke) -> None:
    """A terminal shows a bar; a pipe, and a terminal without width, get a line per item."""
    for number in range(4):
        project.write_json(f"p{number}", f"picture {number}")
    command = (*GENERATE, "json")
    piped = invoke(*command)
    assert "%" not in piped.stderr
    assert "[4/4] made" in piped.stderr
    code, shown = on_a_terminal("imagegen", *command)
    assert code == 0
    assert "100%" in shown
    assert "4/4" in shown
    assert "[4/4]" not in shown
    assert "4 reused" in shown
    code, shown = on_a_terminal("imagegen", *command, columns=0)
    assert code == 0
    assert "[4/4] reused" in shown


def test_a_failure_is_printed_above_the_bar(project: Project, simulator: Simulator) -> None:
    """A terminal shows each failure with its reason."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=400)
    code, shown = on_a_terminal("imagegen", *ONE)
    assert code == 1
    assert "[1/1] failed prompt-a-lighthouse-at-dusk-" in shown


def test_a_dry_run_shows_where_the_budget_ends(
    project: Project, simulator: Simulator, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the run's and the day's budget stands beside the cost, before anything is
    sent; what was spent today is not left.
    """
    model = "stabilityai/stable-diffusion-xl-base-1.0"
    monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps({"duomi": {model: 0.25}}))
    monkeypatch.setenv("IMAGEGEN_BUDGET_RUN", "0.5")
    monkeypatch.setenv("IMAGEGEN_BUDGET_DAY", "1")
    for number in range(4):
        project.write_json(f"p{number}", f"boat {number}")
    command = (*GENERATE, "json")
    before = invoke(*command, "--dry-run").stdout
    assert "Cost: 1." in before
    assert "The run's budget has 0.5 left; the batch stops there." in before
    assert "The day's budget has 1 left." in before

    result = invoke(*command)
    assert result.exit_code == 1
    assert "2 made, 2 skipped" in result.stdout
    assert simulator.billed() == 2
    assert "The day's budget has 0.5 left." in invoke(*command, "--dry-run").stdout


def test_the_chosen_providers_limits_apply(
    project: Project, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI accepts steps that Duomi refuses, and its image costs nothing."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "comfyui")
    made = invoke(*ONE, "--steps", "101")
    assert made.exit_code == 0, made.stderr
    assert "1 made. Cost 0." in made.stdout
    refused = invoke(*ONE, "--steps", "10001")
    assert refused.exit_code == 2
    assert "'--steps'" in refused.stderr
    other = invoke(*ONE, "--model", "sdxl")
    assert other.exit_code == 1
    assert "The workflow decides the model, so 'sdxl' cannot be asked for." in other.stderr
