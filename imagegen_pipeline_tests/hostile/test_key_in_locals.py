"""Set-up errors with a key at hand: no frame of the traceback has it in plain text."""

from __future__ import annotations

import traceback
from contextlib import closing
from typing import Any

import pytest

from imagegen_pipeline.defs.resources import DuomiResource, RunPodResource
from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline_tests.conftest import Project

CANARY = "c4n4ry7f3a9c55d1"


def with_locals(error: BaseException) -> str:
    """The error's traceback with local variables."""
    full = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(full.format())


def opening(name: Any) -> str:
    """The text of a failure to open the provider's client."""
    with closing(Pipeline()) as pipeline, pytest.raises(ImagegenError) as caught:
        pipeline.provider(name)
    return with_locals(caught.value)


@pytest.mark.parametrize("name", ["duomi", "runpod"])
@pytest.mark.parametrize("wrong", [" twice", "\u201d", "\x1b"])
def test_a_mistyped_key_is_in_no_frame(
    name: str, wrong: str, live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is wrapped while it is validated."""
    monkeypatch.setenv(f"{name.upper()}_API_KEY", CANARY + wrong)
    assert CANARY not in opening(name)


@pytest.mark.parametrize(
    ("variable", "value"), [("IMAGEGEN_WORKFLOW", "nowhere"), ("RUNPOD_SERVER_100_ID", "a/b")]
)
def test_a_good_key_is_in_no_frame_of_what_goes_wrong_beside_it(
    variable: str, value: str, live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing workflow, or an invalid endpoint, is reported without the key."""
    monkeypatch.setenv("RUNPOD_API_KEY", CANARY)
    monkeypatch.setenv(variable, value)
    assert CANARY not in opening("runpod")


@pytest.mark.parametrize("resource", [DuomiResource, RunPodResource])
@pytest.mark.parametrize("wrong", ["\u201d", "\n\nx"])
def test_a_resource_with_a_wrong_key_does_not_show_it(
    resource: Any, wrong: str, live_project: Project
) -> None:
    """Neither the resource nor any frame on the way to its client has it in plain text."""
    with closing(Pipeline()) as pipeline:
        configured = resource(api_key=CANARY + wrong)
        with pytest.raises(ImagegenError) as caught:
            configured.client(pipeline)
    assert CANARY not in with_locals(caught.value)
