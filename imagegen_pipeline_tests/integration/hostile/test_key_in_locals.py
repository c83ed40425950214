"""Set-up that goes wrong with a key in hand: no frame on the way holds it in plain."""

from __future__ import annotations

import traceback
from contextlib import closing
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import ImagegenError, SetupError
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import load_settings
from imagegen_pipeline_tests.conftest import Project

CANARY = "c4n4ry7f3a9c55d1"


def with_locals(error: BaseException) -> str:
    """The error's traceback as the most talkative of tools would show it."""
    full = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(full.format())


def opening(name: Any) -> str:
    """What a failure to open the service's client shows."""
    with closing(Pipeline()) as pipeline, pytest.raises(ImagegenError) as caught:
        pipeline.provider(name)
    return with_locals(caught.value)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("duomi", "DUOMI_API_KEY"),
        ("runpod", "RUNPOD_API_KEY"),
        ("comfyui", "COMFYUI_API_TOKEN"),
    ],
)
@pytest.mark.parametrize("wrong", [" twice", "\u201d", "\x1b"])
def test_a_mistyped_key_is_in_no_frame(
    name: str, variable: str, wrong: str, live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who checks a key holds it wrapped."""
    monkeypatch.setenv(variable, CANARY + wrong)
    assert CANARY not in opening(name)


@pytest.mark.parametrize(
    ("variable", "value"), [("IMAGEGEN_WORKFLOW", "nowhere"), ("RUNPOD_SERVER_100_ID", "a/b")]
)
def test_a_good_key_is_in_no_frame_of_what_goes_wrong_beside_it(
    variable: str, value: str, live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow that is missing, or an endpoint that is none, is found with the key in hand."""
    monkeypatch.setenv("RUNPOD_API_KEY", CANARY)
    monkeypatch.setenv(variable, value)
    assert CANARY not in opening("runpod")


@pytest.mark.parametrize("provider", ["DUOMI", "RUNPOD", "COMFYUI"])
def test_a_good_key_is_in_no_frame_of_a_bad_setting(
    provider: str, live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider's settings are read together: an address that is none does not show the key."""
    for variable in ("DUOMI_API_KEY", "RUNPOD_API_KEY", "COMFYUI_API_TOKEN"):
        monkeypatch.setenv(variable, CANARY)
    monkeypatch.setenv(f"{provider}_BASE_URL", "nowhere")
    with pytest.raises(SetupError, match=f"{provider}_BASE_URL has a bad value") as caught:
        load_settings()
    assert CANARY not in with_locals(caught.value)


def test_no_settings_show_a_key(live_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a provider's settings nor the settings that hold them."""
    for variable in ("DUOMI_API_KEY", "RUNPOD_API_KEY", "COMFYUI_API_TOKEN"):
        monkeypatch.setenv(variable, CANARY)
    settings = load_settings()
    for name in ("duomi", "runpod", "comfyui"):
        read = settings.provider_settings(name)
        assert CANARY not in f"{read} {read!r} {vars(read)} {read.model_dump_json()}"
        assert [secret.get_secret_value() for secret in read.secrets] == [CANARY]
    shown = f"{settings} {settings!r} {vars(settings)} {settings.__pydantic_private__}"
    assert CANARY not in shown
    assert len(settings.secrets) == 3
