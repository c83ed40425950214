"""The simulated Duomi."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from imagegen_pipeline_tests.integration.simulator.clients import (
    WAIT,
    SimulatorClient,
    decode,
    eventually,
    open_picture,
)


def test_a_synchronous_request_answers_with_a_url(simulated: SimulatorClient) -> None:
    """The answer names the seed and a URL whose picture has the size asked for."""
    answer = simulated.duomi(image_size="1080x1920").json()
    assert answer["seed"] == 5
    assert answer["timings"]["inference"] > 0
    picture = open_picture(simulated.download(answer["images"][0]["url"]).content)
    assert picture.size == (1080, 1920)


@pytest.mark.parametrize("form", ["images:url", "images:b64_json", "data:url", "data:b64_json"])
def test_both_documented_answer_shapes(start: Callable[..., SimulatorClient], form: str) -> None:
    """The option picks the list's name and each image's field."""
    simulated = start(duomi_answer=form)
    list_name, field = form.split(":")
    answer = simulated.duomi().json()
    value = answer[list_name][0][field]
    picture = decode(value) if field == "b64_json" else None
    picture = picture or open_picture(simulated.download(value).content)
    assert picture.size == (64, 96)
    assert ("created" in answer) == (list_name == "data")


def test_a_batch_gives_and_bills_several_pictures(simulated: SimulatorClient) -> None:
    """A batch of three is one job and three billed pictures, all different."""
    images = simulated.duomi(batch_size=3).json()["images"]
    contents = {simulated.download(image["url"]).content for image in images}
    assert len(contents) == 3
    assert simulated.stats()["duomi"]["billed"] == 3
    assert simulated.stats()["duomi"]["completed"] == 1


@pytest.mark.parametrize("key", ["wrong", "Bearer simulated-duomi-key", ""])
def test_a_wrong_key_is_a_bare_string(simulated: SimulatorClient, key: str) -> None:
    """Anything but the raw key is 401 with a bare JSON string."""
    answer = simulated.duomi(key=key)
    assert (answer.status_code, answer.json()) == (401, "Invalid token")
    assert simulated.stats()["duomi"]["accepted"] == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "nobody/knows"}, 20012),
        ({"model": "gpt-image-2"}, 20012),
        ({"image_size": "huge"}, 20026),
        ({"image_size": "8x8"}, 20026),
        ({"image_size": None}, 20026),
        ({"num_inference_steps": 101}, 400),
        ({"num_inference_steps": 0}, 400),
        ({"guidance_scale": 20.5}, 400),
        ({"seed": -1}, 400),
        ({"seed": 10_000_000_000}, 400),
        ({"seed": "5"}, 400),
        ({"batch_size": 0}, 400),
        ({"prompt": " "}, 400),
    ],
)
def test_bad_requests_are_refused_in_the_documented_form(
    simulated: SimulatorClient, fields: dict[str, Any], code: int
) -> None:
    """A wrong field is 400 with its code, and costs nothing."""
    answer = simulated.duomi(**fields)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["data"] is None
    assert simulated.stats()["duomi"]["accepted"] == 0


def test_strict_sizes_refuse_what_the_documentation_does_not_list(
    start: Callable[..., SimulatorClient],
) -> None:
    """With the option the users' default size is refused and a listed one is not."""
    simulated = start(strict_sizes=True)
    assert simulated.duomi(image_size="1080x1920").json()["code"] == 20026
    assert simulated.duomi(image_size="512x1024").status_code == 200


def test_a_task_goes_through_its_states(start: Callable[..., SimulatorClient]) -> None:
    """An asynchronous request is a task that runs, succeeds and names a URL."""
    simulated = start(latency=0.2)
    task_id = simulated.duomi_task().json()["id"]
    assert task_id.startswith("task-")
    first = simulated.task(task_id).json()
    assert first["state"] in ("pending", "running")
    done = eventually(lambda: _succeeded(simulated, task_id))
    assert done["progress"] == 100
    url = done["data"]["images"][0]["url"]
    assert open_picture(simulated.download(url).content).size == (1024, 1536)


def _succeeded(simulated: SimulatorClient, task_id: str) -> Any:
    body = simulated.task(task_id).json()
    return body if body["state"] == "succeeded" else None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "stabilityai/stable-diffusion-2-1"}, 20012),
        ({"size": "1000x1000"}, 20026),
        ({"size": "512x512"}, 20026),
        ({"size": "4096x4096"}, 20026),
        ({"quality": "best"}, 400),
    ],
)
def test_bad_tasks_are_refused(
    simulated: SimulatorClient, fields: dict[str, Any], code: int
) -> None:
    """The asynchronous mode knows its own models and sizes."""
    answer = simulated.duomi_task(**fields)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_task_is_forgotten_after_its_retention(start: Callable[..., SimulatorClient]) -> None:
    """After the retention the task is 404."""
    simulated = start(retention=0.1)
    task_id = simulated.duomi_task().json()["id"]
    eventually(lambda: simulated.task(task_id).status_code == 404)
    assert simulated.stats()["duomi"]["billed"] == 1


def test_capacity_bounds_what_runs_at_once(start: Callable[..., SimulatorClient]) -> None:
    """Eight requests on two workers all succeed, two at a time."""
    simulated = start(capacity=2, latency=0.05)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: simulated.duomi(seed=seed), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    counts = simulated.stats()["duomi"]
    assert (counts["max_running"], counts["billed"], counts["in_flight"]) == (2, 8, 0)
    assert counts["max_in_flight"] > 2


def test_the_rate_limit_is_429(start: Callable[..., SimulatorClient]) -> None:
    """The submit past the limit is refused and not billed."""
    simulated = start(rate_limit=2)
    codes = [simulated.duomi().status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert simulated.stats()["duomi"]["billed"] == 2


def test_a_picture_is_billed_though_the_client_left(start: Callable[..., SimulatorClient]) -> None:
    """Work that was begun for a client that hung up is billed all the same."""
    simulated = start(latency=0.3)
    with pytest.raises(requests.ReadTimeout):
        simulated.duomi(timeout=0.1)
    eventually(lambda: simulated.stats()["duomi"]["billed"] == 1)


def test_urls_expire(start: Callable[..., SimulatorClient]) -> None:
    """After its time a URL is 403."""
    simulated = start(url_ttl=0.05)
    url = simulated.duomi().json()["images"][0]["url"]
    eventually(lambda: simulated.download(url).status_code == 403)


def test_a_key_sent_to_a_file_is_refused_and_counted(simulated: SimulatorClient) -> None:
    """A file's host must never see an Authorization header."""
    url = simulated.duomi().json()["images"][0]["url"]
    answer = simulated.download(url, headers={"Authorization": "simulated-duomi-key"})
    assert answer.status_code == 400
    assert simulated.download(url).status_code == 200
    counted = simulated.stats()
    assert (counted["key_leaks"], counted["downloads"]) == (1, 1)


def test_an_unknown_file_is_404(simulated: SimulatorClient) -> None:
    """A URL that was never given out is 404."""
    assert simulated.download(f"{simulated.root}/files/none/picture.png").status_code == 404


def test_a_body_that_is_no_json_is_refused(simulated: SimulatorClient) -> None:
    """Bytes that are no JSON object are 400, not a crash."""
    for data in (b"", b"[1]", b"\xff\xfe{"):
        answer = requests.post(
            f"{simulated.root}/duomi/v1/images/generations",
            data=data,
            headers={"Authorization": "simulated-duomi-key"},
            timeout=WAIT,
        )
        assert answer.status_code == 400
