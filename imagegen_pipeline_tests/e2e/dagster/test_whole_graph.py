"""A backfill over all assets. It is launched when Dagster starts and runs beside the other tests:
this module is the last of its folder.
"""

from __future__ import annotations

from imagegen_pipeline_tests.e2e.dagster.conftest import (
    ACTOR,
    BACKFILL_GROUP,
    DESCRIPTION,
    FirstBackfill,
)
from imagegen_pipeline_tests.e2e.dagster.deployment import BASE_IMAGES, IMAGES, Deployment
from imagegen_pipeline_tests.e2e.dagster.webserver_client import eventually


def test_materialize_all(deployment: Deployment, first_backfill: FirstBackfill) -> None:
    """On an instance without images, "materialize all" generates every image and the tables, and
    each image is paid for once.
    """
    status = eventually(lambda: deployment.web.backfill_ended(first_backfill.id))
    assert status == "COMPLETED_SUCCESS"
    expected = dict.fromkeys(first_backfill.keys, "materialized")
    assert deployment.web.partitions(IMAGES).of(first_backfill.keys) == expected
    assert deployment.web.partitions("prompts").of(first_backfill.keys) == expected
    assert deployment.web.partitions(BASE_IMAGES).of([ACTOR]) == {ACTOR: "materialized"}
    for table in ("generation_results", "approved_pictures"):
        assert (deployment.project.results / f"{table}.parquet").exists()
    billed = {f"{BACKFILL_GROUP}, number {n}": 1 for n in range(2)}
    assert deployment.billed(BACKFILL_GROUP) == billed
    assert list(deployment.billed(DESCRIPTION).values()) == [1]
