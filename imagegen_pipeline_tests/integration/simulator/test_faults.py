"""Scripted faults, as a client meets them."""

import base64
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image, UnidentifiedImageError

from imagegen_pipeline_tests.integration.simulator.clients import (
    DUOMI_KEY,
    SDXL,
    WAIT,
    SimulatorClient,
    decode,
    eventually,
    graph,
    open_picture,
)


def duomi_submit(fault: str, **params: Any) -> dict[str, Any]:
    """A fault of Duomi's submit."""
    return {"provider": "duomi", "operation": "submit", "fault": fault, **params}


def runpod(operation: str, fault: str, **params: Any) -> dict[str, Any]:
    """A fault of a RunPod operation."""
    return {"provider": "runpod", "operation": operation, "fault": fault, **params}


def billed(simulated: SimulatorClient, service: str = "duomi") -> int:
    """How many pictures the provider has billed."""
    return int(simulated.stats()[service]["billed"])


def raw_generation(simulated: SimulatorClient) -> tuple[bytes, bool]:
    """Ask by a bare socket: all bytes that come, and whether the end was a reset."""
    place = urlsplit(simulated.root)
    body = json.dumps({"model": SDXL, "prompt": "raw", "image_size": "64x96"}).encode()
    head = (
        f"POST /duomi/v1/images/generations HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Authorization: {DUOMI_KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    received = b""
    with socket.create_connection((place.hostname, place.port), timeout=WAIT) as connection:
        connection.sendall(head.encode() + body)
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            return received, True
    return received, False


def test_reset_before_gives_no_byte_and_no_bill(simulated: SimulatorClient) -> None:
    """The connection is reset before any answer, and nothing was done."""
    simulated.script(duomi_submit("reset_before"))
    assert raw_generation(simulated) == (b"", True)
    assert simulated.stats()["duomi"]["accepted"] == 0


def test_reset_after_work_bills_what_nobody_gets(simulated: SimulatorClient) -> None:
    """The connection is reset without an answer, after the picture was billed."""
    simulated.script(duomi_submit("reset_after_work"))
    assert raw_generation(simulated) == (b"", True)
    assert billed(simulated) == 1
    simulated.script(duomi_submit("reset_after_work"))
    with pytest.raises(requests.ConnectionError):
        simulated.duomi()
    assert billed(simulated) == 2


def test_reset_midbody_gives_half_of_the_body(simulated: SimulatorClient) -> None:
    """Half of the announced body arrives, then the connection ends; the picture is billed."""
    simulated.script(duomi_submit("reset_midbody", times=2))
    received, _ = raw_generation(simulated)
    head, _, body = received.partition(b"\r\n\r\n")
    announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == announced // 2
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        simulated.duomi()
    assert billed(simulated) == 2


def test_reset_after_work_of_a_run_leaves_a_job_behind(simulated: SimulatorClient) -> None:
    """A RunPod submit without an answer still makes and bills its picture."""
    simulated.script(runpod("submit", "reset_after_work"))
    with pytest.raises(requests.ConnectionError):
        simulated.run()
    eventually(lambda: billed(simulated, "runpod") == 1)


@pytest.mark.parametrize("operation", ["status", "cancel", "health"])
def test_other_operations_can_be_reset(simulated: SimulatorClient, operation: str) -> None:
    """Status, cancel and health break like a submit, and the next call works."""
    job = simulated.run()
    call = {"status": f"status/{job}", "cancel": f"cancel/{job}", "health": "health"}[operation]
    method = "POST" if operation == "cancel" else "GET"
    simulated.script(runpod(operation, "reset_before"))
    with pytest.raises(requests.ConnectionError):
        simulated.runpod(method, call)
    assert simulated.runpod(method, call).status_code == 200


def test_a_scripted_status_has_its_own_body_and_headers(simulated: SimulatorClient) -> None:
    """Status, headers, body and content type are sent as scripted."""
    simulated.script(
        duomi_submit(
            "status", status=418, headers={"Retry-After": "2"}, body="<p>", content_type="text/html"
        )
    )
    answer = simulated.duomi()
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (418, "<p>", "2")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert simulated.stats()["duomi"]["accepted"] == 0


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"status": 401}, "Invalid token"),
        ({"status": 403}, {"code": 30003, "message": "Model disabled.", "data": None}),
        ({"status": 403, "code": 30011, "message": "m"}, {"code": 30011, "message": "m"}),
        ({"status": 503}, {"code": 50505}),
        ({"status": 403, "body": {"any": 1}}, {"any": 1}),
    ],
)
def test_a_scripted_status_without_a_body_has_the_documented_one(
    simulated: SimulatorClient, params: dict[str, Any], expected: Any
) -> None:
    """Duomi's documented refusals need no body in the script."""
    simulated.script(duomi_submit("status", **params))
    answer = simulated.duomi()
    assert answer.status_code == params["status"]
    body = answer.json()
    assert body == expected if isinstance(expected, str) else expected.items() <= body.items()


@pytest.mark.parametrize("status", [500, 502, 504, 524])
def test_gateway_errors_are_html(simulated: SimulatorClient, status: int) -> None:
    """A gateway's error is a page, for either provider, and bills only work that was scripted."""
    simulated.script(
        duomi_submit("status", status=status, work=True), runpod("health", "status", status=status)
    )
    for answer in (simulated.duomi(), simulated.runpod("GET", "health")):
        assert answer.status_code == status
        assert "text/html" in answer.headers["Content-Type"]
    assert billed(simulated) == 1


@pytest.mark.parametrize("fault", ["html_200", "broken_json"])
def test_answers_that_are_no_json(simulated: SimulatorClient, fault: str) -> None:
    """A 200 can be a page or half a JSON."""
    simulated.script(duomi_submit(fault), runpod("submit", fault))
    body = {"input": {"workflow": graph()}}
    for answer in (simulated.duomi(), simulated.runpod("POST", "run", json=body)):
        assert answer.status_code == 200
        with pytest.raises(requests.exceptions.JSONDecodeError):
            answer.json()
    assert billed(simulated) == 0


def test_errors_in_a_200(simulated: SimulatorClient) -> None:
    """Both known forms of an error under HTTP 200."""
    simulated.script(duomi_submit("code_in_200"), duomi_submit("code_in_200", form="error"))
    assert simulated.duomi().json() == {"code": 400, "msg": "fail_to_submit_task"}
    assert simulated.duomi().json()["error"].keys() == {"code", "message"}


def test_a_hang_outlasts_the_client_and_does_nothing(simulated: SimulatorClient) -> None:
    """A hanging request that is aborted bills nothing, unless work was scripted."""
    simulated.script(duomi_submit("hang", seconds=30))
    with pytest.raises(requests.ReadTimeout):
        simulated.duomi(timeout=0.1)
    assert simulated.stats()["duomi"]["accepted"] == 0
    simulated.script(duomi_submit("hang", seconds=30, work=True))
    with pytest.raises(requests.ReadTimeout):
        simulated.duomi(timeout=0.2)
    eventually(lambda: billed(simulated) == 1)


def test_a_short_hang_ends_in_the_answer(simulated: SimulatorClient) -> None:
    """A client that waits long enough gets its picture."""
    simulated.script(duomi_submit("hang", seconds=0.2))
    began = time.monotonic()
    assert simulated.duomi().status_code == 200
    assert time.monotonic() - began > 0.15


def test_clearing_the_faults_answers_requests_that_hang(simulated: SimulatorClient) -> None:
    """A request that hangs for an hour gets its picture when the faults are deleted."""
    simulated.script(duomi_submit("hang", seconds=3600))
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(simulated.duomi)
        eventually(lambda: requests.get(f"{simulated.root}/_sim/faults", timeout=WAIT).json() == [])
        assert not answer.done()
        requests.delete(f"{simulated.root}/_sim/faults", timeout=WAIT).raise_for_status()
        assert answer.result().status_code == 200


def test_a_slow_drip_keeps_the_connection_busy(simulated: SimulatorClient) -> None:
    """Bytes keep coming, so that only a total deadline ends it; all of them do arrive."""
    simulated.script(duomi_submit("slow_drip", seconds_per_byte=0.001, chunk=20))
    began = time.monotonic()
    assert "images" in simulated.duomi(timeout=1).json()
    assert time.monotonic() - began > 0.1


def test_a_redirect_names_its_location(simulated: SimulatorClient) -> None:
    """A redirect of a download is sent as scripted."""
    url = simulated.duomi().json()["images"][0]["url"]
    simulated.script(
        {
            "provider": "files",
            "operation": "download",
            "fault": "redirect",
            "location": "http://127.0.0.1:9/x",
        }
    )
    answer = simulated.download(url, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:9/x")


def picture_by(simulated: SimulatorClient, service: str, fault: dict[str, Any]) -> bytes:
    """The picture's bytes that a client gets under the fault."""
    if service == "files":
        url = simulated.duomi().json()["images"][0]["url"]
        simulated.script({"provider": "files", "operation": "download", **fault})
        return bytes(simulated.download(url).content)
    if service == "duomi":
        simulated.script({"provider": "duomi", "operation": "submit", **fault})
        return bytes(simulated.download(simulated.duomi().json()["images"][0]["url"]).content)
    operation = service.partition("/")[2]
    simulated.script({"provider": "runpod", "operation": operation, **fault})
    body = simulated.ended(simulated.run())
    return base64.b64decode(body["output"]["images"][0]["data"])


@pytest.mark.parametrize("service", ["files", "duomi", "runpod/submit", "runpod/status"])
def test_damaged_pictures(simulated: SimulatorClient, service: str) -> None:
    """Every picture fault damages the image, whichever way it is delivered."""
    with pytest.raises(OSError, match=r"truncated|Truncated"):
        open_picture(picture_by(simulated, service, {"fault": "truncated_picture"}))
    assert open_picture(picture_by(simulated, service, {"fault": "wrong_size"})).size == (32, 48)
    for name in ("jpeg", "webp"):
        fault = {"fault": "wrong_format", "format": name}
        picture = open_picture(picture_by(simulated, service, fault))
        assert (picture.format, picture.size) == (name.upper(), (64, 96))
    black = open_picture(picture_by(simulated, service, {"fault": "blank"}))
    assert black.getextrema() == ((0, 0), (0, 0), (0, 0))
    bomb = picture_by(simulated, service, {"fault": "bomb"})
    assert len(bomb) < 10_000
    with pytest.raises(Image.DecompressionBombError):
        open_picture(bomb)


def test_an_expired_url(simulated: SimulatorClient) -> None:
    """The answer is good and its URL is not, for either provider."""
    simulated.script(duomi_submit("expired_url"), runpod("submit", "expired_url"))
    url = simulated.duomi().json()["images"][0]["url"]
    assert simulated.download(url).status_code == 403
    image = simulated.ended(simulated.run())["output"]["images"][0]
    assert image["type"] == "s3_url"
    assert simulated.download(image["data"]).status_code == 403
    assert simulated.stats()["downloads"] == 0


@pytest.mark.parametrize("operation", ["submit", "status"])
def test_outputs_without_a_picture_are_billed_all_the_same(
    simulated: SimulatorClient, operation: str
) -> None:
    """A job COMPLETED without a usable output, in every known shape."""
    expected: list[tuple[dict[str, Any], Any]] = [
        ({"fault": "no_output"}, None),
        ({"fault": "empty_images"}, {"images": []}),
        (
            {"fault": "error_in_completed"},
            {"status": "error", "message": "Workflow execution failed"},
        ),
        (
            {"fault": "error_in_completed", "form": "success_no_images"},
            {"status": "success_no_images", "images": []},
        ),
    ]
    for fault, output in expected:
        simulated.script({"provider": "runpod", "operation": operation, **fault})
        body = simulated.ended(simulated.run())
        assert (body["status"], body.get("output")) == ("COMPLETED", output)
    simulated.script(runpod(operation, "error_in_completed", form="error_details"))
    assert simulated.ended(simulated.run())["output"].keys() == {"error", "details"}
    assert billed(simulated, "runpod") == 5


@pytest.mark.parametrize("mode", ["runpod", "duomi"])
def test_broken_base64(simulated: SimulatorClient, mode: str) -> None:
    """The text is not base64."""
    if mode == "runpod":
        simulated.script(runpod("submit", "broken_base64"))
        text = simulated.ended(simulated.run())["output"]["images"][0]["data"]
    else:
        simulated.script(duomi_submit("broken_base64"))
        text = simulated.duomi().json()["images"][0]["b64_json"]
    with pytest.raises((ValueError, UnidentifiedImageError)):
        decode(text)


@pytest.mark.parametrize("operation", ["submit", "status"])
def test_jobs_that_do_not_end_well(simulated: SimulatorClient, operation: str) -> None:
    """FAILED in both forms, CANCELLED, TIMED_OUT and an unknown status."""
    simulated.script(runpod(operation, "job_failed", error="out of memory"))
    body = simulated.ended(simulated.run())
    assert (body["status"], body["error"]) == ("FAILED", "out of memory")
    simulated.script(runpod(operation, "job_failed", form="json", error="out of memory"))
    body = simulated.ended(simulated.run())
    assert json.loads(body["error"])["error_message"] == "out of memory"
    for fault, status in (
        ("job_cancelled", "CANCELLED"),
        ("job_timed_out", "TIMED_OUT"),
        ("unknown_status", "PAUSED"),
    ):
        simulated.script(runpod(operation, fault))
        assert simulated.ended(simulated.run())["status"] == status


def test_a_job_that_failed_is_not_billed(simulated: SimulatorClient) -> None:
    """The counters tell failed and cancelled jobs from completed ones."""
    for fault in ("job_failed", "job_timed_out", "job_cancelled"):
        simulated.script(runpod("submit", fault))
        simulated.ended(simulated.run())
    counts = simulated.stats()["runpod"]
    assert (counts["billed"], counts["failed"], counts["cancelled"]) == (0, 2, 1)


def test_a_job_stuck_in_the_queue_stays_there_until_cancelled(simulated: SimulatorClient) -> None:
    """It lets others pass, and only cancelling ends it."""
    simulated.script(runpod("submit", "stuck_in_queue"))
    stuck = simulated.run()
    simulated.ended(simulated.run())
    assert simulated.status(stuck)["status"] == "IN_QUEUE"
    simulated.runpod("POST", f"cancel/{stuck}")
    assert simulated.status(stuck)["status"] == "CANCELLED"


def test_an_expired_job_is_billed_and_lost(simulated: SimulatorClient) -> None:
    """Expired at submit, the job is gone once it is done; at status, for that one poll."""
    simulated.script(runpod("submit", "expired"))
    job = simulated.run()
    eventually(lambda: simulated.runpod("GET", f"status/{job}").status_code == 404)
    assert billed(simulated, "runpod") == 1
    other = simulated.run()
    simulated.script(runpod("status", "expired"))
    assert simulated.runpod("GET", f"status/{other}").status_code == 404
    assert simulated.ended(other)["status"] == "COMPLETED"


def test_duomi_tasks_have_their_own_bad_ends(simulated: SimulatorClient) -> None:
    """A task can fail, be cancelled, be lost, be empty or speak in unknown words."""

    def end_of(fault: dict[str, Any]) -> Any:
        simulated.script({"provider": "duomi", "operation": "submit", **fault})
        task_id = simulated.duomi_task().json()["id"]
        active = ("pending", "running")
        return eventually(
            lambda: (
                body
                if (body := simulated.task(task_id).json()).get("state") not in active
                else None
            )
        )

    assert end_of({"fault": "job_failed"})["state"] == "failed"
    assert end_of({"fault": "job_failed", "state": "error"})["state"] == "error"
    assert end_of({"fault": "job_cancelled"})["state"] == "cancelled"
    assert end_of({"fault": "job_timed_out"})["state"] == "error"
    assert end_of({"fault": "unknown_status"})["state"] == "paused"
    assert end_of({"fault": "empty_images"})["data"]["images"] == []
    assert "data" not in end_of({"fault": "no_output"})
    assert end_of({"fault": "expired"})["code"] == 404
    assert "error" in end_of({"fault": "error_in_completed"})


def test_times_after_and_match_choose_the_requests(simulated: SimulatorClient) -> None:
    """A fault lets some requests through, takes some, and sees only matching prompts."""
    simulated.script(duomi_submit("status", status=503, after=1, times=2, match="dragon"))
    assert simulated.duomi(prompt="a castle").status_code == 200
    codes = [simulated.duomi(prompt="a dragon").status_code for _ in range(4)]
    assert codes == [200, 503, 503, 200]
    assert simulated.waiting_faults() == []


def test_a_fault_for_ever_stays_until_it_is_deleted(simulated: SimulatorClient) -> None:
    """Times -1 never runs out."""
    simulated.script(duomi_submit("status", status=503, times=-1))
    assert {simulated.duomi().status_code for _ in range(3)} == {503}
    assert simulated.waiting_faults()[0]["times"] == -1
    requests.delete(f"{simulated.root}/_sim/faults", timeout=WAIT)
    assert simulated.duomi().status_code == 200


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"provider": "duomi", "operation": "cancel", "fault": "hang"}, "there is no duomi/cancel"),
        (duomi_submit("explode"), "no fault 'explode'"),
        (duomi_submit("status"), "needs 'status'"),
        (duomi_submit("hang", second=3), "no parameter 'second'"),
        (duomi_submit("hang", seconds="3"), "'seconds' is a number"),
        (duomi_submit("hang", times="3"), "'times' is a whole number"),
        (runpod("submit", "job_failed", form="yaml"), "'form' is one of plain, json"),
        ("hang", "an object"),
    ],
)
def test_a_fault_that_would_do_nothing_is_refused(
    simulated: SimulatorClient, fault: object, complaint: str
) -> None:
    """A wrong script is refused with its error, and none of its faults is added."""
    good = duomi_submit("hang")
    url = f"{simulated.root}/_sim/faults"
    answer = requests.post(url, json=[good, fault], timeout=WAIT)
    assert answer.status_code == 400
    assert complaint in answer.json()["error"]
    assert simulated.waiting_faults() == []


def test_reset_ends_everything(start: Callable[..., SimulatorClient]) -> None:
    """After a reset there are no jobs, files, faults or counts, also none of what was running."""
    simulated = start(latency=0.2)
    url = simulated.duomi().json()["images"][0]["url"]
    job = simulated.run()
    simulated.script(duomi_submit("hang"))
    simulated.reset()
    assert simulated.runpod("GET", f"status/{job}").status_code == 404
    assert simulated.download(url).status_code == 404
    assert simulated.waiting_faults() == []
    assert simulated.ended(simulated.run())["status"] == "COMPLETED"
    counts = simulated.stats()["runpod"]
    assert (counts["accepted"], counts["billed"], counts["in_flight"]) == (1, 1, 0)
