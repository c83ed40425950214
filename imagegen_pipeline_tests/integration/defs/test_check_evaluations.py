"""Asset checks: what each finds of pictures that are not as they should be."""

from __future__ import annotations

import base64
import io
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from imagegen_pipeline.dagster_ext.asset_events import RunlessReporter
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.engine import BatchOptions
from imagegen_pipeline.simulator.pictures import Recipe, render_png
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator
from imagegen_pipeline_tests.integration.defs.conftest import PROMPT_ASSETS, Dagster
from imagegen_pipeline_tests.integration.defs.ui_client import UiClient, all_are

IMAGES, BASE_IMAGES = "generated_images", "actor_base_images"
OF_PICTURES = {"picture_decodes", "asked_size", "not_blank", "sharp", "not_a_duplicate"}
OF_BASE_IMAGES = OF_PICTURES | {"neutral_border", "portrait_shape"}


def drawn(prompt: str) -> Image.Image:
    """A picture as the simulator draws it."""
    return Image.open(io.BytesIO(render_png(Recipe(prompt=prompt, seed=1, size=(256, 256)))))


def answer(simulator: Simulator, picture: Image.Image, *, match: str) -> None:
    """Let the service answer the next request for ``match`` with this picture."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    body = {"images": [{"b64_json": base64.b64encode(out.getvalue()).decode()}]}
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=200, body=body, match=match
    )


def test_a_black_picture_is_an_error_and_stops_nothing(
    dagster: Dagster, prompts: list[str], ui: UiClient, simulator: Simulator
) -> None:
    """A filtered picture fails not_blank with ERROR; the run goes on, and what follows it."""
    simulator.fault(provider="duomi", operation="submit", fault="blank", match="number 2")
    assert dagster.run(*PROMPT_ASSETS, keys=prompts).success

    good = [key for key in prompts if key != prompts[2]]
    assert ui.statuses(IMAGES)["not_blank"] == {
        **all_are("succeeded", good),
        prompts[2]: "failed",
    }
    found = ui.evaluation(IMAGES, "not_blank", prompts[2])
    assert (found["success"], found["severity"]) == (False, "ERROR")
    assert "black all over" in found["description"]
    assert found["metadata"]["contrast"] == 0
    whole = ui.checks(IMAGES)["not_blank"]["executionForLatestMaterialization"]["evaluation"]
    assert (whole["success"], whole["severity"]) == (False, "ERROR")
    assert whole["description"] == "3 of 4 images passed."
    assert ui.statuses(IMAGES)["picture_decodes"][prompts[2]] == "succeeded"
    assert ui.statuses(IMAGES)["not_a_duplicate"][prompts[2]] == "succeeded"
    assert dagster.count(IMAGES) == dict.fromkeys(prompts, 1)
    assert len(dagster.events("generation_results")) == 1


@pytest.mark.parametrize(("height", "severity"), [(32, "WARN"), (64, "ERROR")])
def test_another_size_warns_and_another_shape_is_an_error(
    dagster: Dagster,
    prompts: list[str],
    ui: UiClient,
    simulator: Simulator,
    height: int,
    severity: str,
) -> None:
    """Half the size asked for can be resized; half the width alone is another picture."""
    size = {"width": 32, "height": height}
    simulator.fault(provider="duomi", operation="submit", fault="wrong_size", **size)
    assert dagster.run(IMAGES, keys=prompts[:1]).success

    found = ui.evaluation(IMAGES, "asked_size", prompts[0])
    assert (found["success"], found["severity"]) == (False, severity)
    assert found["metadata"]["asked"] == "64x64"
    assert found["metadata"]["size"] == f"32x{height}"


def test_a_blurred_picture_is_a_warning(
    dagster: Dagster, prompts: list[str], ui: UiClient, simulator: Simulator
) -> None:
    """What is out of focus fails the check of sharpness, with its number, and no other."""
    answer(simulator, drawn("a kite").filter(ImageFilter.GaussianBlur(4)), match="number 1")
    assert dagster.run(IMAGES, keys=prompts).success

    assert ui.statuses(IMAGES)["sharp"][prompts[1]] == "failed"
    found = ui.evaluation(IMAGES, "sharp", prompts[1])
    assert found["severity"] == "WARN"
    assert found["metadata"]["sharpness"] < found["metadata"]["least sharpness"]
    assert ui.statuses(IMAGES)["not_blank"][prompts[1]] == "succeeded"


def test_another_prompts_picture_is_a_duplicate(
    dagster: Dagster, prompts: list[str], ui: UiClient, simulator: Simulator
) -> None:
    """The picture of another prompt, made in an earlier run, is named and shown."""
    same = drawn("a kite")
    answer(simulator, same, match="number 0")
    dagster.run(IMAGES, keys=prompts[:1])
    assert ui.statuses(IMAGES)["not_a_duplicate"] == {prompts[0]: "succeeded"}
    file = io.BytesIO()
    same.save(file, "JPEG", quality=80)
    answer(simulator, Image.open(file), match="number 2")
    dagster.run(IMAGES, keys=prompts[1:])

    assert ui.statuses(IMAGES)["not_a_duplicate"] == {
        **all_are("succeeded", prompts),
        prompts[2]: "failed",
    }
    found = ui.evaluation(IMAGES, "not_a_duplicate", prompts[2])
    assert found["severity"] == "WARN"
    assert found["metadata"]["of"] == prompts[0]
    assert found["metadata"]["distance"] <= 16
    assert found["metadata"]["picture"].startswith(f"![{prompts[2]}](data:image/webp")
    assert f"![{prompts[0]}](data:image/webp" in found["metadata"]["similar images"]


def test_of_two_made_in_one_run_the_later_is_the_duplicate(
    dagster: Dagster, prompts: list[str], ui: UiClient, simulator: Simulator
) -> None:
    """Two prompts that get one picture in one run: one of them is flagged, and names the other."""
    for number in (1, 2):
        answer(simulator, drawn("a kite"), match=f"number {number}")
    dagster.run(IMAGES, keys=prompts)

    statuses = ui.statuses(IMAGES)["not_a_duplicate"]
    assert sorted(statuses[key] for key in prompts[1:3]) == ["failed", "succeeded"]
    first, second = sorted(prompts[1:3], key=lambda key: statuses[key] == "failed")
    assert ui.evaluation(IMAGES, "not_a_duplicate", second)["metadata"]["of"] == first


def test_the_same_prompt_in_two_files_is_no_duplicate(
    dagster: Dagster, project: Project, ui: UiClient
) -> None:
    """Identical requests share one bill and one picture, and nothing is wrong with it."""
    for stem in ("one", "two"):
        project.write_json(stem, "a red boat")
    keys = dagster.register()
    assert dagster.run(IMAGES, keys=keys).success
    assert ui.statuses(IMAGES)["not_a_duplicate"] == all_are("succeeded", keys)


def test_a_file_that_was_harmed_does_not_pass(
    dagster: Dagster, prompts: list[str], ui: UiClient, project: Project
) -> None:
    """What a run passes over, and reports again, is compared with what was stored."""
    dagster.run(IMAGES, keys=prompts)
    harmed, *others = prompts
    attempt = project.pipeline().ledger.attempts.current(harmed)
    assert attempt is not None
    path = project.results / str(attempt.path)
    path.write_bytes(path.read_bytes()[:100])
    assert dagster.run(IMAGES, keys=prompts, config={"keys": others}).success

    found = ui.evaluation(IMAGES, "picture_decodes", harmed)
    assert (found["success"], found["severity"]) == (False, "ERROR")
    assert found["description"] == f"{path} has other bytes than were stored."
    shown = ui.statuses(IMAGES)
    assert shown["picture_decodes"] == {**all_are("succeeded", others), harmed: "failed"}
    assert shown["sharp"] == all_are("succeeded", prompts), "it was sharp when it was stored"


def test_what_is_reported_late_is_compared_with_its_file(
    dagster: Dagster, prompts: list[str], ui: UiClient, project: Project
) -> None:
    """A picture that was made outside of Dagster and is gone when Dagster hears of it fails."""
    work = project.pipeline()
    found = work.prompts(prompts)
    parameters = replace(PromptParameters(), image_size=SMALL)
    outcomes = {
        o.item_key: o for o in work.generate_images(found.values(), parameters, BatchOptions())
    }
    Path(outcomes[prompts[1]].path or "").unlink()
    assert RunlessReporter(dagster.instance, work).report_missed() == 4

    shown = ui.statuses(IMAGES)
    assert shown["picture_decodes"] == {**all_are("succeeded", prompts), prompts[1]: "failed"}
    assert shown["sharp"] == all_are("succeeded", prompts), "it was measured when it was stored"
    sentence = ui.evaluation(IMAGES, "picture_decodes", prompts[1])["description"]
    assert sentence.endswith("is not there any more.")


def test_what_cannot_be_measured_fails_with_the_reason(
    dagster: Dagster, prompts: list[str], ui: UiClient, project: Project
) -> None:
    """An older program's picture whose file is harmed has no measures to pass by."""
    dagster.run(IMAGES, keys=prompts)
    harmed, *others = prompts
    with sqlite3.connect(project.results / "imagegen.db") as ledger:
        ledger.execute("UPDATE attempts SET measures = NULL")
        row = "SELECT path FROM attempts WHERE item_key = ?"
        ((path,),) = ledger.execute(row, (harmed,)).fetchall()
    (project.results / path).write_bytes(b"GIF89a")
    assert dagster.run(IMAGES, keys=prompts, config={"keys": others}).success

    shown = ui.statuses(IMAGES)
    for check in ("picture_decodes", "sharp", "not_blank", "not_a_duplicate"):
        assert shown[check] == {**all_are("succeeded", others), harmed: "failed"}
    sentence = ui.evaluation(IMAGES, "sharp", harmed)["description"]
    assert sentence.startswith("Not measured: ")
    assert path in sentence


def test_a_picture_of_an_older_program_is_measured_when_it_is_checked(
    dagster: Dagster, prompts: list[str], ui: UiClient, project: Project
) -> None:
    """Its measures are taken from its file, and are in the ledger from then on."""
    dagster.run(IMAGES, keys=prompts)
    with sqlite3.connect(project.results / "imagegen.db") as ledger:
        before = ledger.execute("SELECT id, measures FROM attempts ORDER BY id").fetchall()
        ledger.execute("UPDATE attempts SET measures = NULL")
    assert dagster.run(IMAGES, keys=prompts).success

    assert ui.statuses(IMAGES) == dict.fromkeys(OF_PICTURES, all_are("succeeded", prompts))
    with sqlite3.connect(project.results / "imagegen.db") as ledger:
        assert ledger.execute("SELECT id, measures FROM attempts ORDER BY id").fetchall() == before


def test_base_images_have_two_checks_more(
    dagster: Dagster, ui: UiClient, project: Project, simulator: Simulator
) -> None:
    """A landscape fails as a backdrop, with a warning; a wide picture fails as a portrait."""
    project.write_actor("0100_sailor", description="an old sailor")
    project.write_actor("0101_cook", description="a young cook", width=96, height=64)
    dagster.register()
    assert dagster.run(BASE_IMAGES, keys=["0100_sailor", "0101_cook"]).success

    assert set(ui.checks(BASE_IMAGES)) == OF_BASE_IMAGES
    assert ui.statuses(BASE_IMAGES)["portrait_shape"] == {
        "0100_sailor": "succeeded",
        "0101_cook": "failed",
    }
    found = ui.evaluation(BASE_IMAGES, "neutral_border", "0100_sailor")
    assert (found["success"], found["severity"]) == (False, "WARN")
    assert found["metadata"]["border colour"] > found["metadata"]["most colour"]
    assert ui.statuses(BASE_IMAGES)["sharp"] == all_are("succeeded", ["0100_sailor", "0101_cook"])
