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
from imagegen_pipeline_tests.engine.bench import Bench, plan_base

SUBMIT = "POST /comfyui/prompt"


@pytest.fixture
def bench(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A pipeline whose images are all made by ComfyUI."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "comfyui")
    monkeypatch.setenv("IMAGEGEN_ACTOR_PROVIDER", "comfyui")
    with closing(project.pipeline()) as pipeline:
        yield Bench(project, simulator, pipeline)


def small(bench: Bench) -> PromptParameters:
    """ComfyUI's defaults, in a small size."""
    return bench.pipeline.prompt_parameters(image_size=SMALL)


def test_a_prompts_image_is_made_once(bench: Bench) -> None:
    """The FLUX graph makes it, it costs nothing, and it is reused."""
    prompt = bench.prompt()
    made = bench.make_one(prompt, small(bench))

    assert made.status is Status.MADE
    assert made.cost == 0.0
    assert made.attempt is not None
    assert (made.attempt.provider, made.attempt.kind) == ("comfyui", "prompt")
    assert (made.attempt.width, made.attempt.height) == (64, 64)
    assert made.attempt.model == "flux1-dev-fp8"
    assert made.attempt.run_seconds is not None
    assert made.attempt.request["workflow_digest"] == bench.pipeline.workflow.digest
    assert bench.make_one(prompt, small(bench)).status is Status.REUSED
    assert bench.simulator.billed("comfyui") == 1


def test_the_default_size_is_one_that_the_graph_makes(bench: Bench) -> None:
    """The users' 1080x1920 is no multiple of 16: the nearest that is, is the default."""
    request = bench.pipeline.request_builder.by_default(bench.prompt()).request
    bench.pipeline.check_request(request)
    assert request.size == "1088x1920"


def test_an_actors_image_lies_at_its_fixed_path(bench: Bench) -> None:
    """The same engine path as RunPod's: published, and the history kept."""
    actor = bench.actor(seed=7)
    made = bench.make_base(actor)

    assert made.status is Status.MADE
    assert made.path is not None
    assert made.path.endswith(f"{actor.name}/base_image/{actor.name}_base.png")
    assert made.attempt is not None
    assert (made.attempt.provider, made.attempt.kind) == ("comfyui", "actor")
    assert bench.make_base(actor).status is Status.REUSED
    assert bench.simulator.billed("comfyui") == 1


def test_a_batch_goes_through_one_server(bench: Bench) -> None:
    """Several in flight wait in the server's queue; each is generated once."""
    prompts = bench.prompts(**{f"p{n}": f"boat {n}" for n in range(6)})
    outcomes = bench.make(prompts, small(bench), concurrency=4)

    assert {outcome.status for outcome in outcomes.values()} == {Status.MADE}
    assert bench.simulator.billed("comfyui") == 6
    assert bench.simulator.stats()["comfyui"]["max_running"] == 1


def test_another_provider_is_another_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint includes the provider, so an image of Duomi's is not reused for ComfyUI."""
    prompt = bench.prompt()
    comfyui = bench.make_one(prompt, small(bench))
    duomi = bench.make_one(prompt)

    assert duomi.status is Status.MADE
    assert comfyui.attempt is not None
    assert duomi.attempt is not None
    assert comfyui.attempt.fingerprint != duomi.attempt.fingerprint
    assert bench.simulator.billed("duomi") == bench.simulator.billed("comfyui") == 1


def test_an_ambiguous_answer_makes_one_image(bench: Bench) -> None:
    """The server is asked for the prompt by its id: nothing is unknown, nothing made twice."""
    bench.simulator.fault(provider="comfyui", operation="submit", fault="reset_after_work")
    made = bench.make_one(bench.prompt(), small(bench))

    assert made.status is Status.MADE
    assert made.attempt is not None
    assert not made.attempt.possible_double_charge
    assert bench.requests(SUBMIT) == 1
    assert bench.simulator.billed("comfyui") == 1


def test_a_prompt_lost_by_a_restart_is_made_again_by_the_next_run(bench: Bench) -> None:
    """The loss is certain at once, and has its own kind; the next run makes the image."""
    prompt = bench.prompt()
    bench.simulator.fault(provider="comfyui", operation="submit", fault="stuck_in_queue")
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(bench.make_one, prompt, small(bench))
        until(lambda: bench.states() == [State.SUBMITTED])
        requests.post(f"{bench.simulator.url}/_sim/comfyui/restart", timeout=5).raise_for_status()
        lost = making.result(timeout=60)

    assert (lost.status, lost.error_kind) == (Status.FAILED, "job_lost")
    assert "the server has restarted" in str(lost.error)
    assert bench.states() == [State.EXPIRED]
    assert bench.make_one(prompt, small(bench)).status is Status.MADE
    assert bench.simulator.billed("comfyui") == 1


def test_a_missing_model_stops_the_batch_before_anything_is_sent(bench: Bench) -> None:
    """One outcome names the model, the rest is skipped, and no graph reaches the server."""
    file = bench.pipeline.settings.workflow_file
    graph = json.loads(file.read_text())
    graph["12"]["inputs"]["unet_name"] = "mine.safetensors"
    file.write_text(json.dumps(graph))
    prompts = bench.prompts(**{f"p{n}": f"boat {n}" for n in range(3)})
    outcomes = list(bench.make(prompts, small(bench), concurrency=1).values())

    assert sorted(outcome.status for outcome in outcomes) == ["failed", "skipped", "skipped"]
    (failed,) = (outcome for outcome in outcomes if outcome.status is Status.FAILED)
    assert failed.error_kind == WorkflowError.kind
    assert "'mine.safetensors' is not on the server" in str(failed.error)
    assert bench.requests(SUBMIT) == 0


def test_what_was_sent_is_collected_by_another_process(bench: Bench) -> None:
    """A batch that leaves its job at the server finds it again by its id."""
    prompt = bench.prompt()
    bench.simulator.fault(
        provider="comfyui", operation="status", fault="status", status=500, times=-1
    )
    batch = bench.pipeline.generate_images([prompt], small(bench), bench.pipeline.order())
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(list, batch)
        until(lambda: bench.states() == [State.SUBMITTED])
        batch.stop(leave_jobs=True)
        (left,) = making.result(timeout=60)
    assert left.status is Status.SKIPPED
    bench.clear_faults()
    with closing(bench.project.pipeline()) as later:
        (collected,) = list(later.generate_images([prompt], small(bench), later.order()))
    assert collected.status is Status.MADE
    assert bench.requests(SUBMIT) == 1
    assert bench.simulator.billed("comfyui") == 1


def test_a_job_without_an_answer_is_found_after_a_crash(bench: Bench) -> None:
    """A process that ended while it waited for the answer leaves a job that has the attempt's id:
    the next one finds it by that, so that it is not unknown, and sends nothing.
    """
    actor = bench.actor(seed=5)
    attempt = plan_base(bench, actor)
    client = bench.pipeline.provider("comfyui")
    assert isinstance(client, FindsJobs)
    client.submit_with_reference(attempt.sent_request, attempt.reference)
    made = bench.make_base(actor)

    assert made.status is Status.MADE
    assert bench.states() == [State.STORED]
    assert bench.requests(SUBMIT) == 1
    assert bench.simulator.billed("comfyui") == 1


def test_a_job_that_the_server_does_not_have_is_unknown_after_a_crash(bench: Bench) -> None:
    """It may never have arrived, or been lost by a restart: the image is made again."""
    actor = bench.actor(seed=5)
    plan_base(bench, actor)
    made = bench.make_base(actor)

    assert made.status is Status.MADE
    assert bench.states() == [State.UNKNOWN, State.STORED]
    assert bench.requests(SUBMIT) == 1


def test_a_job_past_its_deadline_is_deleted_from_the_queue(bench: Bench) -> None:
    """It has ended then and bills nothing, so a later run makes the image."""
    prompt = bench.prompt()
    bench.simulator.fault(provider="comfyui", operation="submit", fault="stuck_in_queue")
    context = bench.on_fake_clock(deadlines=Deadlines(queue=30, run=30))
    late = bench.make_one(prompt, small(bench), shop=context)

    assert (late.status, late.error_kind) == (Status.FAILED, "job_timeout")
    assert "and was cancelled" in str(late.error)
    assert "'pending': 1" in str(late.error), "the server's report of its queue"
    assert bench.states() == [State.FAILED]
    assert bench.make_one(prompt, small(bench)).status is Status.MADE
    assert bench.simulator.billed("comfyui") == 1


def test_the_kinds_may_swap_their_providers(
    project: Project, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RunPod makes a prompt's image and Duomi an actor's: where they go follows from the kind."""
    monkeypatch.setenv("IMAGEGEN_PROMPT_PROVIDER", "runpod")
    monkeypatch.setenv("IMAGEGEN_ACTOR_PROVIDER", "duomi")
    with closing(project.pipeline()) as pipeline:
        bench = Bench(project, simulator, pipeline)
        image = bench.make_one(bench.prompt(), small(bench))
        base = bench.make_base(bench.actor(seed=3))

    assert image.attempt is not None
    assert base.attempt is not None
    assert (image.attempt.kind, image.attempt.provider) == ("prompt", "runpod")
    assert (base.attempt.kind, base.attempt.provider) == ("actor", "duomi")
    assert "/generated_images/" in str(image.path)
    assert str(base.path).endswith("/0100_sailor/base_image/0100_sailor_base.png")
