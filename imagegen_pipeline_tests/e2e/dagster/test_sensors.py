"""The sensors of the running Dagster: edits are detected, and generated when automation is on."""

from __future__ import annotations

from imagegen_pipeline_tests.e2e.dagster.deployment import IMAGES, Deployment
from imagegen_pipeline_tests.e2e.dagster.webserver_client import eventually

AUTOMATION = "automation_sensor"


def test_edits_are_detected_and_generated_when_automation_is_on(deployment: Deployment) -> None:
    """Of an edited, a new and an untouched prompt, a tick of ``sources_sensor`` shows the first as
    stale and the second as missing, and requests nothing while automation is off. When it is on
    again, one run generates those two, and no prompt from before it was first switched on.
    """
    group, older = "detected", "from before"
    keys = deployment.prompts(group, 2)
    older_keys = deployment.prompts(older, 2)
    deployment.web.succeeded(deployment.materialize_images(keys))
    assert deployment.web.sensor(AUTOMATION)["status"] == "STOPPED"
    try:
        deployment.web.switch(AUTOMATION, on=True)
        eventually(lambda: deployment.web.ticks(AUTOMATION))
        deployment.web.switch(AUTOMATION, on=False)

        (new,) = deployment.write(group, [2])
        deployment.write(group, [0], text="{group}, number {n}, edited")
        expected = {keys[0]: "STALE", keys[1]: "FRESH", new: "MISSING"}
        eventually(lambda: new in deployment.web.partitions(IMAGES).missing)
        eventually(lambda: deployment.web.stale(IMAGES, list(expected)) == expected)
        assert len(deployment.accepted(group)) == len(keys)

        deployment.web.switch(AUTOMATION, on=True)
        fresh = dict.fromkeys(expected, "FRESH")
        eventually(lambda: deployment.web.stale(IMAGES, list(expected)) == fresh)
    finally:
        deployment.web.switch(AUTOMATION, on=False)
    (run,) = {deployment.web.images(IMAGES, key)[0]["run"] for key in (keys[0], new)}
    config = deployment.web.succeeded(run).config["ops"][IMAGES]["config"]
    assert sorted(config["keys"]) == sorted([keys[0], new])
    ticks = deployment.web.ticks(AUTOMATION)
    assert [tick["runIds"] for tick in ticks if tick["runIds"]] == [[run]]
    assert not any(tick["error"] for tick in ticks)
    assert sorted(deployment.billed(group).values()) == [1, 1, 1, 1]
    assert set(deployment.web.partitions(IMAGES).of(older_keys).values()) == {"missing"}
    assert not deployment.accepted(older)
