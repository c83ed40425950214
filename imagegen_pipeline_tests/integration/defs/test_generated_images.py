"""``generated_images``: one run over many partitions, each on its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pandas as pd
import pytest

from imagegen_pipeline.defs.assets import ASSETS
from imagegen_pipeline.ledger import Verdict
from imagegen_pipeline_tests.conftest import Simulator, until
from imagegen_pipeline_tests.integration.defs.conftest import PROMPT_ASSETS, Dagster


def text(event: dg.AssetMaterialization, name: str) -> object:
    """A metadata value as it stands."""
    return event.metadata[name].value


def test_a_range_makes_each_picture_with_exactly_one_event(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """A range run makes every picture, writes one event for each, and refreshes the table."""
    result = dagster.run(*PROMPT_ASSETS, keys=prompts)

    assert result.success
    assert dagster.count("generated_images") == dict.fromkeys(prompts, 1)
    assert dagster.count("prompts") == dict.fromkeys(prompts, 1)
    assert len(dagster.events("generation_results")) == 1
    assert simulator.billed() == 4
    steps = {event.step_key for event in result.get_step_success_events()}
    assert steps == set(PROMPT_ASSETS), "no step is skipped in silence"


def test_events_are_written_while_the_run_continues(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """Stored images and their checks are in Dagster while another request waits for a response."""
    simulator.fault(
        provider="duomi", operation="submit", fault="hang", seconds=600, match="number 3"
    )
    storage = dagster.instance.event_log_storage
    check = dg.AssetCheckKey(dg.AssetKey("generated_images"), "not_blank")

    def checked() -> int:
        records = storage.get_asset_check_execution_history(check, limit=50)
        return sum(one.event is not None for one in records)

    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(dagster.run, "generated_images", keys=prompts)
        try:
            until(lambda: set(dagster.count("generated_images")) == set(prompts[:3]))
            until(lambda: checked() == 3)
            assert not run.done()
        finally:
            simulator.clear_faults()
        assert run.result().success


def test_an_event_describes_its_image(dagster: Dagster, prompts: list[str]) -> None:
    """A picture's event has preview, path, seed, size, seconds, cost and source."""
    dagster.run("generated_images", keys=prompts[:1])

    (event,) = dagster.events("generated_images")
    assert str(text(event, "preview")).startswith(f"![{prompts[0]}](data:image/webp;base64,")
    assert len(str(text(event, "preview"))) < 10_000
    path = dagster.project.results / "generated_images"
    assert str(text(event, "path")).startswith(str(path))
    assert text(event, "seed") == "51515151"
    assert text(event, "size") == "64x64"
    assert isinstance(text(event, "seconds"), float)
    assert text(event, "cost") == "unknown"
    assert text(event, "source") == "duomi"
    assert text(event, "status") == "made"
    assert text(event, "gallery") == f"http://127.0.0.1:8000/picture/{prompts[0]}"


def test_what_was_approved_is_an_asset_of_its_own(dagster: Dagster, prompts: list[str]) -> None:
    """``approved_pictures`` writes the table of approved pictures, which a later step reads."""
    dagster.run(*PROMPT_ASSETS, keys=prompts)
    reviews = dagster.project.pipeline().ledger.reviews
    reviews.decide([1, 3], Verdict.APPROVED)
    reviews.decide([2], Verdict.REJECTED)
    selected = dg.AssetSelection.from_string("approved_pictures+").resolve(ASSETS)
    assert selected == dg.AssetSelection.groups("approved").resolve(ASSETS)
    assert dagster.run(*(key.to_user_string() for key in selected)).success

    (event,) = dagster.events("approved_pictures")
    assert event.metadata["dagster/row_count"].value == 2
    table = pd.read_parquet(str(text(event, "path")))
    assert set(table["attempt"]) == {1, 3}
    assert set(table["verdict"]) == {"approved"}
    assert all((dagster.project.results / path).is_file() for path in table["path"])


def test_a_single_partition_refreshes_the_table_too(dagster: Dagster, prompts: list[str]) -> None:
    """With only generated_images selected, the table of results is fresh all the same."""
    dagster.run("generated_images", keys=prompts[1:2])

    (event,) = dagster.events("generation_results")
    assert "| stored | 1 |" in str(text(event, "states"))
    assert dagster.project.pipeline().results_file.is_dir()


def test_what_is_made_is_reused_at_no_cost(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """Materializing again what is made costs nothing and says "reused"."""
    dagster.run(*PROMPT_ASSETS, keys=prompts)
    dagster.run(*PROMPT_ASSETS, keys=prompts)

    assert simulator.billed() == 4
    newest = dagster.events("generated_images")[:4]
    assert {text(event, "status") for event in newest} == {"reused"}
    assert {text(event, "cost") for event in newest} == {0.0}


def test_one_bad_item_does_not_sink_the_others(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """A failed partition is red with its reason; the others stand and the table is fresh."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="number 2", times=-1
    )
    result = dagster.run(*PROMPT_ASSETS, keys=prompts)

    assert not result.success
    bad = prompts[2]
    assert set(dagster.count("generated_images")) == set(prompts) - {bad}
    assert dagster.failed("generated_images") == {bad}
    (failure,) = result.get_step_failure_events()
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert bad in str(details.metadata["failed"].value)
    assert "API request failed with status 400" in str(details.metadata["failed"].value)
    assert len(dagster.events("generation_results")) == 1
    why = dagster.instance.fetch_observations(dg.AssetKey("generated_images"), limit=10).records
    (observation,) = [record.asset_observation for record in why]
    assert observation is not None
    assert observation.partition == bad
    assert observation.metadata["error_kind"].value == "bad_request"


def test_the_next_run_makes_only_what_failed(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """After a failure the same range buys only what is not there."""
    simulator.fault(
        provider="duomi", operation="submit", fault="status", status=400, match="number 2"
    )
    dagster.run("generated_images", keys=prompts)
    billed = simulator.billed()
    result = dagster.run("generated_images", keys=prompts)

    assert result.success
    assert (billed, simulator.billed()) == (3, 4)
    assert dagster.failed("generated_images") == set()


def test_regenerate_makes_anew_once_for_each_run(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """``regenerate`` buys one new picture with a new seed; the same intent again buys none."""
    key = prompts[:1]
    dagster.run("generated_images", keys=key)
    dagster.run("generated_images", keys=key, config={"regenerate": True})
    assert simulator.billed() == 2
    seeds = [text(event, "seed") for event in dagster.events("generated_images")]
    assert seeds[0] != seeds[1]

    backfill = {"dagster/backfill": "the same backfill"}
    dagster.run("generated_images", keys=key, config={"regenerate": True}, tags=backfill)
    dagster.run("generated_images", keys=key, config={"regenerate": True}, tags=backfill)
    assert simulator.billed() == 3, "two runs of one backfill are one intent"


def test_a_key_that_no_source_has_says_what_to_do(dagster: Dagster, prompts: list[str]) -> None:
    """A partition without an item fails by itself and names the remedy."""
    dagster.instance.add_dynamic_partitions("prompts", ["json-nobody-00000000"])
    result = dagster.run("generated_images", keys=[*prompts, "json-nobody-00000000"])

    assert not result.success
    assert set(dagster.count("generated_images")) == set(prompts)
    (failure,) = result.get_step_failure_events()
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert "imagegen sync" in str(details.description)


def test_only_the_keys_of_the_configuration_are_made(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """With ``keys`` the rest of the range is passed over, and what it has is reported again."""
    dagster.run("generated_images", keys=prompts[1:2])
    chosen = [prompts[0], prompts[3]]
    dagster.run("generated_images", keys=prompts, config={"keys": chosen})

    assert simulator.billed() == 3
    assert dagster.count("generated_images") == {prompts[1]: 2, prompts[0]: 1, prompts[3]: 1}


def test_an_account_error_stops_the_batch_and_buys_no_more(
    dagster: Dagster, prompts: list[str], simulator: Simulator
) -> None:
    """A refused key fails every partition without asking for each."""
    simulator.fault(provider="duomi", operation="submit", fault="status", status=401, times=-1)
    result = dagster.run("generated_images", keys=prompts)

    assert not result.success
    assert simulator.billed() == 0
    assert dagster.failed("generated_images") == set(prompts)


def test_a_live_run_without_its_key_names_the_variable_and_the_simulator(
    dagster: Dagster, prompts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key the run fails with the sentence that the command line says too."""
    monkeypatch.delenv("IMAGEGEN_SIMULATOR")
    result = dagster.run("generated_images", keys=prompts)

    (failure,) = result.get_step_failure_events()
    details = failure.step_failure_data.user_failure_data
    assert details is not None
    assert "DUOMI_API_KEY is not set. Set DUOMI_API_KEY" in str(details.description)
    assert "IMAGEGEN_SIMULATOR=1" in str(details.description)
