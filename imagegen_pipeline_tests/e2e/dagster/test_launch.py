"""Images launched from the running Dagster: one partition, and one typed prompt."""

from __future__ import annotations

from imagegen_pipeline_tests.e2e.dagster.deployment import (
    IMAGES,
    RESULTS,
    SMALL_IMAGES,
    Deployment,
)


def test_one_partition_and_one_typed_prompt(deployment: Deployment) -> None:
    """ "Launch 1 run" generates that partition's image alone, with the downstream table in the same
    run; the job ``generate_one_prompt`` registers a typed prompt and generates its image.
    """
    keys = deployment.prompts("one of three", 3)
    one = deployment.web.materialize(IMAGES, RESULTS, keys=[keys[1]], config=SMALL_IMAGES)
    typed = deployment.web.launch(
        "generate_one_prompt",
        "generate_one_prompt_op",
        {"prompt": "a typed windmill", **SMALL_IMAGES},
    )

    deployment.web.succeeded(one)
    states = deployment.web.partitions(IMAGES).of(keys)
    assert states == {keys[0]: "missing", keys[1]: "materialized", keys[2]: "missing"}
    (image,) = deployment.web.images(IMAGES, keys[1])
    assert image["prompt"] == "one of three, number 1"
    assert image["preview"].startswith(f"![{keys[1]}](data:image/webp;base64,")
    assert deployment.billed("one of three") == {"one of three, number 1": 1}

    deployment.web.succeeded(typed)
    (key,) = (key for key in deployment.web.partitions(IMAGES).materialized if "typed" in key)
    assert key.startswith("prompt-a-typed-windmill-")
    assert deployment.web.images(IMAGES, key)[0]["run"] == typed
    assert deployment.billed("a typed windmill") == {"a typed windmill": 1}
