"""Job fields without limits: ids, times, images and reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import BadAnswerError, ImagegenError, ProviderError
from imagegen_pipeline.providers.http.response_parsing import MOST_PICTURES
from imagegen_pipeline_tests.integration.hostile.raw_server import raw_server
from imagegen_pipeline_tests.integration.hostile.test_answers import answered, report_of
from imagegen_pipeline_tests.integration.providers.local_services import (
    duomi_at,
    flux,
    gpt,
    runpod_at,
    sdxl,
)

Opened = Callable[[Any], Any]
PICTURE = "aGVsbG8="


@pytest.mark.parametrize("number", [-1, -1e300, 10**15, True, "3391", [1], None])
def test_a_time_that_nobody_believes_is_unknown(number: object, opened: Opened) -> None:
    """A negative or infinite time changes no cost and no budget."""
    body = {"status": "COMPLETED", "executionTime": number, "output": {"images": [PICTURE]}}
    assert report_of(json.dumps(body), opened).run_seconds is None
    body = {"images": [{"b64_json": PICTURE}], "timings": {"inference": number}}
    with raw_server(answered(json.dumps(body).encode())) as server:
        assert opened(duomi_at(server.url)).submit(sdxl()).report.run_seconds is None


def test_a_hundred_pictures_are_sixteen_and_a_warning(opened: Opened) -> None:
    """Of a hundred images sixteen are fetched, with a warning."""
    body: dict[str, Any] = {"status": "COMPLETED", "output": {"images": [PICTURE] * 100}}
    report = report_of(json.dumps(body), opened)
    assert len(report.images) == MOST_PICTURES
    assert "sent 100 pictures" in report.warnings[0]
    body = {"images": [{"b64_json": PICTURE}] * 100}
    with raw_server(answered(json.dumps(body).encode())) as server:
        report = opened(duomi_at(server.url)).submit(sdxl()).report
    assert len(report.images) == MOST_PICTURES
    assert "Duomi sent 100 pictures" in report.warnings[0]


def test_a_workers_warnings_are_few_short_lines(opened: Opened) -> None:
    """Warnings go into the ledger, the events and the terminal, so they are few short lines."""
    output = {"images": [PICTURE], "errors": ["\x1b[2J\u202e" + "x" * 9000] * 500}
    report = report_of(json.dumps({"status": "COMPLETED", "output": output}), opened)
    assert len(report.warnings) == MOST_PICTURES
    assert all(line.isprintable() and len(line) < 2100 for line in report.warnings)


@pytest.mark.parametrize("name", ["", "..", "a b", "a\r\nb", "\u202e", "x" * 100_000, True, {}])
def test_a_job_without_a_usable_name_is_a_bad_answer(name: object, opened: Opened) -> None:
    """An accepted job with an unusable id is a bad answer with a short message."""
    with raw_server(answered(json.dumps({"id": name}).encode())) as server:
        for client, request in (
            (opened(runpod_at(server.url)), flux()),
            (opened(duomi_at(server.url)), gpt()),
        ):
            with pytest.raises(BadAnswerError, match="named none") as caught:
                client.submit(request)
            assert len(caught.value.sentence) < 700


@pytest.mark.parametrize("name", ["../../run", "a/../../b", "x?y=1", "x#y", "x%2fy", "@h:1/"])
def test_a_jobs_name_is_one_step_of_its_url(name: str, opened: Opened) -> None:
    """A job's id stays one segment of the URL below its endpoint."""
    with raw_server(answered(b"{}")) as server:
        clients = (opened(runpod_at(server.url)), opened(duomi_at(server.url)))
        for client in clients:
            with pytest.raises(ProviderError):
                client.poll(name, client.endpoint)
        clients[0].cancel(name, clients[0].endpoint)
        paths = [request.split(b" ")[1].decode() for request in server.seen]
    begins = ("/runpod/v2/simulated-endpoint/status/", "/duomi/v1/tasks/")
    for path in paths:
        (begin,) = (b for b in (*begins, begins[0].replace("status", "cancel")) if b in path)
        step = path.removeprefix(begin)
        assert step
        assert not set(step) & set("/?#")


@pytest.mark.parametrize(
    "body",
    [
        {"code": 400, "msg": "\x1b[2J" + "x" * 99_999},
        {"code": "y" * 99_999, "msg": "z" * 99_999},
        {"error": {"code": "y" * 99_999, "message": "\x1b" + "z" * 99_999}},
        {"error": "\x1b" + "z" * 99_999},
        {"status": "s" * 99_999, "state": "s" * 99_999},
        {"status": "COMPLETED", "state": "succeeded", "output": {"status": "\x1b" * 99_999}},
    ],
)
def test_whatever_is_said_of_a_job_is_short(body: dict[str, Any], opened: Opened) -> None:
    """No answer makes a message of a hundred thousand characters or one with terminal control
    codes.
    """
    with raw_server(answered(json.dumps(body).encode())) as server:
        for client in (opened(runpod_at(server.url)), opened(duomi_at(server.url))):
            with pytest.raises(ImagegenError) as caught:
                client.poll("job-1", client.endpoint)
            assert len(caught.value.sentence) < 2600
            assert caught.value.sentence.isprintable()
