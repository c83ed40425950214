"""The guide's endpoint, over real HTTP, against the simulator."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.integration.web.conftest import (
    ACTOR,
    DESCRIPTION,
    PARAMS,
    Serve,
    Served,
)

PATH = "/api/generate-base-image"


def test_the_response_and_the_file_are_the_guides(
    serve_live: Serve,
) -> None:
    """COMPLETED with the image in base64, its path, name, seed and metadata."""
    server = serve_live()
    answer = server.post(PATH, PARAMS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["status"] == "COMPLETED"
    assert body["localPath"] == f"/data/actors/{ACTOR}/base_image/{ACTOR}_base.png"
    assert body["filename"] == f"{ACTOR}_base.png"
    assert isinstance(body["seed"], int)
    metadata = body["metadata"]
    prompt = metadata.pop("prompt")
    assert prompt.startswith(
        f"Professional full-body studio portrait photograph of a {DESCRIPTION}."
    )
    assert metadata == {
        "actor_name": ACTOR,
        "description": DESCRIPTION,
        "width": 64,
        "height": 96,
        "steps": 5,
    }
    place = server.project.root / "data" / "actors" / ACTOR / "base_image" / f"{ACTOR}_base.png"
    (image,) = body["output"]["job_results"]["images"]
    assert base64.b64decode(image) == place.read_bytes()
    assert "error" not in body


def test_only_the_name_and_the_description_are_needed(server: Served) -> None:
    """The guide's defaults: 1024 by 1536 pixels, 25 steps, a random seed."""
    body = server.post(PATH, {"actorName": ACTOR, "description": DESCRIPTION}).json()
    made = body["metadata"]
    assert (made["width"], made["height"], made["steps"]) == (1024, 1536, 25)


@pytest.mark.parametrize(
    "gone",
    [
        {"actorName": None},
        {"description": None},
        {"actorName": ""},
        {"description": "  "},
        {"actorName": ..., "description": ...},
        {"description": ...},
    ],
)
def test_a_missing_field_is_the_guides_own_error(server: Served, gone: dict[str, object]) -> None:
    """400 with the guide's sentence, in the guide's shape; nothing is sent."""
    params = {**PARAMS, **gone}
    answer = server.post(PATH, {k: v for k, v in params.items() if v is not ...})
    assert answer.status_code == 400
    body = answer.json()
    assert body["status"] == "FAILED"
    assert body["error"] == "Missing required fields: actorName and description are required"
    assert server.simulator.billed("runpod") == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": "1024"}, "width"),
        ({"width": 64.5}, "width"),
        ({"width": 65}, "64x96 or 80x96"),
        ({"height": -96}, "cannot be drawn"),
        ({"width": True}, "width"),
        ({"width": None}, "width"),
        ({"width": 2**70}, "cannot be drawn"),
        ({"steps": 0}, "steps are 1 to"),
        ({"steps": 10**400}, "steps are 1 to"),
        ({"seed": -2}, "seed is -1 (random) or"),
        ({"seed": 2**64}, "seed is -1 (random) or"),
        ({"sede": 5}, "'sede' is not a field"),
        ({"actorName": 5}, "actorName"),
        ({"description": ["a"]}, "description"),
        ({"actorName": "a/b"}, "is not an actor's folder name"),
        ({"actorName": "\ud800"}, "is not an actor's folder name"),
        ({"actorName": "x" * 5000}, "is not an actor's folder name"),
        ({"description": "a\x00b"}, "NUL"),
        ({"description": "\u200b"}, "blank"),
        ({"description": "a \ud800"}, "lone surrogate"),
        ({"regenerate": "yes"}, "regenerate"),
    ],
)
def test_an_invalid_request_is_400_with_the_reason(
    server: Served, wrong: dict[str, object], message: str
) -> None:
    """A wrong type, range or name is refused before anything is sent, in the guide's shape."""
    answer = server.post(PATH, {**PARAMS, **wrong})
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["status"] == "FAILED"
    assert message in body["error"]
    assert "pydantic" not in body["error"]
    assert server.simulator.billed("runpod") == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff\xfe",
        b"[" * 9000,
        b'{"steps": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_an_object_is_400(server: Served, raw: bytes) -> None:
    """Any other body than a JSON object is refused in the contract's shape."""
    headers = {"content-type": "application/json"}
    answer = server.session.post(server.url + PATH, data=raw, headers=headers, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["status"] == "FAILED"
    assert len(answer.json()["error"]) > 10


def test_the_guidelines_are_warnings_that_refuse_nothing(server: Served) -> None:
    """The guide's bad examples and the wide size are generated, with warnings."""
    for description, message in (
        ("person", "too generic"),
        ("john smith", "seems to be a name"),
        ("superhero", "stylised"),
    ):
        warnings = " ".join(server.make(description=description)["warnings"])
        assert message in warnings
    wide = server.make(width=96, height=64)
    assert "cut off feet" in " ".join(wide["warnings"])


def test_the_same_request_again_costs_nothing(server: Served) -> None:
    """The existing image is returned, with its random seed."""
    first, second = server.make(), server.make()
    assert first["output"] == second["output"]
    assert first["seed"] == second["seed"]
    assert server.simulator.billed("runpod") == 1


def test_regenerate_buys_one_more(server: Served) -> None:
    """``regenerate`` generates another image with another seed; the old one stays in history."""
    first, second = server.make(), server.make(regenerate=True)
    assert first["output"] != second["output"]
    assert server.simulator.billed("runpod") == 2


def test_twenty_clients_with_one_request_share_one_image(serve_slow: Serve) -> None:
    """The same POST while the first is in flight joins it: one image, twenty responses."""
    server = serve_slow()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.make(), range(20)))
    assert len({answer["seed"] for answer in answers}) == 1
    assert server.simulator.billed("runpod") == 1


def test_the_same_request_in_flight_is_the_same_job(serve_slow: Serve) -> None:
    """A second POST joins the open job; another request is another job."""
    server = serve_slow()
    jobs = [
        server.post(f"{PATH}?async=1", params).json()["jobId"]
        for params in (
            PARAMS,
            {**PARAMS, "description": f"  {DESCRIPTION} "},
            {**PARAMS, "seed": 5},
            {**PARAMS, "regenerate": True},
        )
    ]
    assert jobs[0] == jobs[1]
    assert len(set(jobs)) == 3


def test_a_jobs_image_is_its_own(server: Served) -> None:
    """A later request replaces the image at the fixed path, not the result of an earlier job."""
    first = server.post(f"{PATH}?async=1", PARAMS).json()["job"]
    until(lambda: server.get(first).json()["status"] == "COMPLETED")
    before = server.get(first).json()["output"]
    other = server.make(seed=5)["output"]
    assert other != before
    assert server.get(first).json()["output"] == before
    assert server.get(f"/api/base-images/{ACTOR}").json()["output"] == other


@pytest.mark.parametrize(
    ("fault", "head", "remedy"),
    [
        ({"fault": "status", "status": 401}, "RunPod error:", "RUNPOD_API_KEY"),
        ({"fault": "job_failed"}, "Generation failed:", "simplify the description"),
    ],
)
def test_a_failed_generation_is_502_with_the_guides_text(
    server: Served, fault: dict[str, object], head: str, remedy: str
) -> None:
    """The guide's three texts, each with its cause and the guide's remedy."""
    server.simulator.fault(provider="runpod", operation="submit", times=20, **fault)
    answer = server.post(PATH, PARAMS)
    assert answer.status_code == 502, answer.text
    body = answer.json()
    assert body["status"] == "FAILED"
    assert body["error"].startswith(head)
    assert remedy in body["error"]
    assert body["filename"] == f"{ACTOR}_base.png"


def test_a_missing_key_is_502(serve_live: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live server without its key starts, and returns 502 with the variable's name."""
    monkeypatch.delenv("RUNPOD_API_KEY")
    answer = serve_live().post(PATH, PARAMS)
    assert answer.status_code == 502
    assert answer.json()["error"].startswith("RunPod error: RUNPOD_API_KEY is not set.")


def test_an_async_request_returns_the_job(serve_slow: Serve) -> None:
    """202 with the job's address; the job ends with the guide's response."""
    server = serve_slow()
    answer = server.post(f"{PATH}?async=1", PARAMS)
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] in ("IN_QUEUE", "IN_PROGRESS")
    assert body["job"] == f"/api/jobs/{body['jobId']}" == answer.headers["location"]

    def ended() -> dict[str, object] | None:
        found = server.get(body["job"])
        assert found.status_code == 200
        job = found.json()
        return job if job["status"] not in ("IN_QUEUE", "IN_PROGRESS") else None

    job = until(ended)
    assert job["status"] == "COMPLETED"
    assert job["output"] == server.make()["output"]
    assert server.simulator.billed("runpod") == 1


def test_an_actors_current_base_image(server: Served) -> None:
    """404 without one, the job while it is in flight, then the response, also after a restart."""
    path = f"/api/base-images/{ACTOR}"
    assert server.get(path).status_code == 404
    made = server.make()
    found = server.get(path)
    assert found.status_code == 200
    body = found.json()
    assert {k: body[k] for k in ("output", "localPath", "seed", "metadata")} == {
        k: made[k] for k in ("output", "localPath", "seed", "metadata")
    }
