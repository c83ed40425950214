"""The client of Duomi: text to image, synchronous (SDXL) and asynchronous (gpt-image).

Facts from Duomi's documentation, and from public client code where it has none: the bodies, the
error codes and their meanings, the known sizes and models.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from pydantic import SecretStr

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    BadAnswerError,
    JobExpiredError,
    JobFailedError,
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
from imagegen_pipeline.providers.duomi.provider import (
    KNOWN_MODELS,
    KNOWN_SIZES,
    NAME,
    check_request,
)
from imagegen_pipeline.providers.http.client import HttpClient, HttpResponse, require_object
from imagegen_pipeline.providers.http.response_parsing import (
    error_text,
    read_images,
    read_job_id,
    read_seconds,
    short_line,
    without_pictures,
)

_WAITING = {"pending": JobState.QUEUED, "running": JobState.RUNNING}
_FAILED = ("error", "failed", "cancelled")
_CODES: dict[int, type[ProviderError]] = {
    20012: RequestRefusedError,
    20026: RequestRefusedError,
    30003: AccountRefusedError,
    30011: AccountRefusedError,
    50604: RateLimitedError,
    50505: ProviderBusyError,
}


class DuomiClient:
    """Duomi's API at ``base_url``; see ``ProviderClient`` for the calls."""

    name = NAME

    def __init__(
        self,
        *,
        api_key: str | SecretStr,
        base_url: str = "https://duomiapi.com",
        mode: Literal["auto", "sync", "async"] = "auto",
        timeouts: Timeouts | None = None,
    ) -> None:
        self.endpoint = base_url.rstrip("/")
        self._mode = mode
        self._http = HttpClient(key=api_key, timeouts=timeouts or Timeouts())

    def __repr__(self) -> str:
        return f"DuomiClient({self.endpoint!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def submit(self, request: GenerationRequest) -> Submission:
        """See ``ProviderClient.submit``. The synchronous mode answers with the image."""
        check_request(request)
        if self.is_async(request.model):
            answer = self._post(_async_body(request), {"async": "true"})
            return Submission(job_id=_task_id(answer))
        answer = self._post(_sync_body(request), None)
        body = require_object(answer, provider="Duomi", paid=True)
        return Submission(report=_report(body))

    def is_async(self, model: str) -> bool:
        """Whether requests for ``model`` use the asynchronous mode."""
        return self._mode == "async" or (self._mode == "auto" and model.startswith("gpt-image"))

    def poll(self, job_id: str, endpoint: str) -> JobReport:
        """See ``ProviderClient.poll``."""
        answer = self._http.send(
            "GET", f"{endpoint}/v1/tasks/{quote(job_id, safe='')}", creates=False
        )
        if _code_and_message(answer)[0] == 404 or (
            answer.status == 404 and isinstance(answer.body, dict)
        ):
            raise JobExpiredError(f"Duomi no longer has task {job_id}.", job_id=job_id)
        if answer.status >= 500 or answer.status == 404:  # a 404 without JSON is a gateway's
            raise ProviderBusyError(_status_sentence(answer), retry_after=answer.retry_after)
        try:
            _raise_refusal(answer, creates=False)
        except RequestRefusedError as error:  # the task was accepted: the poll failed
            raise BadAnswerError(str(error)) from None
        body = require_object(answer, provider="Duomi")
        state = body.get("state")
        if isinstance(state, str) and state in _WAITING:
            return JobReport(_WAITING[state])
        if state in _FAILED:
            reason = error_text(body) or "no reason given"
            raise JobFailedError(f"Duomi's task {job_id} is {state}: {reason}.", job_id=job_id)
        if state != "succeeded":
            raise BadAnswerError(f"Duomi's task {job_id} has the unknown state {state!r:.100}.")
        return _report(body)

    def cancel(self, job_id: str, endpoint: str) -> None:
        """Duomi documents no way to cancel a task: it continues and can be collected later."""

    def health(self) -> dict[str, Any]:
        """See ``ProviderClient.health``: Duomi has none."""
        return {}

    def _post(self, body: dict[str, Any], params: dict[str, str] | None) -> HttpResponse:
        url = f"{self.endpoint}/v1/images/generations"
        answer = self._http.send("POST", url, creates=True, payload=body, params=params)
        _raise_refusal(answer, creates=True)
        return answer


def _sync_body(request: GenerationRequest) -> dict[str, Any]:
    return {
        "model": request.model,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "image_size": request.size,
        "batch_size": 1,
        "seed": request.seed,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
    }


def _async_body(request: GenerationRequest) -> dict[str, Any]:
    if request.model.startswith("gpt-image"):
        shape = {"size": request.size, "n": 1, "quality": "high"}
        return {"model": request.model, "prompt": request.prompt, **shape}
    return _sync_body(request)


def _task_id(answer: HttpResponse) -> str:
    body = answer.body
    task = read_job_id(body.get("id")) if isinstance(body, dict) else None
    if task is None:
        # The request was accepted with 200: a task may run whose id is unknown.
        raise BadAnswerError(f"Duomi accepted the task but named none: {answer.excerpt!r}.")
    return task


def _images(body: dict[str, Any]) -> tuple[tuple[RemoteImage, ...], tuple[str, ...]]:
    """The images of any answer, and a warning if there are too many.

    They are in ``images`` or ``data``, as a list or in a task's ``data``.
    """
    inner = body.get("data")
    entries = body.get("images") or (inner.get("images") if isinstance(inner, dict) else inner)
    if not isinstance(entries, list) or not entries:
        raise BadAnswerError(f"Duomi's answer holds no picture: {without_pictures(body)!r:.300}.")
    return read_images(entries, provider="Duomi")


def _report(body: dict[str, Any]) -> JobReport:
    images, warnings = _images(body)
    timings = body.get("timings")
    inference = timings.get("inference") if isinstance(timings, dict) else None
    seed = body.get("seed")
    return JobReport(
        JobState.COMPLETED,
        images=images,
        run_seconds=read_seconds(inference),
        seed=seed if isinstance(seed, int) else None,
        warnings=warnings,
        raw=without_pictures(body),
    )


def _raise_refusal(answer: HttpResponse, *, creates: bool) -> None:
    """Raises the typed error of an answer that is no success (Duomi's table of errors)."""
    code, message = _code_and_message(answer)
    if answer.status == 200 and code is None:
        return
    status, sentence = answer.status, _status_sentence(answer)
    if status == 200:
        detail = f"{code!s:.100} {message}".rstrip(" .")
        sentence = f"Duomi answered with an error inside a 200: {detail}."
        if isinstance(code, int) and 400 <= code < 600:
            status = code
    known = _CODES.get(code) if isinstance(code, int) else None
    kind = known or _by_status(status, creates=creates)
    if kind in (RateLimitedError, ProviderBusyError):
        raise kind(sentence, retry_after=answer.retry_after)
    raise kind(sentence, remedy=_remedy(status, code))


def _by_status(status: int, *, creates: bool) -> type[ProviderError]:
    if status in (401, 402, 403):
        return AccountRefusedError
    if status == 429:
        return RateLimitedError
    if status == 503:
        return ProviderBusyError
    if status >= 500:
        return OutcomeUnknownError if creates else ProviderBusyError
    if 300 <= status < 400:
        return RedirectedError
    return RequestRefusedError


def _code_and_message(answer: HttpResponse) -> tuple[int | str | None, str]:
    """The code and message of an error in a body; (None, …) without one.

    A task with a state was answered, whatever error it reports of itself.
    """
    body = answer.body
    if not isinstance(body, dict) or (answer.status == 200 and "state" in body):
        return None, ""
    nested = body.get("error")
    if isinstance(nested, dict) and nested:
        return _number(nested.get("code")) or "error", short_line(str(nested.get("message") or ""))
    if isinstance(nested, str) and nested:
        return "error", short_line(nested)
    code = _number(body.get("code"))
    if isinstance(code, int) and code not in (0, 200):
        return code, short_line(str(body.get("message") or body.get("msg") or ""))
    return None, ""


def _number(code: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same code, as a number if it is one in quotes."""
    return int(code) if isinstance(code, str) and code.isdecimal() and len(code) < 10 else code


def _status_sentence(answer: HttpResponse) -> str:
    return f"API request failed with status {answer.status}: {answer.excerpt}."


def _remedy(status: int, code: int | str | None) -> str | None:
    if code == 20026:
        return f"Use a size that the documentation lists: {', '.join(KNOWN_SIZES)}."
    if code == 20012:
        return f"Use a model that the documentation lists: {', '.join(KNOWN_MODELS)}."
    if code == 30003:
        return (
            "The model may be disabled for a time: try later, or another one; `imagegen models` "
            f"finds which answer. Known: {', '.join(KNOWN_MODELS)}."
        )
    if code == 30011:
        return "The balance is used up: add credits, then run again. Existing images are reused."
    if status in (401, 402, 403):
        return "Verify that DUOMI_API_KEY is correct and has sufficient credits."
    return None
