"""The client of a ComfyUI server: a graph in, images out, by ComfyUI's own HTTP API.

Facts from ComfyUI's server code and documentation. The server keeps its queue and history in
memory: after a restart it knows no prompt of before. Polling is used, not ``/ws``, which would
report the progress of each step and nothing more about the result.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any, Literal
from urllib.parse import quote

from pydantic import SecretStr

from imagegen_pipeline.domain.comfy.workflow import Workflow
from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    BadAnswerError,
    JobFailedError,
    JobLostError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    RateLimitedError,
    RedirectedError,
    RequestRefusedError,
    WorkflowError,
)
from imagegen_pipeline.domain.requests import GenerationRequest
from imagegen_pipeline.providers.base import (
    JobReport,
    JobState,
    RemoteImage,
    Submission,
    Timeouts,
)
from imagegen_pipeline.providers.comfyui.answers import (
    ImageFile,
    failure_reason,
    image_files,
    missing_in_server,
    queue_state,
    refusal_sentence,
    run_seconds,
)
from imagegen_pipeline.providers.comfyui.provider import NAME
from imagegen_pipeline.providers.http.client import HttpClient, HttpResponse, require_object
from imagegen_pipeline.providers.http.response_parsing import read_job_id, without_pictures
from imagegen_pipeline.providers.workflow_requests import bind_request

_TITLE = "ComfyUI"
_CHECK_URL = "Verify COMFYUI_BASE_URL."
_INSTALL = (
    "Install what is missing on the server and restart it, or set IMAGEGEN_WORKFLOW to a graph "
    "of what it has."
)


class ComfyUIClient:
    """One ComfyUI server; see ``ProviderClient`` for the calls.

    The token is sent to ``base_url`` only: a job of another endpoint is asked for without it.
    """

    name = NAME

    def __init__(
        self,
        *,
        base_url: str,
        workflow: Workflow,
        api_token: str | SecretStr | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.endpoint = base_url.rstrip("/")
        self._workflow = workflow
        self._http = HttpClient(key=api_token, scheme="Bearer ", timeouts=timeouts or Timeouts())
        self._http_elsewhere = HttpClient(key=None, timeouts=timeouts or Timeouts())
        self._checking = threading.Lock()
        self._is_checked = False

    def __repr__(self) -> str:
        return f"ComfyUIClient({self.endpoint!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._http_elsewhere.close()

    def submit(self, request: GenerationRequest) -> Submission:
        """See ``submit_with_reference``."""
        return self.submit_with_reference(request, str(uuid.uuid4()))

    def submit_with_reference(self, request: GenerationRequest, reference: str) -> Submission:
        """See ``FindsJobs``. After an answer that is missing or unreadable, the server is asked
        whether it has the job.

        Raises WorkflowError, before anything is sent, for nodes or models that the server lacks.
        """
        graph = bind_request(request, self._workflow)
        self._check_server(graph)
        own_id = _own_id(reference)
        payload = {"prompt": graph, "client_id": own_id, "prompt_id": own_id}
        try:
            answer = self._http.send(
                "POST", f"{self.endpoint}/prompt", creates=True, payload=payload
            )
            return Submission(job_id=self._accepted(answer, graph))
        except OutcomeUnknownError:
            job_id = self.find(reference)
            if job_id is None:
                raise
            return Submission(job_id=job_id)

    def _accepted(self, answer: HttpResponse, graph: dict[str, Any]) -> str:
        """The job's id: an older server chooses its own. Raises what a refusal means."""
        body = answer.body
        if answer.status == 400 and isinstance(body, dict):
            raise RequestRefusedError(refusal_sentence(body, graph))
        if answer.status >= 500:
            raise OutcomeUnknownError(_status_sentence(answer))
        _raise_refusal(answer)
        job_id = read_job_id(body.get("prompt_id")) if isinstance(body, dict) else None
        if job_id is None:
            raise OutcomeUnknownError(
                f"{_TITLE} accepted the prompt but named no prompt_id: {answer.excerpt!r}."
            )
        return job_id

    def find(self, reference: str) -> str | None:
        """See ``FindsJobs``. An older server chooses the job's id itself, and has ours as that of
        the client: it is found while it waits or runs.
        """
        own_id = _own_id(reference)
        try:
            queue = self._get_object(self.endpoint, "queue")
            for entry in (*_entries(queue, "queue_running"), *_entries(queue, "queue_pending")):
                extra = entry[3] if len(entry) > 3 and isinstance(entry[3], dict) else {}
                if own_id in (entry[1], extra.get("client_id")):
                    return read_job_id(entry[1])
            return own_id if self._history(self.endpoint, own_id) is not None else None
        except ProviderError:
            return None

    def poll(self, job_id: str, endpoint: str) -> JobReport:
        """See ``ProviderClient.poll``; raises JobLostError for a prompt that the server does not
        know, and JobFailedError for one that failed or was interrupted.
        """
        entry = self._history(endpoint, job_id)
        if entry is None:
            state = queue_state(self._get_object(endpoint, "queue"), job_id)
            if state is not None:
                return JobReport(state)
            entry = self._history(endpoint, job_id)  # it may have ended between the two reads
        if entry is None:
            raise JobLostError(
                f"{_TITLE} at {endpoint} has prompt {job_id} neither in its queue nor in its "
                "history: it was deleted, or the server has restarted.",
                job_id=job_id,
            )
        return self._report(entry, job_id, endpoint)

    def _report(self, entry: dict[str, Any], job_id: str, endpoint: str) -> JobReport:
        seconds = run_seconds(entry)
        reason = failure_reason(entry)
        if reason is not None:
            raise JobFailedError(
                f"{_TITLE}'s prompt {job_id} failed: {reason}.", job_id=job_id, run_seconds=seconds
            )
        files, warnings = image_files(entry)
        if not files:
            raise JobFailedError(
                f"{_TITLE}'s prompt {job_id} has ended without an image.",
                job_id=job_id,
                run_seconds=seconds,
            )
        return JobReport(
            JobState.COMPLETED,
            images=tuple(self._view(file, job_id, endpoint) for file in files),
            run_seconds=seconds,
            warnings=warnings,
            raw=without_pictures({name: entry.get(name) for name in ("status", "outputs")}),
        )

    def _view(self, file: ImageFile, job_id: str, endpoint: str) -> RemoteImage:
        status, data = self._http_of(endpoint).fetch(f"{endpoint}/view", params=file.as_params())
        if status == 404:
            raise JobLostError(
                f"{_TITLE} has no file {file.filename!r} of prompt {job_id} any more.",
                job_id=job_id,
            )
        if status != 200:
            raise ProviderBusyError(f"{_TITLE} answered /view with status {status}.")
        return RemoteImage(data=data)

    def cancel(self, job_id: str, endpoint: str) -> None:
        """See ``ProviderClient.cancel``: a waiting prompt is deleted, and one that runs is
        interrupted. ``/interrupt`` stops whatever runs on an older server, so it is sent only
        while the prompt is the one that runs.
        """
        self._post(endpoint, "queue", {"delete": [job_id]})
        if queue_state(self._get_object(endpoint, "queue"), job_id) is JobState.RUNNING:
            self._post(endpoint, "interrupt", {"prompt_id": job_id})

    def health(self) -> dict[str, Any]:
        """How many prompts run and wait on the server, of all its users."""
        queue = self._get_object(self.endpoint, "queue")
        return {
            "running": len(_entries(queue, "queue_running")),
            "pending": len(_entries(queue, "queue_pending")),
        }

    def _check_server(self, graph: dict[str, Any]) -> None:
        """Once for a client: the server's node classes and choices against the graph."""
        with self._checking:
            if self._is_checked:
                return
            classes = {node["class_type"]: None for node in graph.values()}
            known: dict[str, Any] = {}
            for name in classes:
                path = f"object_info/{quote(name, safe='')}"
                answer = self._send("GET", self.endpoint, path)
                if answer.status == 404:
                    return  # not offered by this server, whose /prompt reports faults
                _raise_refusal(answer)
                known[name] = require_object(answer, provider=_TITLE).get(name)
            problems = missing_in_server(graph, known)
            if problems:
                raise WorkflowError(
                    f"{self._workflow.name} does not fit the server at {self.endpoint}: "
                    f"{' '.join(problems)}",
                    remedy=_INSTALL,
                )
            self._is_checked = True

    def _history(self, endpoint: str, job_id: str) -> dict[str, Any] | None:
        entry = self._get_object(endpoint, f"history/{quote(job_id, safe='')}").get(job_id)
        if entry is not None and not isinstance(entry, dict):
            raise BadAnswerError(f"{_TITLE}'s history of {job_id} is a {type(entry).__name__}.")
        return entry

    def _get_object(self, endpoint: str, path: str) -> dict[str, Any]:
        answer = self._send("GET", endpoint, path)
        _raise_refusal(answer)
        return require_object(answer, provider=_TITLE)

    def _post(self, endpoint: str, path: str, payload: dict[str, Any]) -> None:
        answer = self._send("POST", endpoint, path, payload)
        if answer.status != 404:  # a newer server's answer for a prompt that has just ended
            _raise_refusal(answer)

    def _send(
        self,
        method: Literal["GET", "POST"],
        endpoint: str,
        path: str,
        payload: dict[str, Any] | None = None,
    ) -> HttpResponse:
        url = f"{endpoint}/{path}"
        return self._http_of(endpoint).send(method, url, creates=False, payload=payload)

    def _http_of(self, endpoint: str) -> HttpClient:
        return self._http if endpoint == self.endpoint else self._http_elsewhere


def _own_id(reference: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, reference))


def _entries(queue: dict[str, Any], name: str) -> list[list[Any]]:
    found = queue.get(name)
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, list) and len(entry) > 1]


def _status_sentence(answer: HttpResponse) -> str:
    return f"{_TITLE} answered with status {answer.status}: {answer.excerpt}."


def _raise_refusal(answer: HttpResponse) -> None:
    """Raises what a status other than 200 means of a request that creates nothing."""
    status, sentence = answer.status, _status_sentence(answer)
    if status == 200:
        return
    if status in (401, 403):
        raise AccountRefusedError(sentence, remedy="Verify COMFYUI_API_TOKEN.")
    if status == 429:
        raise RateLimitedError(sentence, retry_after=answer.retry_after)
    if status in (404, 405):
        raise AccountRefusedError(sentence, remedy=_CHECK_URL)
    if status >= 500:
        raise ProviderBusyError(sentence, retry_after=answer.retry_after)
    if 300 <= status < 400:
        raise RedirectedError(sentence, remedy=_CHECK_URL)
    raise (RequestRefusedError if status >= 400 else BadAnswerError)(sentence)
