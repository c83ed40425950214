"""Every refusal of Duomi's published table: its type, whether it stops the batch, its remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import (
    AccountRefusedError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    RateLimitedError,
    RedirectedError,
    RequestRefusedError,
)
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.providers.duomi.provider import KNOWN_MODELS, KNOWN_SIZES
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.providers.local_services import duomi_at, gpt, sdxl

HTML = "<html><title>504 Gateway Time-out</title></html>"


def coded(code: int, message: str) -> dict[str, Any]:
    """A refusal in the documented form."""
    return {"code": code, "message": message, "data": None}


def refusal(
    simulator: Simulator, duomi: DuomiClient, status: int, body: object, **more: Any
) -> ProviderError:
    """The error that a submit raises for an answer."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=status, body=body, **more
    )
    with pytest.raises(ProviderError) as caught:
        duomi.submit(sdxl())
    return caught.value


TABLE: list[tuple[int, object, type[ProviderError], str, bool, tuple[str, ...]]] = [
    (400, coded(20012, "Model does not exist."), RequestRefusedError, "bad_request", False,
     ("a model that the documentation lists", *KNOWN_MODELS)),
    (400, coded(20026, "bad size"), RequestRefusedError, "bad_request", False,
     ("a size that the documentation lists", *KNOWN_SIZES)),
    (400, {"code": "20026", "message": "bad size"}, RequestRefusedError, "bad_request", False,
     KNOWN_SIZES),
    (400, coded(20015, "prompt too long"), RequestRefusedError, "bad_request", False,
     ("Change the request",)),
    (422, "unprocessable", RequestRefusedError, "bad_request", False, ("Change the request",)),
    (401, "Invalid token", AccountRefusedError, "account", True,
     ("DUOMI_API_KEY is correct", "sufficient credits")),
    (402, "pay", AccountRefusedError, "account", True, ("sufficient credits",)),
    (403, coded(30003, "Model disabled."), AccountRefusedError, "account", True,
     ("try later, or another one", "imagegen models", *KNOWN_MODELS)),
    (403, coded(30011, "Balance"), AccountRefusedError, "account", True,
     ("balance is used up", "add credits")),
    (403, {"message": "Forbidden"}, AccountRefusedError, "account", True,
     ("DUOMI_API_KEY is correct", "sufficient credits")),
    (403, HTML, AccountRefusedError, "account", True,
     ("DUOMI_API_KEY is correct", "sufficient credits")),
    (429, {"message": "Request was rejected due to rate limiting.", "data": None},
     RateLimitedError, "rate_limited", False, ("IMAGEGEN_CONCURRENCY", "--delay")),
    (429, coded(50604, "RPM limit reached."), RateLimitedError, "rate_limited", False,
     ("--delay",)),
    (400, coded(50604, "RPM limit reached."), RateLimitedError, "rate_limited", False,
     ("--delay",)),
    (503, coded(50505, "Model service overloaded."), ProviderBusyError, "busy", False,
     ("Try again later",)),
    (503, HTML, ProviderBusyError, "busy", False, ("Try again later",)),
    (500, HTML, OutcomeUnknownError, "unknown", False, ("list of jobs",)),
    (502, HTML, OutcomeUnknownError, "unknown", False, ("list of jobs",)),
    (504, HTML, OutcomeUnknownError, "unknown", False, ("list of jobs", "imagegen resolve")),
    (524, HTML, OutcomeUnknownError, "unknown", False, ("list of jobs",)),
    (302, "", RedirectedError, "bad_answer", False, ("base URL", "run again")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind_of_error", "kind", "stops", "advice"), TABLE)
def test_every_row_of_the_table_is_its_own_error(
    status: int,
    body: object,
    kind_of_error: type[ProviderError],
    kind: str,
    stops: bool,
    advice: tuple[str, ...],
    simulator: Simulator,
    duomi: DuomiClient,
) -> None:
    """A refused submit raises the row's error with its remedy; nothing is billed."""
    error = refusal(simulator, duomi, status, body)
    assert type(error) is kind_of_error
    assert (error.kind, error.stops_batch) == (kind, stops)
    assert [words for words in advice if words not in error.remedy] == []
    assert str(error).startswith(f"API request failed with status {status}")
    assert simulator.billed() == 0


def test_the_sentence_repeats_what_the_service_said(
    simulator: Simulator, duomi: DuomiClient
) -> None:
    """The beginning of the answer is in the sentence, on one line, and no more than that."""
    error = refusal(simulator, duomi, 403, coded(30003, "Model disabled.\n" + "x" * 5000))
    assert "Model disabled." in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("body", "kind_of_error", "kind"),
    [
        ({"code": 400, "msg": "fail_to_submit_task"}, RequestRefusedError, "bad_request"),
        ({"error": {"code": "invalid", "message": "no"}}, RequestRefusedError, "bad_request"),
        ({"error": "no"}, RequestRefusedError, "bad_request"),
        ({"code": 401, "msg": "Invalid token"}, AccountRefusedError, "account"),
        ({"error": {"code": 30011, "message": "no"}}, AccountRefusedError, "account"),
        ({"error": {"code": "30003", "message": "no"}}, AccountRefusedError, "account"),
        ({"code": 429, "msg": "slow down"}, RateLimitedError, "rate_limited"),
        ({"code": 50505, "message": "overloaded"}, ProviderBusyError, "busy"),
        ({"code": 504, "msg": "upstream"}, OutcomeUnknownError, "unknown"),
    ],
)
@pytest.mark.parametrize("make", [sdxl, gpt])
def test_an_error_inside_a_200_is_an_error_all_the_same(
    body: dict[str, Any],
    kind_of_error: type[ProviderError],
    kind: str,
    make: Callable[[], Any],
    simulator: Simulator,
    duomi: DuomiClient,
) -> None:
    """Both known forms raise what they mean in either mode, and the sentence names the 200."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=200, body=body)
    with pytest.raises(ProviderError, match="error inside a 200") as caught:
        duomi.submit(make())
    assert (type(caught.value), caught.value.kind) == (kind_of_error, kind)


@pytest.mark.parametrize("form", ["code", "error"])
def test_the_simulated_errors_in_a_200_are_refusals(
    form: str, simulator: Simulator, duomi: DuomiClient
) -> None:
    """Answers seen in reports are refusals with the provider's own message."""
    simulator.fault(provider="duomi", operation="submit", fault="code_in_200", form=form)
    words = r"(fail_to_submit_task|could not be submitted)\.(?!\.)"
    with pytest.raises(RequestRefusedError, match=words):
        duomi.submit(sdxl())


def test_an_unknown_model_is_refused_with_the_known_ones(duomi: DuomiClient) -> None:
    """The provider's own refusal of a model names those that exist."""
    with pytest.raises(RequestRefusedError) as caught:
        duomi.submit(sdxl(model="nobody/nothing"))
    assert all(model in caught.value.remedy for model in KNOWN_MODELS)


def test_a_size_outside_the_documented_list_is_refused_with_the_list(
    opened: Callable[[Any], Any],
) -> None:
    """A provider that keeps to its list refuses the users' default size, and the list is named."""
    with running(SimulatorOptions(latency=0.01, strict_sizes=True)) as root:
        client = opened(duomi_at(root))
        with pytest.raises(RequestRefusedError) as caught:
            client.submit(sdxl(width=1080, height=1920))
        assert client.submit(sdxl(width=576, height=1024)).report is not None
    assert "1024x1024" in caught.value.remedy
    assert "576x1024" in caught.value.remedy


def test_a_wrong_key_stops_the_batch(simulator: Simulator, opened: Callable[[Any], Any]) -> None:
    """The bare string of a 401 is an account's refusal in a submit and in a poll."""
    client = opened(duomi_at(simulator.url, key="not-the-right-key"))
    for call in (lambda: client.submit(sdxl()), lambda: client.poll("task-1", client.endpoint)):
        with pytest.raises(AccountRefusedError, match="Invalid token") as caught:
            call()
        assert caught.value.stops_batch


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_gateway_error_while_polling_is_only_a_delay(
    status: int, simulator: Simulator, duomi: DuomiClient
) -> None:
    """A poll bills nothing, so any 5xx is a temporary error."""
    simulator.fault(
        provider="duomi",
        operation="status",
        fault="status",
        status=status,
        body=HTML,
        headers={"Retry-After": "3"},
    )
    with pytest.raises(ProviderBusyError) as caught:
        duomi.poll("task-1", duomi.endpoint)
    assert caught.value.retry_after == 3


def test_the_rate_limit_of_the_service_is_told_apart(opened: Callable[[Any], Any]) -> None:
    """One submit over the provider's rate is a rate limit, and was not accepted."""
    with running(SimulatorOptions(latency=0.01, rate_limit=1)) as root:
        client = opened(duomi_at(root))
        client.submit(sdxl())
        with pytest.raises(RateLimitedError) as caught:
            client.submit(sdxl())
        assert Simulator(root).billed() == 1
    assert caught.value.retry_after is None
