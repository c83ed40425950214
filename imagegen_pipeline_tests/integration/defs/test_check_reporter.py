"""Asset checks, by partition: what the UI shows of them after every kind of run."""

from __future__ import annotations

import os
import signal
import threading

import dagster as dg
import pytest

from imagegen_pipeline.defs.assets import approved_pictures
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.conftest import Project, Simulator, until
from imagegen_pipeline_tests.integration.defs.conftest import PROMPT_ASSETS, Dagster
from imagegen_pipeline_tests.integration.defs.ui_client import UiClient, all_are

IMAGES, BASE_IMAGES = "generated_images", "actor_base_images"
OF_PICTURES = {"picture_decodes", "asked_size", "not_blank", "sharp", "not_a_duplicate"}


def test_a_range_run_checks_each_partition(
    dagster: Dagster, prompts: list[str], ui: UiClient
) -> None:
    """Every check of every partition passes, is about the partition's newest event, and has the
    numbers and the picture; what is downstream runs, and each partition has one event.
    """
    assert dagster.run(*PROMPT_ASSETS, keys=prompts).success

    assert set(ui.checks(IMAGES)) == OF_PICTURES
    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, all_are("succeeded", prompts))
    found = ui.evaluation(IMAGES, "sharp", prompts[1])
    assert found["metadata"]["sharpness"] > found["metadata"]["least sharpness"]
    assert found["metadata"]["picture"].startswith(f"![{prompts[1]}](data:image/webp;base64,")
    records = dagster.instance.fetch_materializations(dg.AssetKey(IMAGES), limit=9).records
    (event,) = [record for record in records if record.partition_key == prompts[1]]
    assert found["targetMaterialization"] == {
        "storageId": str(event.storage_id),
        "runId": event.run_id,
        "timestamp": pytest.approx(event.timestamp, abs=1e-5),  # stored to the microsecond
    }
    whole = ui.checks(IMAGES)["sharp"]["executionForLatestMaterialization"]
    assert whole["evaluation"]["description"] == "4 of 4 images passed."
    assert dagster.count(IMAGES) == dict.fromkeys(prompts, 1)
    assert len(dagster.events("generation_results")) == 1


def test_a_run_over_one_partition_checks_that_one(
    dagster: Dagster, prompts: list[str], ui: UiClient
) -> None:
    """A single partition's checks are there once each, with their metadata."""
    result = dagster.run(IMAGES, keys=prompts[:1])

    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, all_are("succeeded", prompts[:1]))
    evaluations = result.get_asset_check_evaluations()
    assert {one.check_name for one in evaluations} == OF_PICTURES
    logged = dagster.instance.get_records_for_run(
        result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    assert len(logged) == len(OF_PICTURES)
    assert "picture" in ui.evaluation(IMAGES, "not_blank", prompts[0])["metadata"]


def test_scattered_partitions_of_one_run_are_all_checked(
    dagster: Dagster, prompts: list[str], ui: UiClient
) -> None:
    """A run that names its partitions in its configuration checks each of them."""
    chosen = [prompts[0], prompts[3]]
    assert dagster.run(IMAGES, keys=chosen, scattered=True).success
    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, all_are("succeeded", chosen))


def test_a_job_checks_what_it_makes(dagster: Dagster, ui: UiClient) -> None:
    """The picture of a typed prompt is checked as one of a source is."""
    assert dagster.launch(
        "generate_one_prompt", {"prompt": "a kite", "image_size": "64x64"}
    ).success
    (key,) = dagster.instance.get_dynamic_partitions("prompts")
    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, all_are("succeeded", [key]))


def test_a_failed_item_has_no_verdict_and_the_others_have(
    dagster: Dagster, prompts: list[str], ui: UiClient, simulator: Simulator
) -> None:
    """What has no picture reads as not checked; run again, all are."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="number 2"
    )
    assert not dagster.run(*PROMPT_ASSETS, keys=prompts).success
    good = [key for key in prompts if key != prompts[2]]
    shown = {**all_are("succeeded", good), prompts[2]: "executionFailed"}
    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, shown)

    assert dagster.run(*PROMPT_ASSETS, keys=prompts).success
    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, all_are("succeeded", prompts))
    sentence = ui.evaluation(IMAGES, "picture_decodes", prompts[0])["description"]
    assert "has the bytes that were decoded" in sentence
    sentence = ui.evaluation(IMAGES, "picture_decodes", prompts[2])["description"]
    assert "decoded whole when it was stored, in this run" in sentence


def test_when_nothing_has_a_picture_the_run_says_so(
    dagster: Dagster, prompts: list[str], ui: UiClient, simulator: Simulator
) -> None:
    """A run of which nothing comes, over many partitions or one, fails for its own reason."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=400, times=-1)
    for keys in (prompts, prompts[:1]):
        (failure,) = dagster.run(IMAGES, keys=keys).get_step_failure_events()
        details = failure.step_failure_data.user_failure_data
        assert details is not None
        assert "have no image" in str(details.description)
    assert ui.statuses(IMAGES)["sharp"] == all_are("executionFailed", prompts)


def test_a_run_that_makes_nothing_ends_well(
    dagster: Dagster, prompts: list[str], ui: UiClient
) -> None:
    """With a limit of none there is nothing to check, and the run is a success all the same."""
    for keys in (prompts, prompts[:1]):
        assert dagster.run(IMAGES, keys=keys, config={"limit": 0}).success
    assert set(ui.statuses(IMAGES)["sharp"].values()) == {"skipped"}


@pytest.mark.parametrize("scattered", [False, True], ids=["a range", "scattered"])
def test_what_was_made_before_an_interrupt_is_checked(
    dagster: Dagster,
    ui: UiClient,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    scattered: bool,
) -> None:
    """Every picture that a stopped run has reported has its checks, the first one too."""
    for number in range(8):
        project.write_json(f"prompt {number}", f"a lighthouse, number {number}")
    keys = dagster.register()
    monkeypatch.setenv("IMAGEGEN_CONCURRENCY", "2")
    with running(SimulatorOptions(latency=0.5)) as url:
        monkeypatch.setenv("IMAGEGEN_SIMULATOR", url)

        def interrupt() -> None:
            until(lambda: Simulator(url).billed() >= 3)
            os.kill(os.getpid(), signal.SIGINT)

        stopper = threading.Thread(target=interrupt)
        stopper.start()
        assert not dagster.run(IMAGES, keys=keys, scattered=scattered).success
        stopper.join()

    made = set(dagster.count(IMAGES))
    assert keys[0] in made
    assert len(made) < len(keys)
    for statuses in ui.statuses(IMAGES).values():
        assert {key for key, status in statuses.items() if status == "succeeded"} == made


def test_pictures_made_outside_of_dagster_are_checked_too(
    dagster: Dagster, prompts: list[str], ui: UiClient, project: Project, simulator: Simulator
) -> None:
    """The command's pictures have their checks, and so have those that it makes again."""
    command = ("imagegen", "generate", "--source", "json", "--image-size", "64x64")
    project.run(*command)
    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, all_are("succeeded", prompts))

    simulator.fault(provider="duomi", operation="submit", fault="blank", match="number 1")
    project.run(*command, "--regenerate")
    assert ui.statuses(IMAGES)["not_blank"] == {
        **all_are("succeeded", prompts),
        prompts[1]: "failed",
    }
    assert ui.evaluation(IMAGES, "not_blank", prompts[1])["metadata"]["picture"]
    assert dagster.run(IMAGES, keys=prompts).success
    assert ui.statuses(IMAGES)["not_blank"][prompts[1]] == "failed", "it is the same picture"


def test_every_check_says_what_to_do(ui: UiClient) -> None:
    """Each description explains the check, its severity, and what to do when it fails."""
    for asset in (IMAGES, BASE_IMAGES, "approved_pictures"):
        for check in ui.checks(asset).values():
            assert "If it fails:" in check["description"]
            assert "WARN" in check["description"] or "ERROR" in check["description"]


@pytest.mark.parametrize("harm", [None, "removed", "overwritten"])
def test_training_does_not_begin_on_a_broken_picture(
    dagster: Dagster, prompts: list[str], ui: UiClient, project: Project, harm: str | None
) -> None:
    """What comes after approved_pictures in one run waits for whole files."""
    dagster.run(IMAGES, keys=prompts)
    work = project.pipeline()
    work.ledger.reviews.decide([1, 3], Verdict.APPROVED)
    (attempt,) = work.ledger.attempts.get([3])
    path = work.store.absolute(attempt.path or "")
    if harm == "removed":
        path.unlink()
    elif harm == "overwritten":
        path.write_bytes(b"something else")
    begun = []

    @dg.asset(deps=[approved_pictures])
    def training() -> None:
        begun.append(True)

    result = dg.materialize(
        [approved_pictures, training],
        resources={"pipeline": PipelineResource()},
        instance=dagster.instance,
        raise_on_error=False,
    )

    assert bool(begun) is (harm is None)
    assert result.success is (harm is None)
    (check,) = ui.checks("approved_pictures").values()
    assert check["blocking"]
    found = check["executionForLatestMaterialization"]["evaluation"]
    assert found["success"] is (harm is None)
    if harm is not None:
        (evaluation,) = result.get_asset_check_evaluations()
        assert str(path) in str(evaluation.metadata["files"].value)
        assert evaluation.metadata["broken"].value == 1
