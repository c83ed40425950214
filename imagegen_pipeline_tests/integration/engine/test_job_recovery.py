"""Jobs that were sent are collected by their id, from any process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.requests import Attempt, Outcome, State, Status
from imagegen_pipeline.engine import BatchOptions, Deadlines, EngineContext, ImageTask, generate
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.engine.harness import (
    GPT,
    HOUR,
    RUN,
    SUBMIT,
    EngineHarness,
    FakeClock,
    picture,
    plan_base,
    submitted,
)
from imagegen_pipeline_tests.unit.ledger.ledger_rows import submitting


def make_base(harness: EngineHarness, actor: Actor, context: EngineContext) -> Outcome:
    """A batch of one base image in a workshop of one's own."""
    folder = f"actors/{actor.name}/base_image"
    wanted = ImageTask(
        key=actor.key,
        kind="actor",
        request=harness.pipeline.base_image_request(actor),
        folder=f"{folder}/history",
        file_prefix=f"{actor.name}_base",
        publish=f"{folder}/{actor.name}_base.png",
    )
    (outcome,) = generate(context, [wanted], BatchOptions())
    return outcome


def test_a_submitted_job_is_collected_without_a_new_submit(harness: EngineHarness) -> None:
    """A RunPod job that a dead process sent is polled by its id; its seed stays."""
    actor = harness.actor()
    attempt = submitted(harness, actor)
    outcome = harness.make_base(actor)

    assert outcome.status is Status.MADE
    assert outcome.attempt is not None
    assert (outcome.attempt.id, outcome.attempt.job_id) == (attempt.id, attempt.job_id)
    assert outcome.attempt.seed == 5
    assert picture(outcome)
    assert harness.requests(RUN) == 1
    assert harness.simulator.billed("runpod") == 1


def test_an_asynchronous_duomi_task_is_collected(harness: EngineHarness) -> None:
    """The same holds for Duomi's tasks."""
    prompt = harness.prompt()
    provider, gallery = harness.pipeline.provider("duomi"), harness.pipeline.ledger.attempts
    attempt = submitting(harness.pipeline.ledger, harness.plan(prompt, GPT))
    job_id = provider.submit(attempt.sent_request).job_id
    gallery.submitted(attempt, job_id=str(job_id), endpoint=provider.endpoint)
    outcome = harness.make_one(prompt, GPT)

    assert outcome.status is Status.MADE
    assert outcome.attempt is not None
    assert outcome.attempt.id == attempt.id
    assert harness.requests(SUBMIT) == 1
    assert harness.simulator.billed() == 1


def test_a_job_that_the_service_forgot_is_expired_and_made_anew(harness: EngineHarness) -> None:
    """Past the service's retention a job is written off, with its reason, and bought anew."""
    actor = harness.actor()
    attempt = plan_base(harness, actor)
    endpoint = harness.pipeline.provider("runpod").endpoint
    harness.pipeline.ledger.attempts.submitted(attempt, job_id="long-gone-u1", endpoint=endpoint)
    harness.age(HOUR)
    outcome = harness.make_base(actor)

    assert outcome.status is Status.MADE
    assert harness.states() == [State.EXPIRED, State.STORED]
    lost = harness.attempts()[0]
    assert lost.error_kind == "job_expired"
    assert "long-gone-u1" in str(lost.error)
    assert harness.requests(RUN) == 1


def test_a_job_that_failed_meanwhile_is_made_anew(harness: EngineHarness) -> None:
    """A job that the service says has failed is closed, and its item made."""
    actor = harness.actor()
    harness.simulator.fault(provider="runpod", operation="submit", fault="job_failed")
    submitted(harness, actor)
    outcome = harness.make_base(actor)

    assert outcome.status is Status.MADE
    assert harness.states() == [State.FAILED, State.STORED]
    assert harness.simulator.billed("runpod") == 1


@pytest.mark.parametrize(
    "trouble",
    [
        {"fault": "status", "status": 503},
        {"fault": "status", "status": 429},
        {"fault": "status", "status": 401},
        {"fault": "reset_before"},
        {"fault": "html_200"},
        {"fault": "unknown_status"},
    ],
    ids=lambda trouble: str(trouble.get("status", trouble["fault"])),
)
def test_a_job_that_cannot_be_asked_for_is_not_bought_again(
    harness: EngineHarness, trouble: dict[str, object]
) -> None:
    """While the service does not answer for a job, its item fails and nothing is sent; the
    next batch collects it.
    """
    actor = harness.actor()
    submitted(harness, actor)
    harness.simulator.fault(provider="runpod", operation="status", times=10, **trouble)
    refused = make_base(harness, actor, harness.on_fake_clock())

    assert refused.status is Status.FAILED
    assert harness.states() == [State.SUBMITTED]
    assert harness.requests(RUN) == 1

    harness.clear_faults()
    collected = harness.make_base(actor)
    assert collected.status is Status.MADE
    assert harness.states() == [State.STORED]
    assert harness.requests(RUN) == 1
    assert harness.simulator.billed("runpod") == 1


def test_a_dead_url_is_asked_of_its_job_again(harness: EngineHarness) -> None:
    """When a result's URL no longer delivers, its job is asked for the picture once more."""
    actor = harness.actor()
    attempt = submitted(harness, actor)
    dead = f"{harness.simulator.url}/files/none/picture.png"
    harness.pipeline.ledger.attempts.completed(attempt, result_url=dead)
    later = FakeClock(ahead=1.1 * HOUR)
    outcome = make_base(harness, actor, harness.on_fake_clock(clock=later))

    assert outcome.status is Status.MADE
    assert harness.states() == [State.STORED]
    assert harness.requests(RUN) == 1


def test_a_job_past_its_deadline_is_cancelled(harness: EngineHarness) -> None:
    """A job that never leaves the queue is cancelled and fails, saying what the service says."""
    actor = harness.actor()
    harness.simulator.fault(provider="runpod", operation="submit", fault="stuck_in_queue")
    context = harness.on_fake_clock(deadlines=Deadlines(queue=30, run=30))
    outcome = make_base(harness, actor, context)

    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "job_timeout")
    assert "waited in the queue" in str(outcome.error)
    assert "inQueue" in str(outcome.error)
    assert harness.states() == [State.FAILED]
    assert harness.simulator.stats()["runpod"]["cancelled"] == 1


def test_a_job_that_is_done_at_its_deadline_is_taken(harness: EngineHarness) -> None:
    """A job that finished while it was being given up is paid for: its picture is kept."""
    actor = harness.actor()
    submitted(harness, actor)
    until(lambda: harness.simulator.billed("runpod"))
    harness.simulator.fault(provider="runpod", operation="status", fault="stuck_in_queue", times=1)
    outcome = make_base(harness, actor, harness.on_fake_clock(deadlines=Deadlines(queue=0, run=30)))

    assert outcome.status is Status.MADE
    assert harness.requests("POST /runpod/v2/{endpoint}/cancel/{id}") == 1
    assert harness.requests(RUN) == 1


def test_a_job_that_cannot_be_cancelled_is_left_to_be_collected(harness: EngineHarness) -> None:
    """Past its deadline, a job that goes on may be billed: it is collected later, not bought
    again.
    """
    actor = harness.actor()
    harness.simulator.fault(
        provider="runpod", operation="status", fault="stuck_in_queue", times=200
    )
    harness.simulator.fault(
        provider="runpod", operation="cancel", fault="status", status=500, times=-1
    )
    context = harness.on_fake_clock(deadlines=Deadlines(queue=30, run=30))
    outcome = make_base(harness, actor, context)

    assert (outcome.status, outcome.error_kind) == (Status.FAILED, "job_timeout")
    assert "could not be cancelled" in str(outcome.error)
    assert "collected" in str(outcome.remedy)
    assert harness.states() == [State.SUBMITTED]

    harness.clear_faults()
    assert harness.make_base(actor).status is Status.MADE
    assert harness.requests(RUN) == 1
    assert harness.simulator.billed("runpod") == 1


SCRIPT = """
from imagegen_pipeline.engine import BatchOptions
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.pipeline import Pipeline
pipeline = Pipeline()
if {base}:
    batch = pipeline.generate_base_images(pipeline.scan_actors().source_items, BatchOptions())
else:
    prompts = pipeline.scan_prompts(database=False).source_items
    parameters = PromptParameters(image_size="64x64")
    batch = pipeline.generate_images(prompts, parameters, BatchOptions())
list(batch)
"""


@pytest.fixture
def to_kill(project: Project, simulator: Simulator) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are killed at the latest when the test ends."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait(timeout=20)


def kill_at(
    harness: EngineHarness, state: State, to_kill: list[subprocess.Popen[bytes]], *, base: bool
) -> None:
    """Run a batch in a process of its own, and kill it when an attempt is in ``state``."""
    script = SCRIPT.format(base=base)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=harness.project.root)
    to_kill.append(process)
    template = RUN if base else SUBMIT
    until(
        lambda: (
            (harness.states() == [state] and harness.requests(template))
            or process.poll() is not None
        )
    )
    assert process.poll() is None, "the process ended before it could be killed"
    process.kill()
    process.wait(timeout=20)
    harness.expire_leases()


def test_a_killed_process_leaves_its_job_to_the_next(
    harness: EngineHarness, to_kill: list[subprocess.Popen[bytes]]
) -> None:
    """A process killed while its job is under way costs nothing: the next one collects it."""
    actor = harness.actor()
    harness.simulator.fault(provider="runpod", operation="status", fault="stuck_in_queue", times=-1)
    kill_at(harness, State.SUBMITTED, to_kill, base=True)
    harness.clear_faults()
    outcome = harness.make_base(actor)

    assert outcome.status is Status.MADE
    assert harness.states() == [State.STORED]
    assert harness.requests(RUN) == 1
    assert harness.simulator.billed("runpod") == 1


def test_a_killed_process_leaves_word_of_what_it_was_sending(
    harness: EngineHarness, to_kill: list[subprocess.Popen[bytes]]
) -> None:
    """A process killed while it waits for an answer leaves an unknown outcome, said so."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="duomi", operation="submit", fault="hang", work=True)
    kill_at(harness, State.SUBMITTING, to_kill, base=False)
    harness.clear_faults()
    outcome = harness.make_one(prompt)

    assert outcome.status is Status.MADE
    assert outcome.attempt is not None
    assert outcome.attempt.possible_double_charge
    assert harness.states() == [State.UNKNOWN, State.STORED]


def test_a_job_is_collected_from_where_it_was_sent(harness: EngineHarness) -> None:
    """The endpoint is kept beside the job: a changed setting does not lose it."""
    actor = harness.actor()
    attempt = submitted(harness, actor)
    assert str(attempt.endpoint).endswith("/simulated-endpoint")
    harness.pipeline.use(harness.pipeline.open_client("runpod", endpoint_id="other"))
    outcome = harness.make_base(actor)

    assert outcome.status is Status.MADE
    assert harness.requests(RUN) == 1


def test_a_collected_base_image_is_published(harness: EngineHarness) -> None:
    """A collected base image is published at its fixed path like any other."""
    actor = harness.actor()
    submitted(harness, actor)
    outcome = harness.make_base(actor)

    assert Path(str(outcome.path)).name == f"{actor.name}_base.png"
    with closing(harness.project.pipeline()) as later:
        (again,) = later.generate_base_images([actor], BatchOptions())
    assert again.status is Status.REUSED


def put(harness: EngineHarness, attempt: Attempt, state: State) -> None:
    """Put an attempt into a state: what overtook it did not see that it was still open."""
    path = harness.pipeline.settings.data_dir / "imagegen.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE attempts SET state = ? WHERE id = ?", (state, attempt.id))


def test_a_picture_that_comes_home_late_replaces_nothing_newer(harness: EngineHarness) -> None:
    """A job that was overtaken is collected and kept; the newer picture stays the current one,
    at the users' path too.
    """
    actor = harness.actor()
    late = submitted(harness, actor, seed=5)
    put(harness, late, State.FAILED)
    newer = harness.make_base(actor, regenerate=True)
    assert newer.ok
    before = picture(newer)
    put(harness, late, State.SUBMITTED)
    (outcome,) = harness.pipeline.collect()
    assert outcome.attempt is not None
    assert outcome.attempt.id == late.id
    assert outcome.attempt.state is State.STORED
    assert any("collected late" in warning for warning in outcome.attempt.warnings)
    current = harness.pipeline.ledger.attempts.current(actor.key)
    assert current is not None
    assert newer.attempt is not None
    assert current.id == newer.attempt.id
    assert picture(newer) == before


def test_a_late_picture_that_is_asked_for_again_is_not_bought(harness: EngineHarness) -> None:
    """What was sent for a description that the actor has again comes home as his picture."""
    late = submitted(harness, harness.actor(description="an old sailor"), seed=5)
    put(harness, late, State.FAILED)
    other = harness.make_base(harness.actor(description="a young sailor"), regenerate=True)
    assert other.ok
    before = picture(other)
    put(harness, late, State.SUBMITTED)
    again = harness.make_base(harness.actor(description="an old sailor"))
    assert again.attempt is not None
    assert again.attempt.id == late.id
    assert picture(again) != before
    assert harness.make_base(harness.actor(description="an old sailor")).status is Status.REUSED
    assert harness.simulator.billed("runpod") == 2
