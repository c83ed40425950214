"""What was ended, refused or killed is put right from the running Dagster, and bought once."""

from __future__ import annotations

import os
import signal

from imagegen_pipeline_tests.conftest import SMALL
from imagegen_pipeline_tests.dagster_ui.graphql import eventually
from imagegen_pipeline_tests.dagster_ui.studio import BASE_IMAGES, IMAGES, Studio


def test_a_terminated_run_is_resumed(studio: Studio) -> None:
    """After *terminate* the finished pictures are shown and the others are missing, none failed;
    a re-execution makes those, and nothing is sent twice.
    """
    story = "ended midway"
    keys = studio.prompts(story, 6)
    for n in range(2, 6):
        studio.slow(f"{story}, number {n}", seconds=12)
    run = studio.make(keys)
    eventually(lambda: sum(studio.billed(story).values()) >= 2 or studio.web.run(run).ended)
    studio.web.terminate(run)
    assert studio.web.ended(run).status == "CANCELED"

    stand = studio.web.partitions(IMAGES).of(keys)
    made = [key for key, state in stand.items() if state == "materialized"]
    assert 2 <= len(made) < len(keys)
    assert set(stand.values()) == {"materialized", "missing"}
    assert len(made) == sum(studio.billed(story).values())

    studio.heal()
    studio.web.succeeded(studio.web.reexecute(run, "FROM_FAILURE"))
    assert set(studio.web.partitions(IMAGES).of(keys).values()) == {"materialized"}
    assert studio.accepted(story) == {f"{story}, number {n}": 1 for n in range(6)}


def test_what_failed_is_tried_again(studio: Studio) -> None:
    """One refused prompt leaves the others standing, is red and says why; the job ``retry_failed``
    makes it, as it was asked for, and buys nothing else.
    """
    story = "refused"
    keys = studio.prompts(story, 3)
    studio.refuse(f"{story}, number 1")
    run = studio.make(keys)
    assert studio.web.ended(run).status == "FAILURE"
    stand = studio.web.partitions(IMAGES).of(keys)
    assert stand == {keys[0]: "materialized", keys[1]: "failed", keys[2]: "materialized"}
    assert "1 of 3 have no image" in studio.web.failure(run)
    assert "status 400" in studio.web.observed(IMAGES, keys[1])[0]

    studio.heal()
    retried = studio.web.launch("retry_failed", "try_again", {"keys": [keys[1]], "at_once": True})
    studio.web.succeeded(retried)
    assert set(studio.web.partitions(IMAGES).of(keys).values()) == {"materialized"}
    (picture,) = studio.web.pictures(IMAGES, keys[1])
    assert (picture["run"], picture["size"]) == (retried, SMALL)
    assert studio.billed(story) == {f"{story}, number {n}": 1 for n in range(3)}


def test_a_killed_run_is_launched_again_and_buys_nothing_twice(studio: Studio) -> None:
    """After SIGKILL of the run's process Dagster sees it and launches the run again, which brings
    home what had been sent: no job is sent twice.
    """
    actors = [f"020{n}_male" for n in range(3)]
    for n, name in enumerate(actors):
        studio.project.write_actor(name, description=f"to be killed, number {n}")
    studio.sync()
    studio.simulator.fault(
        provider="runpod",
        operation="status",
        fault="stuck_in_queue",
        match="to be killed",
        times=-1,
    )
    run = studio.web.materialize(BASE_IMAGES, keys=actors)
    eventually(lambda: len(studio.sent()) == 2)
    process = studio.web.process_of(run)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    studio.heal()

    assert studio.web.ended(run).status == "FAILURE"
    again = eventually(lambda: studio.web.retries(run))
    studio.web.succeeded(again[0].id)
    assert set(studio.web.partitions(BASE_IMAGES).of(actors).values()) == {"materialized"}
    assert sorted(studio.accepted("to be killed").values()) == [1, 1, 1]
