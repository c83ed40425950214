"""Duomi when all goes well: both modes, both answer shapes, every state of a task."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    JobExpiredError,
    JobFailedError,
    RequestRefusedError,
)
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.providers.base import JobReport, JobState
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.simulator.options import DUOMI_ANSWERS, SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.providers.conftest import Ended
from imagegen_pipeline_tests.integration.providers.local_services import (
    DUOMI_KEY,
    duomi_at,
    gpt,
    json_answer,
    recording,
    sdxl,
)


def finished(report: JobReport | None) -> JobReport:
    """The report of a submission that must have one."""
    assert report is not None
    return report


@pytest.mark.parametrize("shape", DUOMI_ANSWERS)
def test_every_documented_answer_holds_the_picture(
    shape: str, opened: Callable[[Any], Any], downloader: Downloader
) -> None:
    """``images`` and ``data``, each by URL or as base64, give the picture that was asked for."""
    with running(SimulatorOptions(latency=0.01, duomi_answer=shape)) as root:
        client = opened(duomi_at(root))
        (image,) = finished(client.submit(sdxl(width=64, height=96)).report).images
        data = image.data if image.url is None else downloader.fetch(image.url)
    assert (image.url is None) == shape.endswith("b64_json")
    assert data is not None
    picture = decode_picture(data)
    assert (picture.width, picture.height) == (64, 96)


def test_the_synchronous_mode_answers_at_once(duomi: DuomiClient) -> None:
    """The submission names no job: it is the finished report, with the provider's own facts."""
    submission = duomi.submit(sdxl(seed=77))
    report = finished(submission.report)
    assert submission.job_id is None
    assert report.state is JobState.COMPLETED
    assert report.seed == 77
    assert report.run_seconds is not None
    assert report.run_seconds > 0
    assert report.raw is not None
    assert report.raw["images"][0]["url"] == report.images[0].url


def test_the_raw_answer_holds_no_picture(opened: Callable[[Any], Any]) -> None:
    """What is kept of the answer has its base64 cut short, so that logs stay small."""
    with running(SimulatorOptions(latency=0.01, duomi_answer="images:b64_json")) as root:
        report = finished(opened(duomi_at(root)).submit(sdxl()).report)
    assert report.raw is not None
    assert report.images[0].data
    assert len(report.raw["images"][0]["b64_json"]) < 100


def test_the_request_goes_out_as_documented(opened: Callable[[Any], Any]) -> None:
    """The raw key without ``Bearer``, and the body of the documentation with our values."""
    with recording(json_answer({"images": [{"url": "https://pictures.example/1"}]})) as server:
        client = opened(duomi_at(server.url))
        client.submit(sdxl(negative_prompt="fog", seed=9_999_999_999))
    (request,) = server.requests
    assert request["path"] == "/duomi/v1/images/generations"
    assert request["headers"]["authorization"] == DUOMI_KEY
    assert request["json"] == {
        "model": "stabilityai/stable-diffusion-xl-base-1.0",
        "prompt": "a lighthouse",
        "negative_prompt": "fog",
        "image_size": "64x64",
        "batch_size": 1,
        "seed": 9_999_999_999,
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
    }


def test_more_pictures_than_asked_for_are_all_given(opened: Callable[[Any], Any]) -> None:
    """Every picture of an answer was paid for, so every one is in the report."""
    images = [{"url": "https://a.example/1"}, {"b64_json": base64.b64encode(b"x").decode()}]
    with recording(json_answer({"images": images})) as server:
        report = finished(opened(duomi_at(server.url)).submit(sdxl()).report)
    assert [image.url or image.data for image in report.images] == ["https://a.example/1", b"x"]


def test_an_empty_error_beside_a_picture_is_no_error(opened: Callable[[Any], Any]) -> None:
    """Success that spells out ``error: {}`` and ``code: 200`` does not lose a paid picture."""
    body = {"error": {}, "code": 200, "data": [{"url": "https://a.example/1"}]}
    with recording(json_answer(body)) as server:
        report = finished(opened(duomi_at(server.url)).submit(sdxl()).report)
    assert report.images[0].url == "https://a.example/1"


def test_the_asynchronous_mode_goes_by_task(
    duomi: DuomiClient, ended: Ended, downloader: Downloader
) -> None:
    """gpt-image-2 gives a task at once, and the picture when the task has succeeded."""
    submission = duomi.submit(gpt())
    assert submission.report is None
    assert submission.job_id is not None
    assert submission.job_id.startswith("task-")
    (image,) = ended(duomi, submission.job_id).images
    assert image.url is not None
    picture = decode_picture(downloader.fetch(image.url))
    assert (picture.width, picture.height) == (1024, 640)


def test_the_asynchronous_request_has_its_own_fields(opened: Callable[[Any], Any]) -> None:
    """gpt-image-2 is asked with ``size``, ``n`` and ``quality``, and ``?async=true``."""
    with recording(json_answer({"id": "task-1"})) as server:
        opened(duomi_at(server.url)).submit(gpt())
    (request,) = server.requests
    assert request["path"].endswith("/v1/images/generations?async=true")
    assert request["json"] == {
        "model": "gpt-image-2",
        "prompt": "a lighthouse",
        "size": "1024x640",
        "n": 1,
        "quality": "high",
    }


@pytest.mark.parametrize(
    ("mode", "model", "by_task"),
    [
        ("auto", "stabilityai/stable-diffusion-xl-base-1.0", False),
        ("auto", "gpt-image-2", True),
        ("sync", "gpt-image-2", False),
        ("async", "stabilityai/stable-diffusion-xl-base-1.0", True),
    ],
)
def test_the_mode_can_be_forced(
    mode: str, model: str, by_task: bool, opened: Callable[[Any], Any]
) -> None:
    """The model decides the mode unless a setting does."""
    client = opened(duomi_at("http://127.0.0.1:9", mode=mode))
    assert client.is_async(model) is by_task


@pytest.mark.parametrize(
    ("state", "expected"), [("pending", JobState.QUEUED), ("running", JobState.RUNNING)]
)
def test_a_task_under_way_is_reported_as_such(
    state: str, expected: JobState, simulator: Simulator, duomi: DuomiClient
) -> None:
    """A task that waits or runs is a report without pictures."""
    body = {"id": "task-1", "state": state, "progress": 40}
    simulator.fault(provider="duomi", operation="status", fault="status", status=200, body=body)
    assert duomi.poll("task-1", duomi.endpoint) == JobReport(expected)


@pytest.mark.parametrize(
    "answer",
    [
        {"state": "failed", "message": "the moderation said no"},
        {"state": "error", "error": "the moderation said no"},
        {"state": "failed", "error": {"code": "m", "message": "the moderation said no"}},
        {"state": "cancelled", "data": None, "msg": "the moderation said no"},
    ],
)
def test_a_task_that_failed_is_a_failed_job(
    answer: dict[str, Any], simulator: Simulator, duomi: DuomiClient
) -> None:
    """Failed, error and cancelled raise the job's failure with its id and the given reason."""
    simulator.fault(provider="duomi", operation="status", fault="status", status=200, body=answer)
    with pytest.raises(JobFailedError, match="the moderation said no") as caught:
        duomi.poll("task-1", duomi.endpoint)
    assert caught.value.job_id == "task-1"
    assert (caught.value.kind, caught.value.stops_batch) == ("job_failed", False)
    assert str(answer["state"]) in str(caught.value)


@pytest.mark.parametrize("fault", ["job_failed", "job_cancelled", "job_timed_out"])
def test_a_task_that_the_service_gave_up_is_a_failed_job(
    fault: str, simulator: Simulator, duomi: DuomiClient, ended: Ended
) -> None:
    """Every bad end of a real task is the failure of that job."""
    simulator.fault(provider="duomi", operation="submit", fault=fault)
    job_id = duomi.submit(gpt()).job_id
    assert job_id is not None
    with pytest.raises(JobFailedError, match=job_id):
        ended(duomi, job_id)
    assert simulator.billed() == 0


@pytest.mark.parametrize("state", ["paused", None, ["running"], {"is": "running"}])
def test_an_unknown_state_is_not_success(
    state: object, simulator: Simulator, duomi: DuomiClient
) -> None:
    """An undocumented state is an unreadable answer."""
    body = {"id": "task-1", "state": state, "data": {"images": [{"url": "https://a.example"}]}}
    simulator.fault(provider="duomi", operation="status", fault="status", status=200, body=body)
    with pytest.raises(BadAnswerError, match="unknown state"):
        duomi.poll("task-1", duomi.endpoint)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"code": 404, "message": "task not found", "data": None}),
        (200, {"code": 404, "msg": "task not found"}),
    ],
)
def test_a_task_that_is_gone_has_expired(
    status: int, body: object, simulator: Simulator, duomi: DuomiClient
) -> None:
    """Both forms of "not found" mean that the image is lost."""
    simulator.fault(provider="duomi", operation="status", fault="status", status=status, body=body)
    with pytest.raises(JobExpiredError, match="task-1") as caught:
        duomi.poll("task-1", duomi.endpoint)
    assert (caught.value.kind, caught.value.job_id) == ("job_expired", "task-1")
    assert "Run again" in caught.value.remedy


@pytest.mark.parametrize("fault", ["no_output", "empty_images", "broken_base64"])
def test_success_without_a_picture_cannot_be_understood(
    fault: str, simulator: Simulator, duomi: DuomiClient
) -> None:
    """A 200 without a usable picture is never taken for one."""
    simulator.fault(provider="duomi", operation="submit", fault=fault)
    with pytest.raises(BadAnswerError) as caught:
        duomi.submit(sdxl())
    assert (caught.value.kind, caught.value.stops_batch) == ("bad_answer", False)


@pytest.mark.parametrize("fault", ["html_200", "broken_json"])
def test_a_page_in_place_of_an_answer_cannot_be_understood(
    fault: str, simulator: Simulator, duomi: DuomiClient
) -> None:
    """HTML or half a JSON under a 200 is no picture; for a task it may have made one."""
    simulator.fault(provider="duomi", operation="submit", fault=fault, times=2)
    with pytest.raises(BadAnswerError, match="not a JSON object"):
        duomi.submit(sdxl())
    with pytest.raises(BadAnswerError, match="named none"):
        duomi.submit(gpt())


def test_duomi_has_no_cancel_and_no_health(duomi: DuomiClient, simulator: Simulator) -> None:
    """Neither is documented, so nothing is sent."""
    duomi.cancel("task-1", duomi.endpoint)
    assert duomi.health() == {}
    assert simulator.stats()["requests"] == {}


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"steps": 0}, "1 to 100"),
        ({"steps": 101}, "1 to 100"),
        ({"guidance": 20.5}, "0 to 20"),
        ({"guidance": float("nan")}, "0 to 20"),
        ({"seed": -1}, "0 to 9999999999"),
        ({"seed": 10_000_000_000}, "0 to 9999999999"),
        ({"model": "gpt-image-2", "width": 1000, "height": 1000}, "divisible by 16"),
        ({"model": "gpt-image-2", "width": 512, "height": 512}, "655,360"),
    ],
)
def test_what_the_service_would_refuse_is_not_sent(
    changes: dict[str, Any], hint: str, duomi: DuomiClient, simulator: Simulator
) -> None:
    """A request outside the provider's limits is refused here, with the limits."""
    with pytest.raises(RequestRefusedError, match=hint):
        duomi.submit(sdxl(**changes))
    assert simulator.stats()["requests"] == {}
