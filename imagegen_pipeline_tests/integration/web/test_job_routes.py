"""Jobs outlive clients and servers, buy nothing twice, and respect the limits."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imagegen_pipeline.domain.requests import State
from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.integration.web.conftest import ACTOR, PARAMS, Serve, Served

PATH = "/api/generate-base-image"
CHANGE = {"width": 64, "height": 64}


def ended(server: Served, job_id: str) -> dict[str, Any]:
    """The job when it has ended."""

    def ended_job() -> dict[str, Any] | None:
        job = server.get(f"/api/jobs/{job_id}").json()
        return None if job["status"] in ("IN_QUEUE", "IN_PROGRESS") else job

    return until(ended_job)


def typed(server: Served, number: int) -> list[str]:
    """Write and scan this number of JSON prompts; returns their keys."""
    for at in range(number):
        server.project.write_json(f"p{at}", f"picture {at}")
    return [prompt.key for prompt in server.pipeline.scan_prompts().prompts]


def generate(server: Served, job_id: str, keys: list[str], **more: Any) -> Any:
    """The response to a generation of small images."""
    body = {"id": job_id, "keys": keys, "mode": "regenerate", "overrides": CHANGE, **more}
    return server.post("/api/generations", body)


def test_a_disconnected_client_finds_its_image(serve_slow: Serve) -> None:
    """A connection that breaks during a generation loses nothing: the generation continues, and
    the image is found by the actor's name.
    """
    server = serve_slow()
    body = json.dumps(PARAMS).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: server.simulator.stats()["runpod"]["accepted"] == 1)
    answer = until(lambda: (found := server.get(f"/api/base-images/{ACTOR}")).ok and found)
    until(lambda: server.get(f"/api/base-images/{ACTOR}").status_code == 200)
    assert answer.json()["status"] in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")
    assert server.get(f"/api/base-images/{ACTOR}").json()["status"] == "COMPLETED"
    assert server.make()["status"] == "COMPLETED"
    assert server.simulator.billed("runpod") == 1


def test_other_requests_are_answered_during_generations(serve_unfinished: Serve) -> None:
    """While eight generations are in flight, every other address answers."""
    server = serve_unfinished()
    for number in range(8):
        assert server.post(f"{PATH}?async=1", {**PARAMS, "actorName": f"a{number}"}).ok
    for path in ("/healthz", "/api/totals", "/api/pictures", "/"):
        assert server.get(path).ok, path
    assert len(server.running.app_state.job_manager.active_keys()) == 8


def test_a_job_of_an_earlier_server_is_read_from_the_ledger(serve: Serve) -> None:
    """After a restart a job's address still has its result, and an unknown one is 404."""
    server = serve()
    job = server.post(f"{PATH}?async=1", PARAMS).json()
    before = ended(server, job["jobId"])
    server.stop()

    again = serve()
    found = again.get(job["job"])
    assert found.status_code == 200
    after = found.json()
    for name in ("status", "output", "localPath", "seed", "metadata", "jobId", "kind"):
        assert after[name] == before[name], name
    unknown = again.get("/api/jobs/0123456789")
    assert unknown.status_code == 404
    assert unknown.json()["status"] == "FAILED"


def test_a_job_of_an_earlier_server_is_collected(serve_slow: Serve) -> None:
    """A job in flight when the server stops is collected by the next one, not bought again."""
    server = serve_slow()
    job = server.post(f"{PATH}?async=1", PARAMS).json()
    until(lambda: server.simulator.stats()["runpod"]["accepted"] == 1)
    until(lambda: [a.state for a in server.pipeline.ledger.attempts.unfinished()] == ["submitted"])
    server.stop()

    again = serve_slow(collect_seconds=0.2)
    found = ended(again, job["jobId"])
    assert found["status"] == "COMPLETED"
    assert again.simulator.billed("runpod") == 1


def test_the_same_id_is_the_same_job(server: Served) -> None:
    """A generation that is sent twice with one id buys nothing twice."""
    keys = typed(server, 3)
    first = generate(server, "click-000001", keys)
    assert first.status_code == 202, first.text
    assert first.headers["location"] == "/api/jobs/click-000001"
    second = generate(server, "click-000001", keys)
    assert second.status_code == 202
    job = ended(server, "click-000001")
    assert (job["status"], job["total"], job["made"], job["waiting"]) == ("COMPLETED", 3, 3, 0)
    assert sorted(one["key"] for one in job["outcomes"]) == sorted(keys)
    assert generate(server, "click-000001", keys).json()["made"] == 3
    assert server.simulator.billed() == 3

    other = generate(server, "click-000001", keys[:1])
    assert other.status_code == 409
    assert "sent with another request" in other.json()["error"]


def test_the_same_id_after_a_restart_is_bought_once(serve: Serve) -> None:
    """The same id after a restart collects and reuses; another id buys again."""
    server = serve()
    keys = typed(server, 2)
    generate(server, "click-000001", keys)
    ended(server, "click-000001")
    generate(server, "click-000002", keys)
    assert ended(server, "click-000002")["made"] == 2
    assert server.simulator.billed() == 4
    server.stop()

    again = serve()
    assert ended(again, "click-000002")["status"] == "COMPLETED"
    generate(again, "click-000002", keys)
    assert ended(again, "click-000002")["reused"] == 2
    assert again.simulator.billed() == 4


def test_first_images_requested_again_are_bought_once(serve_slow: Serve) -> None:
    """The same POST to the next server, while the images are in flight and after they are stored:
    they are collected and reused.
    """
    server, seedless = serve_slow(), {**CHANGE, "seed": -1}
    keys = typed(server, 2)
    generate(server, "click-000001", keys, overrides=seedless)
    until(lambda: server.simulator.stats()["duomi"]["accepted"] == 2)
    server.stop()

    for _ in range(2):
        again = serve_slow()
        generate(again, "click-000001", keys, overrides=seedless)
        assert ended(again, "click-000001")["status"] == "COMPLETED"
        assert again.simulator.billed() == 2
        again.stop()


def test_a_repeated_regenerate_joins_the_first(serve_slow: Serve) -> None:
    """The same POST while the first one's image is in flight, also after a restart of the server:
    the same job, bought once.
    """
    server, params = serve_slow(), {**PARAMS, "regenerate": True}
    server.make()
    job = server.post(f"{PATH}?async=1", params).json()
    until(
        lambda: [one.state for one in server.pipeline.ledger.attempts.unfinished()] == ["submitted"]
    )
    server.stop()

    again = serve_slow()
    assert again.post(f"{PATH}?async=1", {**params, "steps": 6}).json()["jobId"] != job["jobId"]
    assert again.post(f"{PATH}?async=1", params).json()["jobId"] == job["jobId"]
    assert ended(again, job["jobId"])["status"] == "COMPLETED"
    assert again.post(PATH, params).status_code == 200  # the first has ended: this is another one
    until(lambda: again.simulator.billed("runpod") == 4)


def test_a_forgotten_job_has_a_warning(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is read from the ledger warns that items may be missing."""
    monkeypatch.setattr("imagegen_pipeline.web.jobs.job_manager.MAX_KEPT_ITEMS", 2)
    server = serve()
    keys = typed(server, 2)
    generate(server, "click-000001", keys)
    assert ended(server, "click-000001")["warnings"] == []
    generate(server, "click-000002", keys)
    assert ended(server, "click-000002")["warnings"] == []
    (warning,) = server.get("/api/jobs/click-000001").json()["warnings"]
    assert "are not counted" in warning


def test_a_seed_may_have_twenty_digits(server: Served) -> None:
    """The largest seed as a string; a larger one fails its item only."""
    keys = typed(server, 1)
    generate(server, "click-000001", keys)
    ended(server, "click-000001")
    refused = generate(server, "click-000002", keys, overrides={**CHANGE, "seed": "9" * 20})
    assert refused.status_code == 202, refused.text
    (outcome,) = ended(server, "click-000002")["outcomes"]
    assert outcome["status"] == "failed"
    assert outcome["error"].startswith("Seeds are 0 to ")


def test_an_unknown_key_is_refused_by_itself(server: Served) -> None:
    """An unknown item does not affect the others."""
    keys = typed(server, 1)
    generate(server, "click-000003", [*keys, "no-such-key"])
    job = ended(server, "click-000003")
    assert (job["status"], job["made"], job["failed"]) == ("FAILED", 1, 1)


def test_a_stopped_job_sends_nothing_more(
    serve_slow: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is waited for and kept; the rest is not bought."""
    monkeypatch.setenv("IMAGEGEN_CONCURRENCY", "1")
    server = serve_slow()
    keys = typed(server, 6)
    generate(server, "click-000004", keys)
    until(lambda: server.simulator.stats()["duomi"]["accepted"] >= 1)
    stopped = server.post("/api/jobs/click-000004/stop", {})
    assert stopped.status_code == 202
    job = ended(server, "click-000004")
    assert job["status"] == "STOPPED"
    assert 1 <= job["made"] < 6
    assert server.simulator.billed() == job["made"]
    assert server.post("/api/jobs/no-such-job/stop", {}).status_code == 404


def test_too_many_waiting_jobs_are_429(serve_slow: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with Retry-After and the reason; nothing is bought, and later it is accepted."""
    monkeypatch.setenv("IMAGEGEN_CONCURRENCY", "1")
    server = serve_slow(max_waiting=2)
    answers = [
        server.post(f"{PATH}?async=1", {**PARAMS, "actorName": f"a{number}"}) for number in range(4)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    full = answers[-1]
    assert int(full.headers["retry-after"]) > 0
    assert "2 images are waiting" in full.json()["error"]
    assert full.json()["status"] == "FAILED"
    for answer in answers[:3]:
        ended(server, answer.json()["jobId"])
    assert server.post(f"{PATH}?async=1", {**PARAMS, "actorName": "a3"}).status_code == 202


def test_concurrency_is_limited(serve_slow: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve clients with different requests: three in flight at a time, twelve images."""
    monkeypatch.setenv("IMAGEGEN_CONCURRENCY", "3")
    server = serve_slow()
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda n: server.make(actorName=f"a{n}"), range(12)))
    assert len(made) == 12
    stats = server.simulator.stats()["runpod"]
    assert stats["billed"] == 12
    assert stats["max_in_flight"] <= 3, stats


def test_a_single_image_overtakes_a_large_job(serve_slow: Serve) -> None:
    """A request for one image does not wait for another client's large job."""
    server = serve_slow()
    keys = typed(server, 40)
    generate(server, "large-job-1", keys)
    until(lambda: server.simulator.stats()["duomi"]["accepted"] >= 6)
    generate(server, "single-job", keys[:1], overrides={**CHANGE, "seed": 77})
    single = ended(server, "single-job")
    assert single["made"] == 1
    assert server.get("/api/jobs/large-job-1").json()["status"] == "IN_PROGRESS"
    assert ended(server, "large-job-1")["made"] == 40


def test_images_are_reported_to_dagster(server: Served) -> None:
    """Each image is a materialization of its asset and partition, reported once."""
    server.make()
    generate(server, "click-000005", typed(server, 1))
    ended(server, "click-000005")
    server.make()
    server.stop()

    from dagster import AssetKey

    from imagegen_pipeline.dagster_ext.instance import open_instance

    instance = open_instance()
    assert instance is not None
    try:
        for asset, number in (("actor_base_images", 1), ("generated_images", 1)):
            found = instance.fetch_materializations(AssetKey(asset), limit=10).records
            assert len(found) == number, asset
        (record,) = instance.fetch_materializations(AssetKey("actor_base_images"), limit=9).records
        assert record.partition_key == ACTOR
    finally:
        instance.dispose()


def test_a_stopping_server_answers_waiting_clients(serve_slow: Serve) -> None:
    """A client that waits when the server stops is told that its image is collected later."""
    server = serve_slow()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.post, PATH, PARAMS)
        until(lambda: server.simulator.stats()["runpod"]["accepted"] == 1)
        until(
            lambda: (
                [a.state for a in server.pipeline.ledger.attempts.unfinished()] == [State.SUBMITTED]
            )
        )
        server.running.stop()
        answer = waiting.result(30)
    assert answer.status_code == 502
    assert "collected, not bought again" in answer.json()["error"]
    assert "description" not in answer.json()["error"]  # which is not at fault
