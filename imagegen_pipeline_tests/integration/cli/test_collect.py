"""``imagegen collect`` collects sent jobs, reports them to Dagster, and sends nothing."""

from __future__ import annotations

from contextlib import closing

from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.cli.conftest import Invoke
from imagegen_pipeline_tests.integration.engine.harness import EngineHarness, plan_base, submitted


def test_a_finished_job_is_collected_and_reported(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """Its image is stored and reported; the job was sent once."""
    with closing(project.pipeline()) as pipeline:
        harness = EngineHarness(project, simulator, pipeline)
        submitted(harness, harness.actor())
    until(lambda: simulator.billed("runpod") == 1)
    result = invoke("collect")

    assert result.exit_code == 0, result.stderr
    assert result.stdout == "1 made.\n"
    assert "0100_sailor_base.png" in result.stderr
    assert simulator.stats()["runpod"]["accepted"] == 1
    instance = open_instance()
    assert instance is not None
    with instance:
        assert instance.get_dynamic_partitions("actors") == ["0100_sailor"]


def test_a_running_job_is_listed_and_exit_1(
    project: Project, simulator: Simulator, invoke: Invoke
) -> None:
    """A job that cannot be collected yet is listed with its id."""
    with closing(project.pipeline()) as pipeline:
        harness = EngineHarness(project, simulator, pipeline)
        attempt = plan_base(harness, harness.actor())
        simulator.fault(provider="runpod", operation="submit", fault="stuck_in_queue")
        runpod = pipeline.provider("runpod")
        job_id = str(runpod.submit(attempt.sent_request).job_id)
        pipeline.ledger.attempts.submitted(attempt, job_id=job_id, endpoint=runpod.endpoint)
    result = invoke("collect")
    assert result.exit_code == 1
    assert job_id in result.stderr
    assert result.stdout == "1 skipped.\n"


def test_without_jobs_it_prints_a_message(project: Project, invoke: Invoke) -> None:
    """Without outstanding jobs it prints a message and exits with 0."""
    result = invoke("collect")
    assert (result.exit_code, result.stdout) == (0, "Nothing is outstanding.\n")
