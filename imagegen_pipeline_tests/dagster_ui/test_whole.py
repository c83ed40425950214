"""Everything at once. It is launched when Dagster starts and goes on beside the other tests: this
file is the last of its folder.
"""

from __future__ import annotations

from imagegen_pipeline_tests.dagster_ui.conftest import ACTOR, DESCRIPTION, OPENING, Opening
from imagegen_pipeline_tests.dagster_ui.graphql import eventually
from imagegen_pipeline_tests.dagster_ui.studio import BASE_IMAGES, IMAGES, Studio


def test_materialize_all(studio: Studio, opening: Opening) -> None:
    """From an instance where nothing was made, "materialize all" makes every picture and the
    tables, and each picture is bought once.
    """
    ended = eventually(lambda: studio.web.backfill_ended(opening.backfill))
    assert ended == "COMPLETED_SUCCESS"
    made = dict.fromkeys(opening.keys, "materialized")
    assert studio.web.partitions(IMAGES).of(opening.keys) == made
    assert studio.web.partitions("prompts").of(opening.keys) == made
    assert studio.web.partitions(BASE_IMAGES).of([ACTOR]) == {ACTOR: "materialized"}
    for table in ("generation_results", "approved_pictures"):
        assert (studio.project.results / f"{table}.parquet").exists()
    assert studio.billed(OPENING) == {f"{OPENING}, number {n}": 1 for n in range(2)}
    assert list(studio.billed(DESCRIPTION).values()) == [1]
