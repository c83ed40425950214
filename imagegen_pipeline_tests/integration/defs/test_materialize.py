"""Pictures follow their sources as they are now: edited, gone, broken, or typed."""

from __future__ import annotations

import dagster as dg

from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.sources.typed_prompts import typed_prompt
from imagegen_pipeline_tests.conftest import SMALL, Simulator
from imagegen_pipeline_tests.integration.defs.conftest import Dagster


def reason(dagster: Dagster, key: str) -> str:
    """What the newest observation of a partition says went wrong."""
    records = dagster.instance.fetch_observations(dg.AssetKey("generated_images"), limit=10).records
    found = [record.asset_observation for record in records if record.partition_key == key]
    assert found[0] is not None
    return str(found[0].metadata["error"].value)


def test_an_edited_prompt_is_made_anew_without_a_scan_before(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """The run itself looks at the source: the new text's picture is made."""
    dagster.run("generated_images", keys=prompts)
    dagster.project.write_json("prompt 1", "another text")
    dagster.run("generated_images", keys=prompts)

    assert simulator.billed() == 5
    newest = {event.partition: event for event in reversed(dagster.events("generated_images"))}
    assert newest[prompts[1]].metadata["prompt"].value == "another text"


def test_a_gone_prompt_is_not_bought(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """A prompt that has left its source fails by itself and says so; the others are made."""
    (dagster.project.data / "prompt_json" / "prompt 2.json").unlink()
    result = dagster.run("prompts", "generated_images", keys=prompts)

    assert not result.success
    assert simulator.billed() == 3
    assert "no longer has it" in reason(dagster, prompts[2])
    assert prompts[2] not in dagster.count("prompts")


def test_a_file_that_broke_is_not_bought_from_memory(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """A prompt whose file cannot be read now fails with the reader's own reason."""
    path = dagster.project.data / "prompt_json" / "prompt 3.json"
    path.write_text("{", encoding="utf-8")
    dagster.run("generated_images", keys=prompts)

    assert simulator.billed() == 3
    assert "JSON" in reason(dagster, prompts[3])


def test_a_typed_picture_is_not_bought_again_at_the_defaults(
    dagster: Dagster, simulator: Simulator
) -> None:
    """What was typed with parameters of its own is reused as it is by a run without any."""
    pipeline = dagster.project.pipeline()
    prompt = typed_prompt("a lighthouse at dusk")
    pipeline.register(prompt)
    parameters = PromptParameters(image_size="96x96", seed=42)
    (outcome,) = tuple(pipeline.generate_images([prompt], parameters, pipeline.order()))
    pipeline.close()
    assert outcome.ok
    dagster.register()

    from imagegen_pipeline.definitions import defs

    job = defs.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=dagster.instance,
        asset_selection=[dg.AssetKey("generated_images")],
        partition_key=prompt.key,
        raise_on_error=False,
    )
    assert done.success
    assert simulator.billed() == 1
    assert dagster.run("generated_images", keys=[prompt.key]).success, SMALL
    assert simulator.billed() == 2, "another size is asked for by the run's configuration"
