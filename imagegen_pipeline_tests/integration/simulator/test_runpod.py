"""The simulated RunPod endpoint."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline_tests.integration.simulator.clients import (
    SimulatorClient,
    decode,
    eventually,
    graph,
    open_picture,
)


def test_a_job_completes_with_a_base64_picture(simulated: SimulatorClient) -> None:
    """A queued graph ends COMPLETED, with its times and the picture in the first listed shape."""
    body = simulated.ended(simulated.run())
    assert body["status"] == "COMPLETED"
    assert body["executionTime"] >= 15
    assert body["delayTime"] >= 0
    image = body["output"]["images"][0]
    assert image["type"] == "base64"
    assert decode(image["data"]).size == (64, 96)


def _read_any(simulated: SimulatorClient, shape: str, output: Any) -> str:
    readers: dict[str, Callable[[Any], str]] = {
        "images": lambda o: o["images"][0]["data"],
        "plain": lambda o: o["images"][0],
        "job_results": lambda o: o["job_results"]["images"][0],
        "nested": lambda o: o["output"]["images"][0],
        "message": lambda o: o["message"],
        "image": lambda o: o["image"],
        "image_url": lambda o: o["image_url"],
    }
    return readers[shape](output)


@pytest.mark.parametrize(
    "form",
    ["images:url", "plain", "job_results:data_uri", "nested", "message", "image", "image_url"],
)
def test_every_output_shape(start: Callable[..., SimulatorClient], form: str) -> None:
    """The option picks any of the shapes that workers are known to use."""
    simulated = start(runpod_output=form)
    shape, _, encoding = form.partition(":")
    picture = _read_any(simulated, shape, simulated.ended(simulated.run())["output"])
    if encoding == "url" or shape == "image_url":
        assert open_picture(simulated.download(picture).content).size == (64, 96)
    else:
        assert picture.startswith("data:image/png;base64,") == (encoding == "data_uri")
        assert decode(picture.rpartition(",")[2]).size == (64, 96)


def test_refusals_of_key_endpoint_and_job(simulated: SimulatorClient) -> None:
    """A wrong key is 401; an unknown endpoint and an unknown job are 404 with their words."""
    assert simulated.runpod("GET", "health", key="wrong").status_code == 401
    unknown = simulated.runpod("GET", "health", endpoint="other")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "endpoint not found"})
    job = simulated.runpod("GET", "status/none")
    assert (job.status_code, job.json()) == (404, {"detail": "job not found"})


def test_a_body_over_ten_megabytes_is_refused(simulated: SimulatorClient) -> None:
    """The refusal is a 400 whose text names the limit."""
    body = {"input": {"workflow": graph(), "padding": "x" * 10_000_001}}
    answer = simulated.runpod("POST", "run", json=body)
    assert answer.status_code == 400
    assert "exceeded max body size" in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input": 3},
        {"input": {"workflow": {}}, "policy": {"ttl": 5}},
        {"input": {"workflow": {}}, "policy": {"executionTimeout": "soon"}},
    ],
)
def test_a_body_against_the_documentation_is_400(simulated: SimulatorClient, body: Any) -> None:
    """No input, or a policy outside its limits, queues nothing."""
    assert simulated.runpod("POST", "run", json=body).status_code == 400
    assert simulated.stats()["runpod"]["accepted"] == 0


def _set(node: str, name: str, value: object) -> dict[str, Any]:
    changed = graph()
    changed[node]["inputs"][name] = value
    return changed


def _without_noise() -> dict[str, Any]:
    changed = graph()
    del changed["25"]
    return changed


def _without_seed() -> dict[str, Any]:
    changed = graph()
    del changed["25"]["inputs"]["noise_seed"]
    return changed


def _with_unknown_class() -> dict[str, Any]:
    return graph() | {"40": {"class_type": "LoraLoader", "inputs": {}}}


@pytest.mark.parametrize(
    ("workflow", "complaint"),
    [
        ({}, "no outputs"),
        ([1], "no outputs"),
        (_with_unknown_class(), "LoraLoader does not exist"),
        (_without_noise(), "not there"),
        (_without_seed(), "Required input is missing: noise_seed"),
        (_set("25", "noise_seed", -1), "smaller than min of 0"),
        (_set("25", "noise_seed", "pick one"), "Failed to convert"),
        (_set("27", "width", 8), "smaller than min of 16"),
        (_set("27", "height", 16400), "bigger than max of 16384"),
        (_set("17", "steps", 0), "smaller than min of 1"),
        (_set("12", "weight_dtype", "fp4"), "not in list"),
        (_set("13", "noise", 3), "Bad linked input"),
        (_set("13", "noise", ["16", 0]), "not fed by a RandomNoise"),
        (_set("6", "text", ["6", 0]), "Return type mismatch"),
    ],
)
def test_what_comfyui_refuses_ends_failed(
    simulated: SimulatorClient, workflow: object, complaint: str
) -> None:
    """A refused graph ends FAILED, with a JSON string as its error, and bills nothing."""
    body = simulated.ended(simulated.run(workflow))
    assert body["status"] == "FAILED"
    error = json.loads(body["error"])
    assert complaint in error["error_message"]
    assert {"error_type", "error_traceback", "hostname", "worker_id"} < error.keys()
    assert simulated.stats()["runpod"]["billed"] == 0


def test_a_side_not_divisible_by_16_comes_out_smaller(simulated: SimulatorClient) -> None:
    """The server does not enforce the step: 1001 wide gives 992."""
    body = simulated.ended(simulated.run(graph(width=1001, height=96)))
    assert decode(body["output"]["images"][0]["data"]).size == (992, 96)


def test_node_numbers_do_not_matter(simulated: SimulatorClient) -> None:
    """The same graph under other node ids gives the same picture."""
    text = json.dumps(graph())
    for node_id in graph():
        text = text.replace(f'"{node_id}"', f'"n{node_id}"')
    first = simulated.ended(simulated.run(graph()))["output"]
    assert simulated.ended(simulated.run(json.loads(text)))["output"] == first


def test_jobs_wait_in_queue_and_can_be_cancelled(start: Callable[..., SimulatorClient]) -> None:
    """On one worker the second job waits; cancelled, it never runs and is not billed."""
    simulated = start(capacity=1, latency=0.6)
    first, second = simulated.run(), simulated.run()
    eventually(lambda: simulated.status(first)["status"] == "IN_PROGRESS")
    assert simulated.status(second) == {"id": second, "status": "IN_QUEUE"}
    health = simulated.runpod("GET", "health").json()
    assert (health["jobs"]["inProgress"], health["jobs"]["inQueue"]) == (1, 1)
    assert simulated.runpod("POST", f"cancel/{second}").json()["status"] == "CANCELLED"
    assert simulated.status(second) == {"id": second, "status": "CANCELLED"}
    assert simulated.ended(first)["status"] == "COMPLETED"
    counts = simulated.stats()["runpod"]
    assert (counts["billed"], counts["cancelled"], counts["in_flight"]) == (1, 1, 0)


def test_a_running_job_can_be_cancelled(start: Callable[..., SimulatorClient]) -> None:
    """A job cancelled while it runs frees its worker and is not billed."""
    simulated = start(capacity=1, latency=0.4)
    job = simulated.run()
    eventually(lambda: simulated.status(job)["status"] == "IN_PROGRESS")
    simulated.runpod("POST", f"cancel/{job}")
    assert simulated.ended(simulated.run())["status"] == "COMPLETED"
    counts = simulated.stats()["runpod"]
    assert (counts["billed"], counts["cancelled"], counts["running"]) == (1, 1, 0)


def test_the_first_job_waits_for_the_cold_start(start: Callable[..., SimulatorClient]) -> None:
    """Until a worker is up the job is queued and health says initializing."""
    simulated = start(cold_start=0.6)
    job = simulated.run()
    assert simulated.status(job)["status"] == "IN_QUEUE"
    assert simulated.runpod("GET", "health").json()["workers"]["initializing"] == 1
    assert simulated.ended(job)["delayTime"] >= 500
    assert simulated.ended(simulated.run())["delayTime"] < 500


def test_a_finished_job_is_forgotten_after_its_retention(
    start: Callable[..., SimulatorClient],
) -> None:
    """After the retention the status is 404, though the picture was billed."""
    simulated = start(retention=0.1)
    job = simulated.run()
    eventually(lambda: simulated.runpod("GET", f"status/{job}").status_code == 404)
    assert simulated.stats()["runpod"]["billed"] == 1


def test_runsync_answers_with_the_whole_job(simulated: SimulatorClient) -> None:
    """A synchronous run waits, and its body is that of the finished job."""
    body = {"input": {"workflow": graph()}}
    answer = simulated.runpod("POST", "runsync?wait=5000", json=body).json()
    assert answer["status"] == "COMPLETED"
    assert decode(answer["output"]["images"][0]["data"]).size == (64, 96)


def test_runsync_past_its_wait_answers_with_the_id(start: Callable[..., SimulatorClient]) -> None:
    """A job that outlasts the wait is answered with its present state, and continues."""
    simulated = start(latency=1.3)
    body = {"input": {"workflow": graph()}}
    answer = simulated.runpod("POST", "runsync?wait=1000", json=body).json()
    assert answer["status"] == "IN_PROGRESS"
    assert simulated.ended(answer["id"])["status"] == "COMPLETED"


def test_only_failed_jobs_are_retried_under_the_same_id(simulated: SimulatorClient) -> None:
    """A failed job can be retried, a completed one not."""
    simulated.script({"provider": "runpod", "operation": "submit", "fault": "job_failed"})
    job = simulated.run()
    assert simulated.ended(job)["status"] == "FAILED"
    assert simulated.runpod("POST", f"retry/{job}").json() == {"id": job, "status": "IN_QUEUE"}
    body = simulated.ended(job)
    assert (body["status"], body["retries"]) == ("COMPLETED", 1)
    assert simulated.runpod("POST", f"retry/{job}").status_code == 400


def test_the_queue_can_be_purged(start: Callable[..., SimulatorClient]) -> None:
    """Purging deletes waiting jobs and leaves running ones."""
    simulated = start(capacity=1, latency=0.5)
    first = simulated.run()
    eventually(lambda: simulated.status(first)["status"] == "IN_PROGRESS")
    second = simulated.run()
    assert simulated.runpod("POST", "purge-queue").json()["removed"] == 1
    assert simulated.status(second)["status"] == "CANCELLED"
    assert simulated.ended(first)["status"] == "COMPLETED"


@pytest.mark.parametrize(("limits", "last"), [(True, 429), (False, 200)])
def test_the_documented_limits_are_kept(
    start: Callable[..., SimulatorClient], limits: bool, last: int
) -> None:
    """The third purge within ten seconds is 429, unless the limits are switched off."""
    simulated = start(platform_limits=limits)
    codes = [simulated.runpod("POST", "purge-queue").status_code for _ in range(3)]
    assert codes == [200, 200, last]


def test_the_books_name_each_prompt(simulated: SimulatorClient) -> None:
    """Stats list what each prompt cost, and each request by its path's template."""
    for prompt in ("one", "one", "two"):
        simulated.ended(simulated.run(graph(prompt)))
    counted = simulated.stats()
    billed = {entry["prompt"]: entry["billed"] for entry in counted["by_prompt"]}
    assert billed == {"one": 2, "two": 1}
    assert counted["requests"]["POST /runpod/v2/{endpoint}/run"] == 3
    assert "by_prompt" not in simulated.stats("?prompts=0")
