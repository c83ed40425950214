"""The users' real prompts, where the data folder stands beside the project."""

import pytest

from imagegen_pipeline.domain.partition_keys import is_key
from imagegen_pipeline_tests.conftest import SHARED
from imagegen_pipeline_tests.unit.sources.readings import items_of, read_database, read_json_folder

DATA = SHARED / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not here")


def test_json_prompts() -> None:
    """All 302 files are prompts with keys of their own."""
    reading = read_json_folder(DATA / "prompt_json")
    assert (len(items_of(reading)), reading.problems, reading.complete) == (302, (), True)
    keys = {prompt.key for prompt in items_of(reading)}
    assert len(keys) == 302
    assert all(is_key(key) for key in keys)


def test_database() -> None:
    """All rows but the one of blanks are prompts with keys of their own."""
    reading = read_database(DATA / "llm_video_batch.db")
    assert (len(items_of(reading)), reading.complete) == (183, True)
    (blank,) = reading.problems
    assert blank.location.endswith("llm_video_batch.db#902")
    assert "blank" in blank.message
    keys = {prompt.key for prompt in items_of(reading)}
    assert len(keys) == 183
    assert all(is_key(key) for key in keys)
    (stray,) = (prompt for prompt in items_of(reading) if prompt.row_id == 903)
    assert (stray.image_id, stray.descriptive_name) == (99999, None)
