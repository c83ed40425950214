"""Keys reach the provider's Authorization header, and nothing else."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from imagegen_pipeline.domain.errors import ImagegenError, JobFailedError, SetupError
from imagegen_pipeline.providers.base import Timeouts
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.providers.http.client import HttpClient, KeyAuth
from imagegen_pipeline.providers.runpod.client import RunPodClient
from imagegen_pipeline_tests.integration.providers.local_services import (
    closed_port,
    duomi_at,
    flux,
    json_answer,
    recording,
    runpod_at,
    sdxl,
)

SECRET = "sk-Zx9/Qw7+Rt5=Yu3"


def submits(client: DuomiClient | RunPodClient) -> None:
    """Ask the client for a picture."""
    client.submit(sdxl() if isinstance(client, DuomiClient) else flux())


def polls(client: DuomiClient | RunPodClient) -> None:
    """Ask the client for a job."""
    client.poll("job-1", client.endpoint)


@pytest.mark.parametrize("make", [duomi_at, runpod_at])
def test_no_representation_of_a_client_shows_its_key(
    make: Callable[..., Any], opened: Callable[[Any], Any]
) -> None:
    """``repr``, ``str``, format and ``vars`` of a client and of its parts are without the key."""
    client = opened(make("http://127.0.0.1:9", key=SECRET))
    parts = [client, HttpClient(key=SECRET, timeouts=Timeouts())]
    parts.append(KeyAuth(SecretStr(SECRET), "Bearer "))
    shown = [text for part in parts for text in (repr(part), f"{part}", repr(vars(part)))]
    assert [text for text in shown if SECRET in text] == []
    opened(parts[1])


ECHOES: list[tuple[int, object]] = [
    (401, f"Invalid token {SECRET}"),
    (403, {"code": 30003, "message": f"{SECRET} may not", "data": None}),
    (429, {"message": f"too many for {SECRET}"}),
    (500, f"<html>{SECRET}</html>"),
    (200, {"code": 400, "msg": f"bad key {SECRET}"}),
    (200, {"error": {"code": SECRET, "message": f"bad key {SECRET}"}}),
    (200, {"status": "FAILED", "state": "failed", "error": f"worker got {SECRET}"}),
    (200, {"status": SECRET, "state": SECRET}),
    (200, {"status": "COMPLETED", "state": "succeeded", "output": {"error": SECRET}}),
    (200, [SECRET]),
]


@pytest.mark.parametrize(("status", "body"), ECHOES)
@pytest.mark.parametrize("make", [duomi_at, runpod_at])
@pytest.mark.parametrize("call", [submits, polls])
def test_a_key_that_the_service_repeats_is_struck_out(
    status: int,
    body: object,
    make: Callable[..., Any],
    call: Callable[[Any], None],
    opened: Callable[[Any], Any],
) -> None:
    """Wherever an answer echoes the key, the error, its remedy and its traceback are without it."""
    with recording(json_answer(body, status)) as server:
        with pytest.raises(ImagegenError) as caught:
            call(opened(make(server.url, key=SECRET)))
        assert SECRET in server.requests[0]["headers"]["authorization"]
    error = caught.value
    told = [error.sentence, repr(error), "".join(traceback.format_exception(error))]
    assert [text for text in told if SECRET in text] == []


@pytest.mark.parametrize("escaped", [SECRET.replace("/", "\\/"), SECRET.replace("+", "\\u002b")])
def test_an_escaped_key_is_struck_out_too(escaped: str, opened: Callable[[Any], Any]) -> None:
    """JSON may write a slash or a plus otherwise; what is read from it is without the key."""

    def answer(handler: Any) -> None:
        content = f'{{"state": "failed", "error": "worker got {escaped}"}}'.encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    with recording(answer) as server, pytest.raises(JobFailedError, match="worker got") as caught:
        polls(opened(duomi_at(server.url, key=SECRET)))
    assert SECRET not in str(caught.value)


def test_what_is_kept_of_an_answer_is_without_the_key(opened: Callable[[Any], Any]) -> None:
    """The raw answer of a success reaches logs and files: an echoed key does not."""
    body = {"images": [{"url": "https://a.example/1"}], "request": {"authorization": SECRET}}
    with recording(json_answer(body)) as server:
        report = opened(duomi_at(server.url, key=SECRET)).submit(sdxl()).report
    assert report.raw["request"] == {"authorization": "***"}


def test_a_placeholder_for_a_key_does_not_hurt_a_picture(opened: Callable[[Any], Any]) -> None:
    """A "key" as short as ``x`` occurs in any base64, which stays as it came."""
    with recording(json_answer({"images": [{"b64_json": "xxxx"}]})) as server:
        report = opened(duomi_at(server.url, key="x")).submit(sdxl()).report
    assert report.images[0].data == bytes.fromhex("c71c71")


@pytest.mark.parametrize("make", [duomi_at, runpod_at])
def test_a_failed_connection_does_not_tell_the_key(
    make: Callable[..., Any], opened: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was sent: neither the error nor the libraries' own logs hold the key."""
    caplog.set_level(logging.DEBUG)
    client = opened(make(f"http://127.0.0.1:{closed_port()}", key=SECRET))
    with pytest.raises(ImagegenError) as caught:
        submits(client)
    assert SECRET not in caught.value.sentence
    assert SECRET not in caplog.text


@pytest.mark.parametrize("key", ["line\nbreak-secret", "caf\u00e9-secret", "quotes\u201d-secret"])
@pytest.mark.parametrize("make", [duomi_at, runpod_at])
def test_a_key_that_no_header_can_carry_is_refused_unseen(
    key: str, make: Callable[..., Any]
) -> None:
    """A key with a line break or typographic quotes is a set-up error that does not repeat it."""
    with pytest.raises(SetupError, match="line break or a character outside ASCII") as caught:
        make("http://127.0.0.1:9", key=key)
    assert "secret" not in caught.value.sentence
    assert "Copy the key again" in caught.value.remedy


def test_blanks_around_a_key_are_no_part_of_it(opened: Callable[[Any], Any]) -> None:
    """A key that was pasted with a line break behind it is sent without."""
    with recording(json_answer({"id": "job-1"})) as server:
        opened(runpod_at(server.url, key=f" {SECRET}\n")).submit(flux())
    assert server.requests[0]["headers"]["authorization"] == f"Bearer {SECRET}"
