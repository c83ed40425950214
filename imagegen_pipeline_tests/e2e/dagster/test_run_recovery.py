"""Runs that are terminated, fail or are killed: what re-execution, retry and the daemon recover."""

from __future__ import annotations

import os
import signal

from imagegen_pipeline_tests.conftest import SMALL
from imagegen_pipeline_tests.e2e.dagster.deployment import BASE_IMAGES, IMAGES, Deployment
from imagegen_pipeline_tests.e2e.dagster.webserver_client import eventually


def test_a_terminated_run_is_resumed(deployment: Deployment) -> None:
    """After *terminate* the stored images are materialized and the others missing, none failed; a
    re-execution generates those, and nothing is submitted twice.
    """
    group = "terminated"
    keys = deployment.prompts(group, 6)
    for n in range(2, 6):
        deployment.hang(f"{group}, number {n}")
    run = deployment.materialize_images(keys)
    eventually(lambda: sum(deployment.billed(group).values()) == 2)
    deployment.web.terminate(run)
    # At most two requests hang. The run has stopped when it reports the others as skipped.
    eventually(lambda: sum(bool(deployment.web.observed(IMAGES, key)) for key in keys) >= 2)
    deployment.clear_faults()
    assert deployment.web.ended(run).status == "CANCELED"

    states = deployment.web.partitions(IMAGES).of(keys)
    stored = [key for key, state in states.items() if state == "materialized"]
    assert 2 <= len(stored) < len(keys)
    assert set(states.values()) == {"materialized", "missing"}
    assert len(stored) == sum(deployment.billed(group).values())

    deployment.web.succeeded(deployment.web.reexecute(run, "FROM_FAILURE"))
    assert set(deployment.web.partitions(IMAGES).of(keys).values()) == {"materialized"}
    assert deployment.accepted(group) == {f"{group}, number {n}": 1 for n in range(6)}


def test_a_failed_item_is_retried(deployment: Deployment) -> None:
    """A refused prompt fails alone and says why; the job ``retry_failed`` generates it with its
    former parameters and pays for nothing else.
    """
    group = "refused"
    keys = deployment.prompts(group, 3)
    deployment.refuse(f"{group}, number 1")
    run = deployment.materialize_images(keys)
    assert deployment.web.ended(run).status == "FAILURE"
    states = deployment.web.partitions(IMAGES).of(keys)
    assert states == {keys[0]: "materialized", keys[1]: "failed", keys[2]: "materialized"}
    assert "1 of 3 have no image" in deployment.web.failure(run)
    assert "status 400" in deployment.web.observed(IMAGES, keys[1])[0]

    deployment.clear_faults()
    config = {"keys": [keys[1]], "at_once": True}
    retried = deployment.web.launch("retry_failed", "retry_failed_op", config)
    deployment.web.succeeded(retried)
    assert set(deployment.web.partitions(IMAGES).of(keys).values()) == {"materialized"}
    (image,) = deployment.web.images(IMAGES, keys[1])
    assert (image["run"], image["size"]) == (retried, SMALL)
    assert deployment.billed(group) == {f"{group}, number {n}": 1 for n in range(3)}


def test_a_killed_run_is_launched_again_and_pays_once(deployment: Deployment) -> None:
    """After SIGKILL of the run's process the daemon launches the run again. It collects the jobs
    that were submitted: no job is submitted twice.
    """
    actors = [f"020{n}_male" for n in range(3)]
    for n, name in enumerate(actors):
        deployment.project.write_actor(name, description=f"to be killed, number {n}")
    deployment.sync()
    deployment.simulator.fault(
        provider="runpod",
        operation="status",
        fault="stuck_in_queue",
        match="to be killed",
        times=-1,
    )
    run = deployment.web.materialize(BASE_IMAGES, keys=actors)
    eventually(lambda: len(deployment.submitted()) == 2)
    process = deployment.web.process_of(run)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    deployment.clear_faults()

    assert deployment.web.ended(run).status == "FAILURE"
    retries = eventually(lambda: deployment.web.retries(run))
    deployment.web.succeeded(retries[0].id)
    assert set(deployment.web.partitions(BASE_IMAGES).of(actors).values()) == {"materialized"}
    assert sorted(deployment.accepted("to be killed").values()) == [1, 1, 1]
