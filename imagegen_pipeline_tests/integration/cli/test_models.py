"""``imagegen models``: costs, confirmation and results."""

from __future__ import annotations

import json
import sys

import pytest

from imagegen_pipeline.providers.duomi.provider import KNOWN_MODELS
from imagegen_pipeline_tests.conftest import Project, Simulator
from imagegen_pipeline_tests.integration.cli.conftest import Invoke


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["imagegen_pipeline.cli.models"]  # the package's name is the command's
    monkeypatch.setattr(module, "TEST_SIZE", "64x64")


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_it_buys_nothing_without_confirmation(
    answer: str, project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A no, or the end of input, is exit 1 without an image; the cost is printed before."""
    result = invoke("models", answer=answer)
    assert result.exit_code == 1
    assert "up to 6 images, their price is unknown" in result.stderr
    assert result.stdout == ""
    assert simulator.billed() == 0


def test_it_buys_until_one_model_answers(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """It stops at the first model that answers: one image, one line on stdout."""
    result = invoke("models", answer="y\n")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{KNOWN_MODELS[0]}: answers (")
    assert simulator.billed() == 1


def test_all_tries_every_model(project: Project, simulator: Simulator, invoke: Invoke) -> None:
    """``--all`` continues after the first answer."""
    result = invoke("models", "--yes", "--all")
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [*KNOWN_MODELS]
    assert simulator.billed() == len(KNOWN_MODELS)


def test_a_disabled_model_is_skipped(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A refusal is printed with its reason, and the next model is tried."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=403)
    result = invoke("models", "--yes")
    assert result.exit_code == 0
    refused, answers = result.stdout.splitlines()
    assert refused.startswith(f"{KNOWN_MODELS[0]}: no: API request failed with status 403")
    assert answers.startswith(f"{KNOWN_MODELS[1]}: answers (")


def test_no_answer_at_all_is_exit_1(project: Project, simulator: Simulator, invoke: Invoke) -> None:
    """If every model refuses, each is listed."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=403, times=-1)
    result = invoke("models", "--yes")
    assert result.exit_code == 1
    assert result.stdout.count(": no: ") == len(KNOWN_MODELS)


def test_the_cost_is_computed_from_the_price_table(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """If all prices are known, the highest cost is printed."""
    monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps({"duomi": dict.fromkeys(KNOWN_MODELS, 0.5)}))
    assert "at most 3." in invoke("models", answer="n\n").stderr


def test_a_missing_key_is_exit_2_before_the_confirmation(
    live_project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """A missing key is exit 2 without a question."""
    monkeypatch.delenv("DUOMI_API_KEY")
    result = invoke("models", answer="y\n")
    assert result.exit_code == 2
    assert "DUOMI_API_KEY is not set." in result.stderr
    assert "Continue?" not in result.stderr


def test_a_provider_without_a_list_of_models_is_refused(
    project: Project, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI's workflow determines the model, so the command is refused."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "comfyui")
    result = invoke("models", "--yes")
    assert result.exit_code == 2
    assert "ComfyUI has no list of models to try." in result.stderr
