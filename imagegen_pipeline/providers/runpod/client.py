"""The client of RunPod Serverless, queue-based: a ComfyUI graph in, images out.

Facts from RunPod's documentation, and for the workers' ``output`` from public workers and client
code. ``/run`` is used, never ``/runsync``, whose time-out loses the job's id.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from imagegen_pipeline.domain.comfy.workflow import Workflow
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
    RedirectedError,
    RequestRefusedError,
)
from imagegen_pipeline.domain.requests import GenerationRequest
from imagegen_pipeline.providers.base import (
    JobReport,
    JobState,
    RemoteImage,
    Submission,
    Timeouts,
)
from imagegen_pipeline.providers.http.client import HttpClient, HttpResponse, require_object
from imagegen_pipeline.providers.http.response_parsing import (
    error_text,
    read_images,
    read_job_id,
    read_seconds,
    read_warnings,
    short_line,
    without_pictures,
)
from imagegen_pipeline.providers.runpod.provider import NAME
from imagegen_pipeline.providers.workflow_requests import bind_request

LARGEST_BODY = 10_000_000
"""Bytes. ``/run`` refuses larger bodies, so they are refused before they are sent."""
_LEAST_EXECUTION_SECONDS = 5.0
_RETENTION_SECONDS = 30 * 60.0
_WAITING = {"IN_QUEUE": JobState.QUEUED, "IN_PROGRESS": JobState.RUNNING}


class RunPodClient:
    """One RunPod endpoint; see ``ProviderClient`` for the calls.

    ``queue_seconds`` and ``run_seconds`` become the job's policy, so that the platform gives up
    after the engine does: it ends a job after ``run_seconds`` of execution
    (``executionTimeout``), and deletes it after both plus the half hour that results are kept
    (``ttl``), so that a job that ends late can still be collected after a crash.
    """

    name = NAME

    def __init__(
        self,
        *,
        api_key: str | SecretStr,
        endpoint_id: str,
        workflow: Workflow,
        base_url: str = "https://api.runpod.ai/v2",
        timeouts: Timeouts | None = None,
        queue_seconds: float = 900,
        run_seconds: float = 900,
    ) -> None:
        self.endpoint = f"{base_url.rstrip('/')}/{endpoint_id}"
        self._workflow = workflow
        self._queue_seconds = queue_seconds
        self._run_seconds = run_seconds
        self._http = HttpClient(key=api_key, scheme="Bearer ", timeouts=timeouts or Timeouts())

    def __repr__(self) -> str:
        return f"RunPodClient({self.endpoint!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def submit(self, request: GenerationRequest) -> Submission:
        """See ``ProviderClient.submit``."""
        payload = {
            "input": {"workflow": bind_request(request, self._workflow)},
            "policy": self._policy(),
        }
        size = len(json.dumps(payload).encode())
        if size > LARGEST_BODY:
            raise RequestRefusedError(
                f"The request has {size:,} bytes; RunPod takes {LARGEST_BODY:,}."
            )
        answer = self._http.send("POST", f"{self.endpoint}/run", creates=True, payload=payload)
        self._raise_refusal(answer, creates=True)
        body = answer.body
        job_id = read_job_id(body.get("id")) if isinstance(body, dict) else None
        if job_id is None:
            raise BadAnswerError(f"RunPod accepted the job but named none: {answer.excerpt!r}.")
        return Submission(job_id=job_id)

    def _policy(self) -> dict[str, int]:
        run = max(self._run_seconds, _LEAST_EXECUTION_SECONDS)
        lives = self._queue_seconds + run + _RETENTION_SECONDS
        return {"executionTimeout": round(run * 1000), "ttl": round(lives * 1000)}

    def poll(self, job_id: str, endpoint: str) -> JobReport:
        """See ``ProviderClient.poll``; raises JobFailedError for a failed job."""
        answer = self._http.send(
            "GET", f"{endpoint}/status/{quote(job_id, safe='')}", creates=False
        )
        if answer.status == 404 and not isinstance(answer.body, dict):
            raise ProviderBusyError(f"RunPod's gateway answered with 404: {answer.excerpt}.")
        if answer.status == 404 and not _says_no_endpoint(answer):
            raise JobExpiredError(
                f"RunPod no longer has job {job_id} ({answer.excerpt}): its result is kept for "
                "30 minutes, and a job lives no longer than its ttl.",
                job_id=job_id,
            )
        self._raise_refusal(answer, creates=False)
        return read_job(require_object(answer, provider="RunPod"), job_id)

    def cancel(self, job_id: str, endpoint: str) -> None:
        """See ``ProviderClient.cancel``."""
        answer = self._http.send(
            "POST", f"{endpoint}/cancel/{quote(job_id, safe='')}", creates=False
        )
        if answer.status not in (400, 404):
            self._raise_refusal(answer, creates=False)

    def health(self) -> dict[str, Any]:
        """The endpoint's counts of jobs and workers by state."""
        answer = self._http.send("GET", f"{self.endpoint}/health", creates=False)
        self._raise_refusal(answer, creates=False)
        return require_object(answer, provider="RunPod")

    def _raise_refusal(self, answer: HttpResponse, *, creates: bool) -> None:
        if answer.status == 200:
            return
        sentence = f"RunPod answered with status {answer.status}: {answer.excerpt}."
        if answer.status in (401, 402, 403):
            raise AccountRefusedError(
                sentence, remedy="Verify that RUNPOD_API_KEY is correct and has credits."
            )
        if answer.status == 404:
            raise AccountRefusedError(
                sentence,
                remedy="Verify RUNPOD_SERVER_100_ID, and that RUNPOD_API_KEY is of its account.",
            )
        if answer.status == 429:
            raise RateLimitedError(sentence, retry_after=answer.retry_after)
        if answer.status == 503 or (answer.status >= 500 and not creates):
            raise ProviderBusyError(sentence, retry_after=answer.retry_after)
        raise _other_refusal(answer.status)(sentence)


def _says_no_endpoint(answer: HttpResponse) -> bool:
    """Whether a 404 is about the endpoint, or a key without access to it, and not the job."""
    detail = answer.body.get("detail") if isinstance(answer.body, dict) else None
    return isinstance(detail, str) and "endpoint" in detail.lower()


def _other_refusal(status: int) -> type[ProviderError]:
    if status >= 500:
        return OutcomeUnknownError
    if status >= 400:
        return RequestRefusedError
    return RedirectedError if status >= 300 else BadAnswerError


def read_job(body: dict[str, Any], job_id: str) -> JobReport:
    """The report in a job's body. The ``output`` of IN_PROGRESS is progress, not a result."""
    status = body.get("status")
    if isinstance(status, str) and status in _WAITING:
        return JobReport(
            _WAITING[status],
            queue_seconds=_seconds(body, "delayTime"),
        )
    if status == "TIMED_OUT":
        raise JobTimeoutError(
            f"RunPod ended job {job_id} at its time limit.",
            job_id=job_id,
            run_seconds=_seconds(body, "executionTime"),
        )
    if status in ("FAILED", "CANCELLED"):
        reason = error_text(body) or ("it was cancelled" if status == "CANCELLED" else "no reason")
        raise JobFailedError(
            f"RunPod's job {job_id} is {status}: {reason}.",
            job_id=job_id,
            run_seconds=_seconds(body, "executionTime"),
        )
    if status != "COMPLETED":
        raise BadAnswerError(f"RunPod's job {job_id} has the unknown status {status!r:.100}.")
    try:
        images, warnings = read_output(body.get("output"), job_id)
    except JobFailedError as error:
        error.run_seconds = _seconds(body, "executionTime")
        raise
    return JobReport(
        JobState.COMPLETED,
        images=images,
        queue_seconds=_seconds(body, "delayTime"),
        run_seconds=_seconds(body, "executionTime"),
        warnings=warnings,
        raw=without_pictures(body),
    )


def read_output(output: Any, job_id: str) -> tuple[tuple[RemoteImage, ...], tuple[str, ...]]:  # noqa: ANN401
    """The images and warnings in a worker's ``output``, in any of its known forms.

    Raises JobFailedError for a failure that is reported as COMPLETED.
    """
    if output is None or output in ("", {}, []):
        raise JobFailedError(
            f"RunPod's job {job_id} is COMPLETED without output.",
            job_id=job_id,
            remedy="The result was probably over the size limit: ask for a smaller picture.",
        )
    if isinstance(output, str | list):
        output = {"images": output if isinstance(output, list) else [output]}
    if not isinstance(output, dict):
        raise BadAnswerError(f"RunPod's job {job_id} has an output of {type(output).__name__}.")
    entries = _entries(output)
    if not entries:
        reason = error_text(output) or short_line(str(output.get("status") or "no picture in it"))
        raise JobFailedError(
            f"RunPod's job {job_id} is COMPLETED and has no picture: {reason}.", job_id=job_id
        )
    images, warnings = read_images(entries, provider="RunPod")
    return images, warnings + read_warnings(output.get("errors"))


def _entries(output: dict[str, Any]) -> list[Any]:
    if output.get("status") == "error" or output.get("error"):
        return []
    for holder in (output, output.get("job_results"), output.get("output")):
        images = holder.get("images") if isinstance(holder, dict) else None
        if isinstance(images, str) and images:
            return [images]
        if isinstance(images, list) and images:
            return images
    for field in ("image", "image_url", "message"):
        value = output.get(field)
        if isinstance(value, dict) or (isinstance(value, str) and value and " " not in value):
            return [value]  # a text with blanks is a message, not an image
    return []


def _seconds(body: dict[str, Any], field: str) -> float | None:
    return read_seconds(body.get(field), parts=1000)
