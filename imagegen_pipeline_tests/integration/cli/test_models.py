"""``imagegen models``: it buys pictures, so it says the cost and asks."""

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
def test_it_buys_nothing_without_a_yes(
    answer: str, project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A no, or an input that ends, is exit 1 and no picture; the cost was said before."""
    result = invoke("models", answer=answer)
    assert result.exit_code == 1
    assert "up to 6 images, their price is unknown" in result.stderr
    assert result.stdout == ""
    assert simulator.billed() == 0


def test_a_yes_buys_until_one_answers(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """The first model that answers ends it: one picture, one line on stdout."""
    result = invoke("models", answer="y\n")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{KNOWN_MODELS[0]}: answers (")
    assert simulator.billed() == 1


def test_all_tries_every_model(project: Project, simulator: Simulator, invoke: Invoke) -> None:
    """``--all`` goes on after the first answer."""
    result = invoke("models", "--yes", "--all")
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [*KNOWN_MODELS]
    assert simulator.billed() == len(KNOWN_MODELS)


def test_a_model_that_is_disabled_is_passed_over(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A refusal is told with its reason, and the next model is tried."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=403)
    result = invoke("models", "--yes")
    assert result.exit_code == 0
    refused, answers = result.stdout.splitlines()
    assert refused.startswith(f"{KNOWN_MODELS[0]}: no: API request failed with status 403")
    assert answers.startswith(f"{KNOWN_MODELS[1]}: answers (")


def test_no_answer_at_all_is_exit_1(project: Project, simulator: Simulator, invoke: Invoke) -> None:
    """When every model refuses, each is told."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=403, times=-1)
    result = invoke("models", "--yes")
    assert result.exit_code == 1
    assert result.stdout.count(": no: ") == len(KNOWN_MODELS)


def test_the_cost_is_said_from_the_price_table(
    project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """With every price known, the most that it can cost is a number."""
    monkeypatch.setenv("IMAGEGEN_PRICES", json.dumps({"duomi": dict.fromkeys(KNOWN_MODELS, 0.5)}))
    assert "at most 3." in invoke("models", answer="n\n").stderr


def test_it_needs_a_key_before_it_asks(
    live_project: Project, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """Without a key there is nothing to ask: exit 2."""
    monkeypatch.delenv("DUOMI_API_KEY")
    result = invoke("models", answer="y\n")
    assert result.exit_code == 2
    assert "DUOMI_API_KEY is not set." in result.stderr
    assert "Continue?" not in result.stderr


def test_a_provider_without_a_list_of_models_says_so(
    project: Project, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workflow decides ComfyUI's model, so there is nothing to try."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "comfyui")
    result = invoke("models", "--yes")
    assert result.exit_code == 2
    assert "ComfyUI has no list of models to try." in result.stderr
