"""What RunPod's workers put under ``output``: every shape, and failures dressed as success."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import BadAnswerError, JobFailedError, ProviderError
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.providers.base import JobReport, JobState
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.providers.runpod.client import RunPodClient
from imagegen_pipeline.simulator.options import RUNPOD_OUTPUTS, SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.providers.conftest import Ended
from imagegen_pipeline_tests.integration.providers.local_services import flux, runpod_at


def completed(simulator: Simulator, runpod: RunPodClient, **body: Any) -> JobReport:
    """The report of a job that is COMPLETED with this in its body."""
    answer = {"id": "j", "status": "COMPLETED", "delayTime": 824, "executionTime": 3391, **body}
    simulator.fault(provider="runpod", operation="status", fault="status", status=200, body=answer)
    return runpod.poll("j", runpod.endpoint)


@pytest.mark.parametrize("shape", RUNPOD_OUTPUTS)
def test_every_shape_holds_the_picture(
    shape: str, opened: Callable[[Any], Any], ended: Ended, downloader: Downloader
) -> None:
    """Whatever shape a worker chose, as base64, data URI or URL, the picture is found."""
    with running(SimulatorOptions(latency=0.01, runpod_output=shape)) as root:
        client = opened(runpod_at(root))
        job_id = client.submit(flux()).job_id
        assert job_id is not None
        (image,) = ended(client, job_id).images
        data = image.data if image.url is None else downloader.fetch(image.url)
        assert Simulator(root).stats()["key_leaks"] == 0
    assert (image.url is not None) == (shape.endswith("url"))
    assert data is not None
    assert decode_picture(data).width == 64


@pytest.mark.parametrize(
    "output",
    [
        ["aGVsbG8="],
        "aGVsbG8=",
        {"images": "aGVsbG8="},
        {"images": [{"image": "data:image/png;base64,aGVsbG8="}]},
        {"images": [{"b64_json": "aGVs\nbG8=", "filename": "x.png"}]},
        {"image": {"base64": "aGVsbG8="}},
        {"images": [], "job_results": {"images": ["aGVsbG8="]}},
    ],
)
def test_near_relatives_of_the_known_shapes_are_read_too(
    output: object, simulator: Simulator, runpod: RunPodClient
) -> None:
    """A paid picture is not lost to a worker that leaves a list or an object out."""
    report = completed(simulator, runpod, output=output)
    assert [image.data for image in report.images] == [b"hello"]


def test_all_pictures_warnings_and_times_are_reported(
    simulator: Simulator, runpod: RunPodClient
) -> None:
    """Several pictures keep their order; the worker's complaints beside them are warnings."""
    output = {"images": ["YQ==", {"type": "s3_url", "data": "https://b.example"}], "errors": ["e"]}
    report = completed(simulator, runpod, output=output)
    assert report.state is JobState.COMPLETED
    assert [image.data or image.url for image in report.images] == [b"a", "https://b.example"]
    assert report.warnings == ("e",)
    assert (report.queue_seconds, report.run_seconds) == (0.824, 3.391)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (None, "COMPLETED without output"),
        ({}, "COMPLETED without output"),
        ([], "COMPLETED without output"),
        ("", "COMPLETED without output"),
        ({"status": "error", "message": "Workflow execution failed"}, "Workflow execution failed"),
        ({"status": "success_no_images", "images": []}, "success_no_images"),
        ({"status": "success_no_images", "images": [], "message": "none made"}, "none made"),
        ({"error": "Job processing failed", "details": ["Node 13"]}, "Job processing failed"),
        ({"error": "broken", "images": ["aGk="]}, "broken"),
        ({"images": []}, "no picture in it"),
        ({"images": ""}, "no picture in it"),
        ({"job_results": {"images": []}}, "no picture in it"),
        ({"output": {"images": []}}, "no picture in it"),
        ({"message": "", "status": "success"}, "success"),
    ],
)
def test_a_failure_dressed_as_success_is_a_failed_job(
    output: object, reason: str, simulator: Simulator, runpod: RunPodClient
) -> None:
    """COMPLETED without a picture is the job's failure, with the reason that the worker gave."""
    with pytest.raises(JobFailedError, match=reason) as caught:
        completed(simulator, runpod, output=output)
    assert (caught.value.kind, caught.value.job_id) == ("job_failed", "j")
    assert caught.value.remedy


@pytest.mark.parametrize("fault", ["no_output", "empty_images", "error_in_completed"])
def test_billed_jobs_without_a_picture_are_failed_jobs(
    fault: str, simulator: Simulator, runpod: RunPodClient, ended: Ended
) -> None:
    """A billed job without an image has failed."""
    simulator.fault(provider="runpod", operation="submit", fault=fault)
    job_id = runpod.submit(flux()).job_id
    assert job_id is not None
    with pytest.raises(JobFailedError, match=job_id):
        ended(runpod, job_id)
    assert simulator.billed("runpod") == 1


def test_a_result_over_the_size_limit_says_what_to_do(
    simulator: Simulator, runpod: RunPodClient
) -> None:
    """COMPLETED without the field ``output`` names the likely cause and the way out."""
    with pytest.raises(JobFailedError) as caught:
        completed(simulator, runpod)
    assert "smaller picture" in caught.value.remedy


@pytest.mark.parametrize(
    "output",
    [7, True, {"images": [None]}, {"images": [{}]}, {"images": ["*not base64*"]}, {"images": [7]}],
)
def test_an_output_of_no_known_shape_cannot_be_understood(
    output: object, simulator: Simulator, runpod: RunPodClient
) -> None:
    """Anything that is neither an image nor a known failure is a bad answer."""
    with pytest.raises(ProviderError) as caught:
        completed(simulator, runpod, output=output)
    assert type(caught.value) is BadAnswerError


def test_base64_that_does_not_decode_cannot_be_understood(
    simulator: Simulator, runpod: RunPodClient, ended: Ended
) -> None:
    """Broken base64 is a bad answer that says so."""
    simulator.fault(provider="runpod", operation="submit", fault="broken_base64")
    job_id = runpod.submit(flux()).job_id
    assert job_id is not None
    with pytest.raises(BadAnswerError, match="base64 that does not decode"):
        ended(runpod, job_id)
