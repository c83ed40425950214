"""RunPod's jobs: submit, poll, cancel, health; every state and every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    BadAnswerError,
    JobExpiredError,
    JobFailedError,
    JobTimeoutError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    RateLimitedError,
    RequestRefusedError,
)
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.providers.base import JobReport, JobState
from imagegen_pipeline.providers.runpod.client import RunPodClient
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.providers.conftest import Ended
from imagegen_pipeline_tests.integration.providers.local_services import (
    ENDPOINT,
    RUNPOD_KEY,
    flux,
    json_answer,
    recording,
    runpod_at,
)


def submitted(client: RunPodClient, **changes: Any) -> str:
    """The id of a new job."""
    submission = client.submit(flux(**changes))
    assert submission.report is None
    assert submission.job_id is not None
    return submission.job_id


def says(simulator: Simulator, operation: str, body: object, status: int = 200) -> None:
    """Make the endpoint's next answer this one."""
    simulator.fault(
        provider="runpod", operation=operation, fault="status", status=status, body=body
    )


def test_a_job_is_submitted_polled_and_collected(
    runpod: RunPodClient, ended: Ended, simulator: Simulator
) -> None:
    """A submit gives a job's id, and the completed job a picture of the size that was asked for."""
    job_id = submitted(runpod, width=64, height=96)
    report = ended(runpod, job_id)
    (image,) = report.images
    assert image.data is not None
    picture = decode_picture(image.data)
    assert (picture.width, picture.height) == (64, 96)
    assert report.run_seconds is not None
    assert 0.005 < report.run_seconds < 5
    assert report.queue_seconds is not None
    assert report.raw is not None
    assert report.raw["id"] == job_id
    assert len(json.dumps(report.raw)) < 1000
    assert simulator.billed("runpod") == 1


def test_the_request_goes_out_as_documented(opened: Callable[[Any], Any]) -> None:
    """``POST /run`` with a Bearer key, the bound graph, and our deadlines (and time to collect)."""
    with recording(json_answer({"id": "job-1", "status": "IN_QUEUE"})) as server:
        client = opened(runpod_at(server.url, queue_seconds=600, run_seconds=120))
        client.submit(flux(prompt="a red fox", seed=77))
    (request,) = server.requests
    assert request["path"] == f"/runpod/v2/{ENDPOINT}/run"
    assert request["headers"]["authorization"] == f"Bearer {RUNPOD_KEY}"
    assert request["json"]["policy"] == {"executionTimeout": 120_000, "ttl": 2_520_000}
    graph = json.dumps(request["json"]["input"]["workflow"])
    assert "a red fox" in graph
    assert '"noise_seed": 77' in graph


def test_the_policy_stays_within_what_the_platform_takes(opened: Callable[[Any], Any]) -> None:
    """Deadlines below the platform's least are raised to it, so that the job is not refused."""
    with recording(json_answer({"id": "job-1"})) as server:
        opened(runpod_at(server.url, queue_seconds=1, run_seconds=0.5)).submit(flux())
    assert server.requests[0]["json"]["policy"] == {"executionTimeout": 5_000, "ttl": 1_806_000}
    with running(SimulatorOptions(latency=0.01)) as root:
        assert submitted(opened(runpod_at(root, queue_seconds=1, run_seconds=0.5)))


def test_a_body_over_the_limit_is_not_sent(runpod: RunPodClient, simulator: Simulator) -> None:
    """A request of more than 10 MB is refused here, with its size, before it costs an upload."""
    with pytest.raises(RequestRefusedError, match="10,000,000") as caught:
        runpod.submit(flux(prompt="x" * 10_000_001))
    assert caught.value.kind == "bad_request"
    assert simulator.stats()["requests"] == {}


def test_a_value_that_the_graph_does_not_take_is_not_sent(
    runpod: RunPodClient, simulator: Simulator
) -> None:
    """A seed that is not resolved, or a side off the grid, is refused before anything is sent."""
    for changes in ({"seed": -1}, {"width": 1001}):
        with pytest.raises(RequestRefusedError):
            runpod.submit(flux(**changes))
    assert simulator.stats()["requests"] == {}


@pytest.mark.parametrize(
    ("status", "expected"), [("IN_QUEUE", JobState.QUEUED), ("IN_PROGRESS", JobState.RUNNING)]
)
def test_a_job_under_way_has_no_result_yet(
    status: str, expected: JobState, simulator: Simulator, runpod: RunPodClient
) -> None:
    """IN_QUEUE and IN_PROGRESS give no pictures, even when progress stands in ``output``."""
    body = {"id": "j", "status": status, "delayTime": 61372, "output": {"images": ["aGk="]}}
    says(simulator, "status", body)
    assert runpod.poll("j", runpod.endpoint) == JobReport(expected, queue_seconds=61.372)


def test_a_job_stuck_in_the_queue_can_be_given_up(
    runpod: RunPodClient, simulator: Simulator
) -> None:
    """Cancelling ends a job that waits; to cancel it again, or one that is gone, is no error."""
    simulator.fault(provider="runpod", operation="submit", fault="stuck_in_queue")
    job_id = submitted(runpod)
    assert runpod.poll(job_id, runpod.endpoint).state is JobState.QUEUED
    for job in (job_id, job_id, "no-such-job"):
        runpod.cancel(job, runpod.endpoint)
    assert simulator.stats()["runpod"]["cancelled"] == 1
    with pytest.raises(JobFailedError, match="CANCELLED: it was cancelled"):
        runpod.poll(job_id, runpod.endpoint)


def test_a_cancel_that_is_refused_says_so(runpod: RunPodClient, simulator: Simulator) -> None:
    """A cancel that the provider could not take raises: the job may still run and be billed."""
    says(simulator, "cancel", "<html>", status=502)
    with pytest.raises(ProviderBusyError):
        runpod.cancel("job-1", runpod.endpoint)
    says(simulator, "cancel", "", status=429)
    with pytest.raises(RateLimitedError):
        runpod.cancel("job-1", runpod.endpoint)


def test_health_says_what_queue_and_workers_do(runpod: RunPodClient, simulator: Simulator) -> None:
    """The endpoint's own counts come as they are; a page in their place is a bad answer."""
    simulator.fault(provider="runpod", operation="submit", fault="stuck_in_queue")
    submitted(runpod)
    health = runpod.health()
    assert health["jobs"]["inQueue"] == 1
    assert health["workers"].keys() >= {"idle", "initializing", "throttled", "unhealthy"}
    simulator.fault(provider="runpod", operation="health", fault="html_200")
    with pytest.raises(BadAnswerError, match="not a JSON object"):
        runpod.health()


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_failed_job_gives_its_reason(
    form: str, runpod: RunPodClient, simulator: Simulator, ended: Ended
) -> None:
    """The reason is found in a plain error and in JSON inside a string, without its traceback."""
    simulator.fault(
        provider="runpod", operation="submit", fault="job_failed", form=form, error="out of memory"
    )
    job_id = submitted(runpod)
    with pytest.raises(JobFailedError) as caught:
        ended(runpod, job_id)
    assert str(caught.value) == f"RunPod's job {job_id} is FAILED: out of memory."
    assert (type(caught.value), caught.value.kind) == (JobFailedError, "job_failed")
    assert (caught.value.job_id, caught.value.stops_batch) == (job_id, False)
    assert simulator.billed("runpod") == 0


@pytest.mark.parametrize(
    ("fault", "expected", "kind"),
    [
        ("job_cancelled", JobFailedError, "job_failed"),
        ("job_timed_out", JobTimeoutError, "job_timeout"),
        ("expired", JobExpiredError, "job_expired"),
    ],
)
def test_every_other_bad_end_has_its_own_error(
    fault: str,
    expected: type[JobFailedError],
    kind: str,
    runpod: RunPodClient,
    simulator: Simulator,
    ended: Ended,
) -> None:
    """Cancelled, timed out and deleted are told apart, and each carries the job's id."""
    simulator.fault(provider="runpod", operation="submit", fault=fault)
    job_id = submitted(runpod)
    with pytest.raises(JobFailedError) as caught:
        ended(runpod, job_id)
    assert (type(caught.value), caught.value.kind, caught.value.job_id) == (expected, kind, job_id)


@pytest.mark.parametrize("status", ["PAUSED", None, ["COMPLETED"], {"is": "COMPLETED"}])
def test_an_unknown_status_is_not_success(
    status: object, runpod: RunPodClient, simulator: Simulator
) -> None:
    """An undocumented status is an unreadable answer."""
    says(simulator, "status", {"id": "j", "status": status, "output": {"images": ["aGk="]}})
    with pytest.raises(BadAnswerError, match="unknown status"):
        runpod.poll("j", runpod.endpoint)


@pytest.mark.parametrize("fault", ["html_200", "broken_json"])
def test_a_page_in_place_of_a_job_cannot_be_understood(
    fault: str, runpod: RunPodClient, simulator: Simulator
) -> None:
    """To a poll it is a bad answer; after a submit a job may run that has no name for us."""
    for operation in ("status", "submit"):
        simulator.fault(provider="runpod", operation=operation, fault=fault)
    with pytest.raises(BadAnswerError, match="not a JSON object"):
        runpod.poll("j", runpod.endpoint)
    with pytest.raises(BadAnswerError, match="named none"):
        runpod.submit(flux())


REFUSALS: list[tuple[int, object, type[ProviderError], str, bool, str]] = [
    (400, "request body exceeded max body size", RequestRefusedError, "bad_request", False,
     "Change the request"),
    (401, "", AccountRefusedError, "account", True, "RUNPOD_API_KEY is correct and has credits"),
    (402, "", AccountRefusedError, "account", True, "credits"),
    (403, "", AccountRefusedError, "account", True, "credits"),
    (404, {"detail": "endpoint not found"}, AccountRefusedError, "account", True,
     "RUNPOD_SERVER_100_ID"),
    (429, "", RateLimitedError, "rate_limited", False, "IMAGEGEN_CONCURRENCY"),
    (503, "", ProviderBusyError, "busy", False, "Try again later"),
    (500, "<html>", OutcomeUnknownError, "unknown", False, "list of jobs"),
    (502, "<html>", OutcomeUnknownError, "unknown", False, "list of jobs"),
    (504, "<html>", OutcomeUnknownError, "unknown", False, "list of jobs"),
    (524, "<html>", OutcomeUnknownError, "unknown", False, "list of jobs"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "expected", "kind", "stops", "advice"), REFUSALS)
def test_every_refusal_of_a_submit_is_its_own_error(
    status: int,
    body: object,
    expected: type[ProviderError],
    kind: str,
    stops: bool,
    advice: str,
    runpod: RunPodClient,
    simulator: Simulator,
) -> None:
    """A refused submit raises the status's error with its remedy."""
    says(simulator, "submit", body, status)
    with pytest.raises(ProviderError, match=f"status {status}") as caught:
        runpod.submit(flux())
    error = caught.value
    assert (type(error), error.kind, error.stops_batch) == (expected, kind, stops)
    assert advice in error.remedy


@pytest.mark.parametrize("status", [500, 502, 503, 504, 524])
def test_a_gateway_error_while_polling_is_only_a_delay(
    status: int, runpod: RunPodClient, simulator: Simulator
) -> None:
    """A poll bills nothing, so any 5xx is a temporary error."""
    says(simulator, "status", "<html>", status)
    with pytest.raises(ProviderBusyError):
        runpod.poll("job-1", runpod.endpoint)


def test_a_wrong_key_stops_the_batch(simulator: Simulator, opened: Callable[[Any], Any]) -> None:
    """A 401 is an account's refusal in a submit, a poll, a cancel and a health request."""
    client = opened(runpod_at(simulator.url, key="not-the-right-key"))
    for call in (
        lambda: client.submit(flux()),
        lambda: client.poll("job-1", client.endpoint),
        lambda: client.cancel("job-1", client.endpoint),
        client.health,
    ):
        with pytest.raises(AccountRefusedError, match="401") as caught:
            call()
        assert "RUNPOD_API_KEY" in caught.value.remedy


def test_a_job_that_is_gone_is_not_an_endpoint_that_is_gone(
    runpod: RunPodClient, simulator: Simulator, opened: Callable[[Any], Any]
) -> None:
    """Only "job not found" gives a job up: a wrong endpoint or stale key leaves it collectable."""
    with pytest.raises(JobExpiredError, match="no longer has job nobodys-job") as expired:
        runpod.poll("nobodys-job", runpod.endpoint)
    assert expired.value.job_id == "nobodys-job"
    assert "Run again" in expired.value.remedy
    other = opened(runpod_at(simulator.url, endpoint_id="renamed"))
    with pytest.raises(AccountRefusedError, match="endpoint not found") as refused:
        other.poll("nobodys-job", other.endpoint)
    assert "RUNPOD_SERVER_100_ID" in refused.value.remedy


def test_a_job_is_collected_from_the_endpoint_that_it_was_sent_to(
    runpod: RunPodClient, opened: Callable[[Any], Any], simulator: Simulator
) -> None:
    """A client of another endpoint polls and cancels a job at the job's own."""
    job_id = submitted(runpod)
    later = opened(runpod_at(simulator.url, endpoint_id="another"))
    assert later.poll(job_id, runpod.endpoint).state in JobState
    later.cancel(job_id, runpod.endpoint)
