"""Set-up that goes wrong with a key in hand: no frame on the way holds it in plain."""

from __future__ import annotations

import traceback
from contextlib import closing
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.pipeline import Pipeline
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


@pytest.mark.parametrize("name", ["duomi", "runpod"])
@pytest.mark.parametrize("wrong", [" twice", "\u201d", "\x1b"])
def test_a_mistyped_key_is_in_no_frame(
    name: str, wrong: str, live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who checks a key holds it wrapped."""
    monkeypatch.setenv(f"{name.upper()}_API_KEY", CANARY + wrong)
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
