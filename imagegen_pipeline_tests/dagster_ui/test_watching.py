"""The sensors of the running Dagster: what is edited is seen, and made where that is wanted."""

from __future__ import annotations

from imagegen_pipeline_tests.dagster_ui.graphql import eventually
from imagegen_pipeline_tests.dagster_ui.studio import IMAGES, Studio

SWITCH = "automation_sensor"


def test_an_edit_is_seen_within_a_tick_and_made_where_the_switch_is_on(studio: Studio) -> None:
    """Of an edited, a new and an untouched prompt the tick of the sources shows the first as out
    of date and the second as missing; while the switch is off that is all. Switched on again it
    has those two made, once, in one run, and nothing of what was there when it was first turned.
    """
    story, others = "watched", "there before"
    keys = studio.prompts(story, 2)
    before = studio.prompts(others, 2)
    studio.web.succeeded(studio.make(keys))
    assert studio.web.sensor(SWITCH)["status"] == "STOPPED"
    try:
        studio.web.switch(SWITCH, on=True)
        eventually(lambda: studio.web.ticks(SWITCH))
        studio.web.switch(SWITCH, on=False)

        (new,) = studio.write(story, [2])
        studio.write(story, [0], text="{story}, number {n}, edited")
        seen = {keys[0]: "STALE", keys[1]: "FRESH", new: "MISSING"}
        eventually(lambda: new in studio.web.partitions(IMAGES).missing)
        eventually(lambda: studio.web.stale(IMAGES, list(seen)) == seen)
        assert len(studio.accepted(story)) == len(keys)

        studio.web.switch(SWITCH, on=True)
        fresh = dict.fromkeys(seen, "FRESH")
        eventually(lambda: studio.web.stale(IMAGES, list(seen)) == fresh)
    finally:
        studio.web.switch(SWITCH, on=False)
    (run,) = {studio.web.pictures(IMAGES, key)[0]["run"] for key in (keys[0], new)}
    config = studio.web.succeeded(run).config["ops"][IMAGES]["config"]
    assert sorted(config["keys"]) == sorted([keys[0], new])
    ticks = studio.web.ticks(SWITCH)
    assert [tick["runIds"] for tick in ticks if tick["runIds"]] == [[run]]
    assert not any(tick["error"] for tick in ticks)
    assert sorted(studio.billed(story).values()) == [1, 1, 1, 1]
    assert set(studio.web.partitions(IMAGES).of(before).values()) == {"missing"}
    assert not studio.accepted(others)
