"""One picture made from the running Dagster: of a partition, of a prompt that is typed."""

from __future__ import annotations

from imagegen_pipeline_tests.dagster_ui.studio import IMAGES, RESULTS, SMALL_ONES, Studio


def test_one_partition_and_one_typed_prompt(studio: Studio) -> None:
    """The dialog's "Launch 1 run" makes that partition's picture alone, with what follows from it
    in one run; a job's launchpad takes a prompt, and has a partition with its picture after it.
    """
    keys = studio.prompts("one of three", 3)
    one = studio.web.materialize(IMAGES, RESULTS, keys=[keys[1]], config=SMALL_ONES)
    typed = studio.web.launch(
        "generate_one_prompt", "make_one", {"prompt": "a typed windmill", **SMALL_ONES}
    )

    studio.web.succeeded(one)
    stand = studio.web.partitions(IMAGES).of(keys)
    assert stand == {keys[0]: "missing", keys[1]: "materialized", keys[2]: "missing"}
    (picture,) = studio.web.pictures(IMAGES, keys[1])
    assert picture["prompt"] == "one of three, number 1"
    assert picture["preview"].startswith(f"![{keys[1]}](data:image/webp;base64,")
    assert studio.billed("one of three") == {"one of three, number 1": 1}

    studio.web.succeeded(typed)
    (key,) = (key for key in studio.web.partitions(IMAGES).materialized if "typed" in key)
    assert key.startswith("prompt-a-typed-windmill-")
    assert studio.web.pictures(IMAGES, key)[0]["run"] == typed
    assert studio.billed("a typed windmill") == {"a typed windmill": 1}
