"""``imagegen base-image``: the HTTP response on stdout, and the exit codes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.cli.conftest import DESCRIPTION, Invoke

ACTOR = "0100_european_25_male"
SMALL_SIZE = ("64", "96", "5")
COMMAND = ("base-image", ACTOR, DESCRIPTION, *SMALL_SIZE)


def test_it_prints_the_response_and_stores_the_image(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """stdout is one JSON object with the bytes of the actor's image file."""
    result = invoke(*COMMAND, "-1")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["status"] == "COMPLETED"
    assert answer["localPath"] == f"/data/actors/{ACTOR}/base_image/{ACTOR}_base.png"
    (image,) = answer["output"]["job_results"]["images"]
    place = project.results / "actors" / ACTOR / "base_image" / f"{ACTOR}_base.png"
    assert base64.b64decode(image) == place.read_bytes()
    assert answer["metadata"]["width"] == 64
    assert result.stderr == ""


def test_the_same_request_again_costs_nothing(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """The stored image is returned, with its random seed."""
    first, second = (json.loads(invoke(*COMMAND, "-1").stdout) for _ in range(2))
    assert first["seed"] == second["seed"]
    assert simulator.billed("runpod") == 1


def test_a_fixed_seed_is_used(project: Project, invoke: Invoke) -> None:
    """A fixed seed is sent and returned."""
    assert json.loads(invoke(*COMMAND, "42").stdout)["seed"] == 42


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("base-image", "a/b", DESCRIPTION), "is not an actor's folder name"),
        (("base-image", ACTOR, ""), "Missing required fields"),
        (("base-image", ACTOR, DESCRIPTION, "65", "96"), "64x96 or 80x96"),
        (("base-image", ACTOR, DESCRIPTION, "-64", "96"), "cannot be drawn"),
        (("base-image", ACTOR, DESCRIPTION, "9" * 30, "96"), "cannot be drawn"),
        (("base-image", ACTOR, DESCRIPTION, "64", "96", "0"), "steps are 1 to"),
        (("base-image", ACTOR, DESCRIPTION, *SMALL_SIZE, "-2"), "seed is -1 (random) or"),
    ],
)
def test_a_bad_request_is_answered_and_exit_2(
    arguments: tuple[str, ...],
    message: str,
    project: Project,
    simulator: Simulator,
    invoke: Invoke,
) -> None:
    """The JSON says FAILED and why, stderr says it too, and nothing is sent."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["status"] == "FAILED"
    assert message in answer["error"]
    assert message in result.stderr
    assert simulator.stats()["runpod"]["accepted"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("base-image", "--regenerate", ACTOR),
        ("base-image", ACTOR, DESCRIPTION, "--seed", "5"),
        ("base-image", ACTOR, DESCRIPTION, "wide"),
        ("base-image", ACTOR, DESCRIPTION, "64", "96", "5", "-1", "7"),
    ],
)
def test_an_unknown_option_is_refused(
    arguments: tuple[str, ...], project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """An unknown option is not an actor; only numbers may be negative."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert simulator.stats()["runpod"]["accepted"] == 0


def test_a_text_after_two_dashes_may_begin_with_a_dash(project: Project, invoke: Invoke) -> None:
    """``--`` ends the options."""
    result = invoke("base-image", "--", ACTOR, f"- {DESCRIPTION}", *SMALL_SIZE, "-1")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["metadata"]["description"] == f"- {DESCRIPTION}"


def test_a_failed_job_is_exit_1(project: Project, simulator: Simulator, invoke: Invoke) -> None:
    """The response of a failed job has status FAILED and the guide's text."""
    simulator.fault(provider="runpod", operation="status", fault="job_failed")
    result = invoke(*COMMAND)
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["status"] == "FAILED"
    assert answer["error"].startswith("Generation failed: ")
    assert answer["error"] in result.stderr


@pytest.mark.parametrize("name", ["RUNPOD_API_KEY", "RUNPOD_SERVER_100_ID"])
def test_a_live_run_without_key_or_endpoint_stops_at_once(
    name: str, live_project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """One message on stderr names the variable; no response is printed and no actor recorded."""
    monkeypatch.setenv(name, "")
    result = invoke(*COMMAND)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{name} is not set." in result.stderr
    assert not (live_project.data / "actors").exists()


def test_a_broken_dagster_keeps_the_response(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """A stored image is returned although it cannot be reported to Dagster."""
    monkeypatch.setenv("DAGSTER_HOME", str(project.root / "nowhere"))
    result = invoke(*COMMAND)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["status"] == "COMPLETED"
    assert "Reporting to Dagster failed" in result.stderr


def test_the_response_is_utf_8_in_every_locale(project: Project, invoke: Invoke) -> None:
    """JSON is UTF-8 in every locale."""
    text = f"{DESCRIPTION}, a café"
    command = ("base-image", ACTOR, text, *SMALL_SIZE)
    assert invoke(*command).exit_code == 0
    done = project.run("imagegen", *command, PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["metadata"]["description"] == text


def test_a_failure_is_in_the_log(project: Project, simulator: Simulator, invoke: Invoke) -> None:
    """A failure is written to the text log."""
    simulator.fault(provider="runpod", operation="status", fault="job_failed")
    invoke(*COMMAND)
    log = Path(project.results / "logs" / "duomi_image_generation.log").read_text()
    assert f"{ACTOR} failed" in log
