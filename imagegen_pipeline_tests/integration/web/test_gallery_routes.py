"""The gallery's JSON API, over real HTTP."""

from __future__ import annotations

import re
import unicodedata

import pytest

from imagegen_pipeline.domain.errors import LedgerError
from imagegen_pipeline.domain.prompt_text import prompt_text_fault
from imagegen_pipeline.ledger import Decision
from imagegen_pipeline.web.api.schemas import TEXT_PATTERN
from imagegen_pipeline.web.jobs import job_manager as job_manager_module
from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.integration.web.conftest import ACTOR, PARAMS, Serve, Served
from imagegen_pipeline_tests.integration.web.test_job_routes import (
    CHANGE,
    PATH,
    ended,
    generate,
    typed,
)


@pytest.fixture
def made(server: Served) -> dict[str, int]:
    """Three images of prompts and one of an actor: key and attempt."""
    keys = typed(server, 3)
    generate(server, "click-000000", keys)
    ended(server, "click-000000")
    server.make()
    card_store = server.pipeline.ledger.gallery
    return {key: card_store.history(key)[0].id for key in (*keys, ACTOR)}


def test_cards_are_filtered_counted_and_paged(server: Served, made: dict[str, int]) -> None:
    """The total and the counts are of all matching items, not of the page."""
    typed(server, 5)  # two of them wait
    everything = server.get("/api/pictures").json()
    assert (everything["total"], len(everything["pictures"])) == (6, 6)
    assert everything["counts"]["done"] == 4
    assert everything["counts"]["waiting"] == 2
    page = server.get("/api/pictures?state=done&limit=2&offset=1").json()
    assert (page["total"], len(page["pictures"])) == (4, 2)
    (actor,) = server.get(f"/api/pictures?actor={ACTOR}").json()["pictures"]
    assert actor["picture"] == f"/pictures/{made[ACTOR]}"
    assert actor["provider"] == "runpod"
    assert "path" not in actor
    assert server.get("/api/pictures?text=picture+p2-").json()["total"] == 1
    assert server.get("/api/pictures?source=actor").json()["total"] == 1
    marked = server.get("/api/keys?source=json&state=done").json()["pictures"]
    assert {one["key"]: one["attempt"] for one in marked} == {
        key: attempt for key, attempt in made.items() if key != ACTOR
    }


@pytest.mark.parametrize("query", ["state=x", "limit=0", "limit=201", "offset=-1", "limit=a"])
def test_an_invalid_filter_is_refused(server: Served, query: str) -> None:
    """400 with the parameter's name."""
    answer = server.get(f"/api/pictures?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


def test_an_items_history(server: Served, made: dict[str, int]) -> None:
    """Every attempt, newest first, with its request and its links."""
    key = next(iter(made))
    generate(server, "click-000009", [key])
    ended(server, "click-000009")
    found = server.get(f"/api/pictures/{key}").json()
    first, second = found["attempts"]
    assert second["id"] == made[key]
    assert found["card"]["attempt"] == first["id"]
    assert first["request"]["prompt"] == "picture 0"
    assert server.get(second["thumbnail"]).status_code == 200
    assert server.get("/api/pictures/no-such-key").status_code == 404

    chosen = server.post("/api/choices", {"attempt": made[key]})
    assert chosen.status_code == 200
    assert server.get(f"/api/pictures/{key}").json()["card"]["attempt"] == made[key]
    assert server.post("/api/choices", {"attempt": 999}).status_code == 409


def test_reviews_are_all_or_nothing(server: Served, made: dict[str, int]) -> None:
    """With one unknown attempt nothing is changed; ``none`` removes a verdict."""
    ids = list(made.values())
    wrong = server.post("/api/reviews", {"attempts": [*ids, 999], "verdict": "approved"})
    assert wrong.status_code == 409
    assert server.get("/api/pictures?state=approved").json()["total"] == 0
    assert server.post("/api/reviews", {"attempts": ids, "verdict": "approved"}).json() == {
        "changed": 4
    }
    assert server.get("/api/pictures?state=approved").json()["total"] == 4
    server.post("/api/reviews", {"attempts": ids[:1], "verdict": "none"})
    assert server.get("/api/pictures?state=approved").json()["total"] == 3


def test_a_cost_estimate(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and a sentence; nothing is bought or written."""
    monkeypatch.setenv("IMAGEGEN_PRICES", '{"duomi": {"*": 0.25}}')
    server = serve()
    keys = typed(server, 3)
    body = {"keys": [*keys, "nobody"], "mode": "regenerate", "overrides": CHANGE}
    quote = server.post("/api/cost-estimates", body).json()
    assert (quote["make"], quote["refused"], quote["cost"]) == (3, 1, 0.75)
    assert quote["sentence"].startswith("3 images will be generated, for about 0.75.")
    assert "1 item cannot be requested" in quote["sentence"]
    assert server.simulator.billed() == 0
    assert server.get("/api/pictures?state=waiting").json()["total"] == 3


@pytest.mark.parametrize(
    "change",
    [
        {"width": "64"},
        {"steps": 1.5},
        {"seed": "other"},
        {"seed": 2**65},
        {"prompt": "\u200b"},
        {"sise": 3},
        {"guidance": 1000},
        {"model": ""},
    ],
)
def test_invalid_overrides_are_refused(server: Served, change: dict[str, object]) -> None:
    """400, and nothing is sent, by the estimate and by the generation."""
    keys = typed(server, 1)
    body = {"keys": keys, "mode": "regenerate", "overrides": change}
    assert server.post("/api/cost-estimates", body).status_code == 400
    assert server.post("/api/generations", {**body, "id": "click-000001"}).status_code == 400
    assert server.simulator.billed() == 0


def test_a_seed_beyond_javascripts_integers_is_a_string(server: Served) -> None:
    """The exact seed is used."""
    server.make()
    seed = 2**63 + 11
    generate(server, "click-000001", [ACTOR], overrides={"seed": str(seed)})
    assert ended(server, "click-000001")["made"] == 1
    assert server.pipeline.ledger.gallery.history(ACTOR)[0].seed == seed


def test_a_held_item_is_resubmitted(server: Served) -> None:
    """An unreadable response holds its item; after ``resubmit`` a retry generates it."""
    server.simulator.fault(provider="duomi", operation="submit", fault="html_200")
    keys = typed(server, 1)
    generate(server, "click-000001", keys)
    assert ended(server, "click-000001")["outcomes"][0]["status"] == "held"
    assert server.get("/api/pictures?state=held").json()["total"] == 1
    decision = {"key": keys[0], "decision": "resubmit"}
    assert server.post("/api/decisions", decision).json() == {"changed": 1}
    assert server.post("/api/decisions", decision).status_code == 409
    assert server.post("/api/decisions", {**decision, "decision": "x"}).status_code == 400
    generate(server, "click-000002", keys, mode="retry", overrides={})
    assert ended(server, "click-000002")["made"] == 1
    assert {one.name for one in Decision} == {"RESUBMIT", "GIVE_UP", "ALLOW_RETRY"}


def test_totals_and_problems(server: Served, made: dict[str, int]) -> None:
    """The number of images, and the sources' problems."""
    totals = server.get("/api/totals").json()
    assert totals["made"] == {"all": 4, "today": 4}
    (server.project.data / "prompt_json" / "broken.json").write_text("{", encoding="utf-8")
    server.pipeline.scan_prompts()
    problems = server.get("/api/problems").json()["problems"]
    (problem,) = [one for one in problems if "broken.json" in one["location"]]
    assert problem["remedy"]


def test_a_waiting_job_that_is_stopped_is_never_sent(
    serve_slow: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends at once with a reason; its actor is not registered."""
    monkeypatch.setenv("IMAGEGEN_CONCURRENCY", "1")
    server = serve_slow()
    first = server.post(f"{PATH}?async=1", PARAMS).json()
    second = server.post(f"{PATH}?async=1", {**PARAMS, "actorName": "second"}).json()
    stopped = server.post(f"/api/jobs/{second['jobId']}/stop", {})
    assert stopped.status_code == 202
    job = ended(server, second["jobId"])
    assert job["status"] == "FAILED"
    assert "stopped before it was sent" in job["error"]
    assert ended(server, first["jobId"])["status"] == "COMPLETED"
    assert server.simulator.billed("runpod") == 1
    assert server.get("/api/pictures/second").status_code == 404


def test_ended_jobs_are_read_from_the_ledger(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limited number stays in memory; the others are read from the ledger."""
    monkeypatch.setattr(job_manager_module, "MAX_KEPT_JOBS", 2)
    jobs = [
        server.post(f"{PATH}?async=1", {**PARAMS, "actorName": f"a{n}"}).json()["jobId"]
        for n in range(4)
    ]
    for job in jobs:
        assert ended(server, job)["status"] == "COMPLETED"
    job_manager = server.running.app_state.job_manager
    until(lambda: sum(job_manager.get(job) is not None for job in jobs) == 2)
    assert all(server.get(f"/api/jobs/{job}").json()["status"] == "COMPLETED" for job in jobs)


def test_a_server_without_keys_collects_nothing(
    serve_live: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collecting needs keys; without them it is skipped without a message."""
    monkeypatch.delenv("RUNPOD_API_KEY")
    monkeypatch.delenv("DUOMI_API_KEY")
    server = serve_live(collect_seconds=0.05)
    assert server.get("/healthz").ok
    server.stop()
    (log,) = (server.project.data / "logs").glob("*.log")
    assert log.read_text() == ""


def test_a_ledger_error_is_503(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its remedy; neither an internal error nor one of the provider."""

    def fail(*_: object, **__: object) -> None:
        raise LedgerError("The ledger failed: database is locked.")

    monkeypatch.setattr(server.pipeline.ledger.gallery, "counts", fail)
    answer = server.get("/api/pictures")
    assert answer.status_code == 503
    assert "IMAGEGEN_LEDGER_URL" in answer.json()["error"]


def test_the_text_pattern_matches_the_validation() -> None:
    """The documented pattern of a text agrees with the validation, over the basic plane."""
    pattern = re.compile(TEXT_PATTERN)
    for code in range(0x10000):
        char = chr(code)
        if unicodedata.category(char) in ("Cs", "Cn"):
            continue
        described = pattern.fullmatch(char) is not None
        assert described == (prompt_text_fault(char) is None), hex(code)


def test_a_validation_error_is_readable(server: Served) -> None:
    """One sentence for each field, without pydantic's names."""
    body = {"keys": ["a"], "mode": "regenerate", "overrides": {"seed": 1.5, "steps": "many"}}
    error = server.post("/api/cost-estimates", body).json()["error"]
    assert error.count("overrides.seed: ") == 1
    assert "overrides.steps: input should be a valid integer." in error
    assert "literal" not in error
    assert "constrained" not in error
    wrong = {"keys": ["a"], "mode": "regenerate", "overrides": {}, "what-else": 1}
    assert "'what-else' is not a field" in server.post("/api/cost-estimates", wrong).json()["error"]


def test_an_unused_default_source_is_not_a_problem(server: Served) -> None:
    """A project with JSON files only gets no problem for the missing database."""
    project = server.project
    project.write_json("boat", "a boat")
    (project.data / "prompt_json" / "bad.json").write_text("{")
    server.pipeline.scan_prompts()
    (problem,) = server.get("/api/problems").json()["problems"]
    assert problem["location"].endswith("bad.json")
    assert "1 problem in the sources" in server.get("/").text
