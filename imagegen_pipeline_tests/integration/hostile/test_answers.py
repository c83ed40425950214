"""Malformed answers of a provider: too slow, too large, too deep, or nonsense."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import (
    BadAnswerError,
    JobFailedError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
)
from imagegen_pipeline.providers.base import JobReport
from imagegen_pipeline.providers.http import client as http_client
from imagegen_pipeline_tests.integration.hostile.raw_server import (
    OK,
    Bytes,
    at_once,
    raw_server,
    then_silence,
)
from imagegen_pipeline_tests.integration.hostile.test_downloads import SLOW, encoded
from imagegen_pipeline_tests.integration.providers.local_services import (
    HURRIED,
    duomi_at,
    flux,
    runpod_at,
    sdxl,
)

Opened = Callable[[Any], Any]


def answered(body: bytes) -> Callable[[], Bytes]:
    """A plain 200 with this body."""
    return at_once(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def report_of(text: str, opened: Opened) -> JobReport:
    """The client's report for a RunPod job status with this text."""
    with raw_server(answered(text.encode())) as server:
        client = opened(runpod_at(server.url))
        report: JobReport = client.poll("job-1", client.endpoint)
        return report


def refusal_of(text: str, opened: Opened) -> ProviderError:
    """The error for a submit that Duomi answers with this text."""
    with raw_server(answered(text.encode())) as server, pytest.raises(ProviderError) as caught:
        opened(duomi_at(server.url)).submit(sdxl())
    return caught.value


@pytest.mark.parametrize("what", SLOW)
def test_no_part_of_an_answer_may_take_longer_than_the_time_out(what: str, opened: Opened) -> None:
    """A submit that is answered byte by byte becomes unknown; a poll can be repeated."""
    with raw_server(SLOW[what]) as server:
        runpod = opened(runpod_at(server.url, timeouts=HURRIED))
        with pytest.raises(OutcomeUnknownError):
            runpod.submit(flux())
        with pytest.raises(ProviderBusyError):
            runpod.poll("job-1", runpod.endpoint)
        assert not server.gave_up


def test_an_announced_length_over_the_limit_is_not_read(opened: Opened) -> None:
    """An answer that announces more than the limit is not read."""
    head = b"Content-Length: %d\r\n\r\n" % (http_client.LARGEST_ANSWER + 1)
    with (
        raw_server(then_silence(OK, head)) as server,
        pytest.raises(OutcomeUnknownError, match="longer than 104,857,600 bytes"),
    ):
        opened(duomi_at(server.url)).submit(sdxl())


def test_an_answer_that_inflates_past_the_limit_is_cut_off(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gzip bomb takes no more memory than the longest answer."""
    monkeypatch.setattr(http_client, "LARGEST_ANSWER", 4_000_000)
    bomb = gzip.compress(b'{"id": "' + bytes(60_000_000) + b'"}')
    with raw_server(encoded("gzip", bomb)) as server:
        client = opened(duomi_at(server.url))
        tracemalloc.start()
        try:
            with pytest.raises(OutcomeUnknownError, match="longer than 4,000,000 bytes"):
                client.submit(sdxl())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"images":' * 100_000,
        '{"images":' + "[" * 70 + "]" * 70 + "}",
        '{"error":' * 300 + '"x"' + "}" * 300,
        '{"a":' * 64 + "[]" + "}" * 64,
    ],
    ids=["a deep list", "a deep object", "a little too deep", "a deep error", "just too deep"],
)
def test_json_that_is_nested_too_deep_counts_as_none(text: str, opened: Opened) -> None:
    """However deep, it is an unreadable answer and not an internal error."""
    error = refusal_of(text, opened)
    assert type(error) is BadAnswerError
    assert "not a JSON object" in str(error)


def test_json_that_is_nested_as_deep_as_allowed_is_read(opened: Opened) -> None:
    """Sixty-four levels are read; providers use fewer than ten."""
    text = '{"state": "x", "images":' + "[" * 63 + "]" * 63 + "}"
    assert "lists a picture that is no text" in str(refusal_of(text, opened))


@pytest.mark.parametrize("part", ["[],", "{},", "1,", '"",'])
def test_json_with_too_many_values_counts_as_none(part: str, opened: Opened) -> None:
    """A few megabytes of brackets, which would become gigabytes of objects, are not parsed."""
    text = f'{{"images": [{part * 700_000}0]}}'
    tracemalloc.start()
    try:
        error = refusal_of(text, opened)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(error) is BadAnswerError
    assert peak < 10 * len(text)


PICTURE = '"output": {"images": ["aGVsbG8="]}'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000])
def test_a_number_that_is_none_costs_no_picture(number: str, opened: Opened) -> None:
    """An unusable time is left out; the paid image beside it is stored."""
    text = f'{{"status": "COMPLETED", "executionTime": {number}, "delayTime": 7, {PICTURE}}}'
    report = report_of(text, opened)
    assert (report.run_seconds, report.queue_seconds) == (None, 0.007)
    assert report.images[0].data == b"hello"


@pytest.mark.parametrize("number", ["NaN", "1e999", "9" * 400])
def test_a_number_of_duomi_that_is_none_costs_no_picture(number: str, opened: Opened) -> None:
    """The same for Duomi's time and seed."""
    text = f'{{"images": [{{"b64_json": "aGVsbG8="}}], "seed": {number}, '
    text += f'"timings": {{"inference": {number}}}}}'
    with raw_server(answered(text.encode())) as server:
        report = opened(duomi_at(server.url)).submit(sdxl()).report
    assert (report.run_seconds, report.seed, report.images[0].data) == (None, None, b"hello")


def test_the_largest_seed_is_read(opened: Opened) -> None:
    """A seed of twenty digits is read, as ComfyUI draws them."""
    text = f'{{"images": [{{"b64_json": "aGVsbG8="}}], "seed": {2**64 - 1}}}'
    with raw_server(answered(text.encode())) as server:
        report = opened(duomi_at(server.url)).submit(sdxl()).report
    assert report.seed == 2**64 - 1


@pytest.mark.parametrize("field", ["error", "message", "msg", "details"])
def test_a_reason_is_one_short_line(field: str, opened: Opened) -> None:
    """A provider's text is shown without control characters, cut after two thousand characters."""
    message = "\x1b[2J\x9b31mred\u202e\r\nsecond line\x00" + "x" * 50_000
    text = json.dumps({"status": "FAILED", field: [message] if field == "details" else message})
    with pytest.raises(JobFailedError) as caught:
        report_of(text, opened)
    sentence = caught.value.sentence
    assert "red" in sentence
    assert "second line" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 2500


@pytest.mark.parametrize("text", ['{"images": [{"b64_json": "' + "A" * 500_000, "[" * 90_000])
def test_what_cannot_be_read_of_a_paid_answer_comes_whole(text: str, opened: Opened) -> None:
    """The sentence is short; all bytes, which may contain an image, are kept."""
    error = refusal_of(text, opened)
    assert isinstance(error, BadAnswerError)
    assert error.raw == text.encode()
    assert len(error.sentence) < 1500


def test_an_excerpt_is_one_short_line(opened: Opened) -> None:
    """The same for an answer that is not JSON."""
    text = "\x1b]0;title\x07 <html>\r\n\u202e" + "a " * 5_000_000
    tracemalloc.start()
    try:
        error = refusal_of(text, opened)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6.5 * len(text), "it is not taken apart word by word"
    assert "<html>" in str(error)
    assert error.sentence.isprintable()
    assert len(error.sentence) < 1500


def test_a_reason_within_a_reason_is_read_with_the_same_limits(opened: Opened) -> None:
    """JSON in a string in JSON, nested without end, is shown as text."""
    inner = '{"error_message":' * 5000 + "1" + "}" * 5000
    with pytest.raises(JobFailedError, match=r"FAILED: \{"):
        report_of(json.dumps({"status": "FAILED", "error": inner}), opened)
