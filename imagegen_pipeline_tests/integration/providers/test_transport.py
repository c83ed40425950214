"""What breaks on the way: whether a picture may have been billed decides the error."""

from __future__ import annotations

import email.utils
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    RateLimitedError,
    UnreachableError,
)
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.providers.http import client as http_client
from imagegen_pipeline.providers.runpod.client import RunPodClient
from imagegen_pipeline_tests.conftest import Simulator, until
from imagegen_pipeline_tests.integration.providers.local_services import (
    HURRIED,
    closed_port,
    duomi_at,
    flux,
    json_answer,
    recording,
    runpod_at,
    sdxl,
)

Clients = dict[str, tuple[Callable[[], Any], Callable[[], Any]]]


def submit_and_poll(duomi: DuomiClient, runpod: RunPodClient) -> Clients:
    """For each provider: a submit, and a poll of some job."""
    return {
        "duomi": (lambda: duomi.submit(sdxl()), lambda: duomi.poll("a-job", duomi.endpoint)),
        "runpod": (lambda: runpod.submit(flux()), lambda: runpod.poll("a-job", runpod.endpoint)),
    }


@pytest.fixture
def calls(duomi: DuomiClient, runpod: RunPodClient) -> Clients:
    """The calls of patient clients."""
    return submit_and_poll(duomi, runpod)


@pytest.fixture
def hurried_calls(simulator: Simulator, opened: Callable[[Any], Any]) -> Clients:
    """The calls of clients that wait for an answer for a fraction of a second."""
    duomi = opened(duomi_at(simulator.url, timeouts=HURRIED))
    return submit_and_poll(duomi, opened(runpod_at(simulator.url, timeouts=HURRIED)))


@pytest.mark.parametrize("provider", ["duomi", "runpod"])
@pytest.mark.parametrize("fault", ["reset_before", "reset_after_work", "reset_midbody"])
def test_a_submit_that_breaks_off_may_have_been_billed(
    provider: str, fault: str, simulator: Simulator, calls: Clients
) -> None:
    """Once the request has left, a broken connection leaves its outcome unknown."""
    simulator.fault(provider=provider, operation="submit", fault=fault)
    with pytest.raises(OutcomeUnknownError, match="Request exception") as caught:
        calls[provider][0]()
    assert (caught.value.kind, caught.value.stops_batch) == ("unknown", False)
    assert "list of jobs" in caught.value.remedy
    expected = 0 if fault == "reset_before" else 1
    until(lambda: simulator.billed(provider) == expected, seconds=5)


@pytest.mark.parametrize("provider", ["duomi", "runpod"])
@pytest.mark.parametrize("work", [False, True])
def test_a_submit_without_an_answer_in_time_may_have_been_billed(
    provider: str, work: bool, simulator: Simulator, hurried_calls: Clients
) -> None:
    """The read time-out of a submit says nothing of whether the picture was made."""
    simulator.fault(provider=provider, operation="submit", fault="hang", seconds=30, work=work)
    with pytest.raises(OutcomeUnknownError, match="timed out"):
        hurried_calls[provider][0]()
    until(lambda: simulator.billed(provider) == int(work), seconds=5)


@pytest.mark.parametrize("provider", ["duomi", "runpod"])
def test_an_answer_that_only_drips_ends_at_the_time_out(
    provider: str, simulator: Simulator, hurried_calls: Clients
) -> None:
    """A byte now and then does not keep a call alive: the whole answer has the read time-out."""
    simulator.fault(provider=provider, operation="submit", fault="slow_drip", seconds_per_byte=0.1)
    with pytest.raises(OutcomeUnknownError, match="not complete after"):
        hurried_calls[provider][0]()


@pytest.mark.parametrize("provider", ["duomi", "runpod"])
@pytest.mark.parametrize("fault", ["reset_before", "reset_midbody", "hang"])
def test_a_poll_that_breaks_off_can_be_asked_again(
    provider: str, fault: str, simulator: Simulator, hurried_calls: Clients
) -> None:
    """Polling bills nothing: after any failure the job still exists."""
    simulator.fault(provider=provider, operation="status", fault=fault)
    with pytest.raises(ProviderBusyError) as caught:
        hurried_calls[provider][1]()
    assert caught.value.kind == "busy"


@pytest.mark.parametrize("at", ["http://127.0.0.1:{port}", "http://no-such-host.invalid"])
def test_a_service_that_cannot_be_reached_was_sent_nothing(
    at: str, opened: Callable[[Any], Any]
) -> None:
    """A refused connection or an unknown host is unreachable, in a submit and in a poll."""
    root = at.format(port=closed_port())
    clients = submit_and_poll(opened(duomi_at(root)), opened(runpod_at(root)))
    for submit, poll in clients.values():
        for call in (submit, poll):
            with pytest.raises(UnreachableError, match="Request exception") as caught:
                call()
            assert (caught.value.kind, caught.value.stops_batch) == ("unreachable", False)
            assert "base URL" in caught.value.remedy


@pytest.mark.parametrize("root", ["duomiapi.example", "ftp://duomiapi.example", "http://[::1"])
def test_a_base_url_that_is_none_was_sent_nothing(root: str, opened: Callable[[Any], Any]) -> None:
    """A mistyped base URL is unreachable, and never a picture that may have been billed."""
    with pytest.raises(UnreachableError):
        opened(duomi_at(root)).submit(sdxl())


def test_a_failed_handshake_was_sent_nothing(
    simulator: Simulator, opened: Callable[[Any], Any]
) -> None:
    """A server that does not speak TLS on an https address got no request."""
    client = opened(duomi_at(simulator.url.replace("http:", "https:")))
    with pytest.raises(UnreachableError):
        client.submit(sdxl())
    assert simulator.stats()["requests"] == {}


def test_a_submit_is_sent_once(opened: Callable[[Any], Any]) -> None:
    """No layer below sends a request again that broke off or was turned away."""

    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    with recording(hang_up) as server:
        for client, request in (
            (opened(duomi_at(server.url)), sdxl()),
            (opened(runpod_at(server.url)), flux()),
        ):
            with pytest.raises(OutcomeUnknownError):
                client.submit(request)
        assert len(server.requests) == 2


@pytest.mark.parametrize("provider", ["duomi", "runpod"])
def test_a_redirect_is_not_followed(provider: str, simulator: Simulator, calls: Clients) -> None:
    """A redirect of a submit is not followed, so no other host gets the key."""
    with recording(json_answer({})) as elsewhere:
        simulator.fault(
            provider=provider,
            operation="submit",
            fault="redirect",
            status=307,
            location=f"{elsewhere.url}/steal",
        )
        with pytest.raises(BadAnswerError, match="307"):
            calls[provider][0]()
        assert elsewhere.requests == []


@pytest.mark.parametrize("provider", ["duomi", "runpod"])
def test_a_redirect_to_no_address_is_only_a_bad_answer(
    provider: str, simulator: Simulator, calls: Clients
) -> None:
    """A malformed Location is not parsed."""
    simulator.fault(provider=provider, operation="submit", fault="redirect", location="http://[::1")
    with pytest.raises(BadAnswerError, match="302"):
        calls[provider][0]()


def test_calls_share_a_connection(duomi: DuomiClient, caplog: pytest.LogCaptureFixture) -> None:
    """An answer that was read whole gives its connection back: polls need no new one each."""
    caplog.set_level(logging.DEBUG, logger="urllib3")
    for _ in range(3):
        duomi.submit(sdxl())
    assert caplog.text.count("Starting new HTTP connection") == 1


def test_an_answer_without_end_is_cut_off(
    opened: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer over the size limit is not read to its end."""
    monkeypatch.setattr(http_client, "LARGEST_ANSWER", 1_000_000)
    with recording(json_answer({"id": "x" * 2_000_000})) as server:
        client = opened(duomi_at(server.url))
        with pytest.raises(OutcomeUnknownError, match="longer than 1,000,000 bytes"):
            client.submit(sdxl())


def rate_limited(
    provider: str, simulator: Simulator, calls: Clients, headers: dict[str, str], status: int = 429
) -> Any:
    """How long a 429 or 503 with these headers asks to wait."""
    simulator.fault(
        provider=provider,
        operation="submit",
        fault="status",
        status=status,
        body={"message": "slow down"},
        headers=headers,
    )
    with pytest.raises(ProviderError) as caught:
        calls[provider][0]()
    assert isinstance(caught.value, RateLimitedError if status == 429 else ProviderBusyError)
    return caught.value.retry_after


@pytest.mark.parametrize("provider", ["duomi", "runpod"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_both_forms(
    provider: str, status: int, simulator: Simulator, calls: Clients
) -> None:
    """Seconds, or a date from which the seconds are counted; without it there is no wait."""

    def waits(value: str | None) -> Any:
        headers = {} if value is None else {"Retry-After": value}
        return rate_limited(provider, simulator, calls, headers, status)

    def at(seconds: float) -> str:
        return email.utils.format_datetime(
            datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True
        )

    assert waits(None) is None
    assert waits("17") == 17
    assert 25 < waits(at(30)) <= 30
    assert waits(at(-3600)) == 0


@pytest.mark.parametrize("value", ["soon", "-5", "²", "Mon, 01 Jan 99999999999 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_left_out(
    value: str, opened: Callable[[Any], Any]
) -> None:
    """A malformed header does not hide the rate limit."""

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(429)
        handler.send_header("Retry-After", value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with recording(refuse) as server, pytest.raises(RateLimitedError) as caught:
        opened(duomi_at(server.url)).submit(sdxl())
    assert caught.value.retry_after is None
