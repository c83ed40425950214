"""Images of prompts and actors, made by a ComfyUI server from end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import requests

from imagegen_pipeline.domain.errors import WorkflowError
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.requests import State, Status
from imagegen_pipeline.engine import Deadlines
from imagegen_pipeline.providers.base import FindsJobs
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator, until
from imagegen_pipeline_tests.integration.engine.harness import EngineHarness, plan_base

SUBMIT = "POST /comfyui/prompt"


@pytest.fixture
def harness(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EngineHarness]:
    """A pipeline whose images are all made by ComfyUI."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "comfyui")
    monkeypatch.setenv("IMAGEGEN_ACTOR_PROVIDER", "comfyui")
    with closing(project.pipeline()) as pipeline:
        yield EngineHarness(project, simulator, pipeline)


def small(harness: EngineHarness) -> PromptParameters:
    """ComfyUI's defaults, in a small size."""
    return harness.pipeline.prompt_parameters(image_size=SMALL)


def test_a_prompts_image_is_made_once(harness: EngineHarness) -> None:
    """The FLUX graph makes it, it costs nothing, and it is reused."""
    prompt = harness.prompt()
    made = harness.make_one(prompt, small(harness))

    assert made.status is Status.MADE
    assert made.cost == 0.0
    assert made.attempt is not None
    assert (made.attempt.provider, made.attempt.kind) == ("comfyui", "prompt")
    assert (made.attempt.width, made.attempt.height) == (64, 64)
    assert made.attempt.model == "flux1-dev-fp8"
    assert made.attempt.run_seconds is not None
    assert made.attempt.request["workflow_digest"] == harness.pipeline.workflow.digest
    assert harness.make_one(prompt, small(harness)).status is Status.REUSED
    assert harness.simulator.billed("comfyui") == 1


def test_the_default_size_is_one_that_the_graph_makes(harness: EngineHarness) -> None:
    """The users' 1080x1920 is no multiple of 16: the nearest that is, is the default."""
    request = harness.pipeline.request_builder.by_default(harness.prompt()).request
    harness.pipeline.check_request(request)
    assert request.size == "1088x1920"


def test_an_actors_image_lies_at_its_fixed_path(harness: EngineHarness) -> None:
    """The same engine path as RunPod's: published, and the history kept."""
    actor = harness.actor(seed=7)
    made = harness.make_base(actor)

    assert made.status is Status.MADE
    assert made.path is not None
    assert made.path.endswith(f"{actor.name}/base_image/{actor.name}_base.png")
    assert made.attempt is not None
    assert (made.attempt.provider, made.attempt.kind) == ("comfyui", "actor")
    assert harness.make_base(actor).status is Status.REUSED
    assert harness.simulator.billed("comfyui") == 1


def test_a_batch_goes_through_one_server(harness: EngineHarness) -> None:
    """Several in flight wait in the server's queue; each is generated once."""
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(6)})
    outcomes = harness.make(prompts, small(harness), concurrency=4)

    assert {outcome.status for outcome in outcomes.values()} == {Status.MADE}
    assert harness.simulator.billed("comfyui") == 6
    assert harness.simulator.stats()["comfyui"]["max_running"] == 1


def test_another_provider_is_another_request(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fingerprint includes the provider, so an image of Duomi's is not reused for ComfyUI."""
    prompt = harness.prompt()
    comfyui = harness.make_one(prompt, small(harness))
    duomi = harness.make_one(prompt)

    assert duomi.status is Status.MADE
    assert comfyui.attempt is not None
    assert duomi.attempt is not None
    assert comfyui.attempt.fingerprint != duomi.attempt.fingerprint
    assert harness.simulator.billed("duomi") == harness.simulator.billed("comfyui") == 1


def test_an_ambiguous_answer_makes_one_image(harness: EngineHarness) -> None:
    """The server is asked for the prompt by its id: nothing is unknown, nothing made twice."""
    harness.simulator.fault(provider="comfyui", operation="submit", fault="reset_after_work")
    made = harness.make_one(harness.prompt(), small(harness))

    assert made.status is Status.MADE
    assert made.attempt is not None
    assert not made.attempt.possible_double_charge
    assert harness.requests(SUBMIT) == 1
    assert harness.simulator.billed("comfyui") == 1


def test_a_prompt_lost_by_a_restart_is_made_again_by_the_next_run(harness: EngineHarness) -> None:
    """The loss is certain at once, and has its own kind; the next run makes the image."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="comfyui", operation="submit", fault="stuck_in_queue")
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(harness.make_one, prompt, small(harness))
        until(lambda: harness.states() == [State.SUBMITTED])
        requests.post(f"{harness.simulator.url}/_sim/comfyui/restart", timeout=5).raise_for_status()
        lost = making.result(timeout=60)

    assert (lost.status, lost.error_kind) == (Status.FAILED, "job_lost")
    assert "the server has restarted" in str(lost.error)
    assert harness.states() == [State.EXPIRED]
    assert harness.make_one(prompt, small(harness)).status is Status.MADE
    assert harness.simulator.billed("comfyui") == 1


def test_a_missing_model_stops_the_batch_before_anything_is_sent(harness: EngineHarness) -> None:
    """One outcome names the model, the rest is skipped, and no graph reaches the server."""
    file = harness.pipeline.settings.workflow_file
    graph = json.loads(file.read_text())
    graph["12"]["inputs"]["unet_name"] = "mine.safetensors"
    file.write_text(json.dumps(graph))
    prompts = harness.prompts(**{f"p{n}": f"boat {n}" for n in range(3)})
    outcomes = list(harness.make(prompts, small(harness), concurrency=1).values())

    assert sorted(outcome.status for outcome in outcomes) == ["failed", "skipped", "skipped"]
    (failed,) = (outcome for outcome in outcomes if outcome.status is Status.FAILED)
    assert failed.error_kind == WorkflowError.kind
    assert "'mine.safetensors' is not on the server" in str(failed.error)
    assert harness.requests(SUBMIT) == 0


def test_what_was_sent_is_collected_by_another_process(harness: EngineHarness) -> None:
    """A batch that leaves its job at the server finds it again by its id."""
    prompt = harness.prompt()
    harness.simulator.fault(
        provider="comfyui", operation="status", fault="status", status=500, times=-1
    )
    batch = harness.pipeline.generate_images([prompt], small(harness), harness.pipeline.order())
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(list, batch)
        until(lambda: harness.states() == [State.SUBMITTED])
        batch.stop(leave_jobs=True)
        (left,) = making.result(timeout=60)
    assert left.status is Status.SKIPPED
    harness.clear_faults()
    with closing(harness.project.pipeline()) as later:
        (collected,) = list(later.generate_images([prompt], small(harness), later.order()))
    assert collected.status is Status.MADE
    assert harness.requests(SUBMIT) == 1
    assert harness.simulator.billed("comfyui") == 1


def test_a_job_without_an_answer_is_found_after_a_crash(harness: EngineHarness) -> None:
    """A process that ended while it waited for the answer leaves a job that has the attempt's id:
    the next one finds it by that, so that it is not unknown, and sends nothing.
    """
    actor = harness.actor(seed=5)
    attempt = plan_base(harness, actor)
    client = harness.pipeline.provider("comfyui")
    assert isinstance(client, FindsJobs)
    client.submit_with_reference(attempt.sent_request, attempt.reference)
    made = harness.make_base(actor)

    assert made.status is Status.MADE
    assert harness.states() == [State.STORED]
    assert harness.requests(SUBMIT) == 1
    assert harness.simulator.billed("comfyui") == 1


def test_a_job_that_the_server_does_not_have_is_unknown_after_a_crash(
    harness: EngineHarness,
) -> None:
    """It may never have arrived, or been lost by a restart: the image is made again."""
    actor = harness.actor(seed=5)
    plan_base(harness, actor)
    made = harness.make_base(actor)

    assert made.status is Status.MADE
    assert harness.states() == [State.UNKNOWN, State.STORED]
    assert harness.requests(SUBMIT) == 1


def test_a_job_past_its_deadline_is_deleted_from_the_queue(harness: EngineHarness) -> None:
    """It has ended then and bills nothing, so a later run makes the image."""
    prompt = harness.prompt()
    harness.simulator.fault(provider="comfyui", operation="submit", fault="stuck_in_queue")
    context = harness.on_fake_clock(deadlines=Deadlines(queue=30, run=30))
    late = harness.make_one(prompt, small(harness), context=context)

    assert (late.status, late.error_kind) == (Status.FAILED, "job_timeout")
    assert "and was cancelled" in str(late.error)
    assert "'pending': 1" in str(late.error), "the server's report of its queue"
    assert harness.states() == [State.FAILED]
    assert harness.make_one(prompt, small(harness)).status is Status.MADE
    assert harness.simulator.billed("comfyui") == 1


def test_the_kinds_may_swap_their_providers(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RunPod makes a prompt's image and Duomi an actor's: where they go follows from the kind."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "runpod")
    monkeypatch.setenv("IMAGEGEN_ACTOR_PROVIDER", "duomi")
    with closing(project.pipeline()) as pipeline:
        harness = EngineHarness(project, simulator, pipeline)
        image = harness.make_one(harness.prompt(), small(harness))
        base = harness.make_base(harness.actor(seed=3))

    assert image.attempt is not None
    assert base.attempt is not None
    assert (image.attempt.kind, image.attempt.provider) == ("prompt", "runpod")
    assert (base.attempt.kind, base.attempt.provider) == ("actor", "duomi")
    assert "/generated_images/" in str(image.path)
    assert str(base.path).endswith("/0100_sailor/base_image/0100_sailor_base.png")
