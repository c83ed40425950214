"""A scan opens changed files only, misses no edit, and returns the items of its sources."""

from __future__ import annotations

import os
import shutil

import pytest

from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem, text_digest
from imagegen_pipeline.ledger import SourceRecord
from imagegen_pipeline.sources import json_files
from imagegen_pipeline.sources.json_files import JsonFolder
from imagegen_pipeline_tests.unit.sources.conftest import HOUR, ScratchSources, counts

A, B, C = (json_key(stem) for stem in "abc")


@pytest.fixture
def three(project: ScratchSources) -> ScratchSources:
    """Three prompt files that were scanned and have stable change tokens."""
    for name in "abc":
        project.write(f"{name}.json", f"picture {name}")
    project.settle()
    assert len(project.scan().change.new) == 3
    return project


@pytest.fixture
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose clock does not move between two writes."""

    written: dict[tuple[int, int], int] = {}

    def coarse_token(status: os.stat_result) -> str:
        same = (status.st_ino, status.st_size)
        return f"{written.setdefault(same, status.st_ctime_ns):x}.{same}"

    monkeypatch.setattr(json_files, "change_token", coarse_token)


def test_an_unchanged_folder_is_not_opened(three: ScratchSources) -> None:
    """The second scan of an unchanged folder opens no file in it."""
    assert three.opened() == []


def test_only_a_changed_file_is_opened(three: ScratchSources) -> None:
    """An edit is recorded, and one file is opened for it."""
    three.write("b.json", "another")
    assert three.opened() == ["b.json"]
    assert three.texts() == {A: "picture a", B: "another", C: "picture c"}


def test_a_file_that_was_written_just_now_is_opened_again(project: ScratchSources) -> None:
    """Its token is not trusted until the last change is old enough."""
    project.write("a.json", "picture a")
    assert [project.opened(), project.opened()] == [["a.json"], ["a.json"]]
    project.clock.ahead = 3
    assert [project.opened(), project.opened()] == [["a.json"], []]


@pytest.mark.usefixtures("_coarse")
def test_a_second_write_within_one_tick_of_the_clock_is_recorded(project: ScratchSources) -> None:
    """A file that is written again with the same size and time, right after it was read."""
    project.write("a.json", "first")
    project.scan()
    project.write("a.json", "other")
    assert len(project.scan().change.changed) == 1
    assert list(project.texts().values()) == ["other"]


@pytest.mark.usefixtures("_coarse")
def test_no_token_is_trusted_for_longer_than_a_day(project: ScratchSources) -> None:
    """An edit that leaves a file's token unchanged is recorded on the next day."""
    project.write("a.json", "first")
    project.settle()
    project.scan()
    project.write("a.json", "other")
    assert len(project.scan().change.changed) == 0, "the token must be the same"
    project.clock.ahead += 25 * HOUR
    assert len(project.scan().change.changed) == 1
    assert project.opened() == []


@pytest.mark.usefixtures("_coarse")
def test_a_forced_scan_reads_everything(project: ScratchSources) -> None:
    """A forced scan trusts no token."""
    project.write("a.json", "first")
    project.settle()
    project.scan()
    project.write("a.json", "other")
    assert len(project.scan(force=True).change.changed) == 1


def test_the_same_text_again_changes_only_the_token(three: ScratchSources) -> None:
    """A file that is saved unchanged is read once more, and is no change."""
    before = three.ledger.items.get([B])
    three.write("b.json", "picture b")
    three.settle()
    result = three.scan()
    assert counts(result) == (
        0,
        0,
        0,
    )
    assert three.ledger.items.get([B]) == before
    assert three.ledger.items.last_sequence() == 3
    assert three.opened() == []


def test_a_file_that_leaves_is_gone_and_one_that_returns_is_present(three: ScratchSources) -> None:
    """A file that is deleted, or moved away and back with its old time."""
    path = three.root / "data" / "prompt_json" / "b.json"
    path.rename(three.root / "b.json")
    assert len(three.scan().change.gone) == 1
    assert three.gone(A, B, C) == {B}
    (three.root / "b.json").rename(path)
    three.scan()
    assert three.gone(A, B, C) == set()
    assert three.opened() == []


def test_a_renamed_file_is_another_prompt_unless_its_stem_is_kept(
    three: ScratchSources,
) -> None:
    """The key comes from the stem: the suffix may change its case."""
    folder = three.root / "data" / "prompt_json"
    (folder / "a.json").rename(folder / "a.JSON")
    (folder / "b.json").rename(folder / "d.json")
    result = three.scan()
    assert counts(result) == (
        1,
        0,
        1,
    )
    assert set(three.texts()) == {A, json_key("d"), C}


def test_an_unreadable_file_is_read_by_every_scan(three: ScratchSources) -> None:
    """Its problem stays while it lasts, also when the folder has not changed."""
    path = three.root / "data" / "prompt_json" / "b.json"
    path.write_text("{")
    three.settle()
    assert [p.location for p in three.scan().problems] == [str(path), str(three.database)]
    assert three.opened() == ["b.json"]
    assert three.problems() == ["b.json"]
    assert three.gone(B) == set()
    three.write("b.json", "repaired")
    assert len(three.scan().change.changed) == 1
    assert three.problems() == []


def test_a_file_that_another_scan_could_not_read_is_read_again(three: ScratchSources) -> None:
    """A temporary problem, such as of a disk, leaves the file's token unchanged."""
    path = three.root / "data" / "prompt_json" / "b.json"
    trouble = SourceProblem(str(path.parent), str(path), "The disk failed.", "Wait.")
    three.ledger.items.record(SourceRecord("prompt", str(path.parent), problems=[trouble]))
    assert three.opened() == ["b.json"]
    assert three.problems() == []


def test_a_deleted_file_has_no_problem(three: ScratchSources) -> None:
    """The problem of a file is dropped when the file is deleted."""
    path = three.root / "data" / "prompt_json" / "b.json"
    path.write_text("{")
    three.scan()
    path.unlink()
    assert len(three.scan().change.gone) == 1
    assert three.problems() == []


def test_of_two_files_with_one_stem_the_first_is_used_by_every_scan(three: ScratchSources) -> None:
    """The second is a problem while both exist, and is used when the first is deleted."""
    three.write("a.JSON", "the first by name")
    three.scan()
    assert three.texts()[A] == "the first by name"
    assert three.problems() == ["a.json"]
    three.scan()
    assert (three.texts()[A], three.problems()) == ("the first by name", ["a.json"])
    (three.root / "data" / "prompt_json" / "a.JSON").unlink()
    three.scan()
    assert (three.texts()[A], three.problems()) == ("picture a", [])


def test_nothing_is_gone_from_a_missing_folder(three: ScratchSources) -> None:
    """An unmounted disk is a problem while it lasts; nothing has changed when it is back."""
    folder = three.root / "data" / "prompt_json"
    folder.rename(three.root / "away")
    result = three.scan()
    assert [problem.location for problem in result.unreadable] == [str(folder), str(three.database)]
    assert three.gone(A, B, C) == set()
    (three.root / "away").rename(folder)
    result = three.scan()
    assert counts(result) == (
        0,
        0,
        0,
    )
    assert str(folder) not in [problem.location for problem in result.problems]


def test_an_item_that_a_command_read_elsewhere_is_read_again(three: ScratchSources) -> None:
    """A file of the same name in another folder hides this one until the next scan only."""
    elsewhere = three.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.json").write_text('{"image_prompt": "from elsewhere"}')
    three.scanner.scan_prompts(database=False, json_dir=elsewhere)
    assert three.texts()[B] == "from elsewhere"
    three.scan()
    assert three.texts()[B] == "picture b"


@pytest.mark.usefixtures("_coarse")
def test_two_simultaneous_scans_hide_nothing(three: ScratchSources) -> None:
    """The token that one process stores while another one scans is stale."""
    path = three.root / "data" / "prompt_json" / "b.json"
    three.write("c.json", "another one")
    three.settle()

    class ScannedTwice(JsonFolder):
        """While its changed file is read, another process scans without ``b.json``."""

        def _read(self, name: str, key: str | None, location: str) -> Prompt | SourceProblem:
            path.rename(three.root / "b.json")
            three.scan()
            (three.root / "b.json").rename(path)
            return super()._read(name, key, location)

    three.scanner._scan(ScannedTwice(path.parent))
    assert three.gone(B) == {B}, "the token must be the same"
    three.scan()
    assert three.texts() == {A: "picture a", B: "picture b", C: "another one"}


def test_actors_are_scanned_in_the_same_way(project: ScratchSources) -> None:
    """Only a changed actor is read; one whose file is deleted is gone, and a problem."""
    folder = project.root / "data" / "actors"
    for name in ("one", "two", "three"):
        (folder / name).mkdir(parents=True)
        (folder / name / "actor.json").write_text('{"description": "an old sailor"}')
    project.settle()
    assert len(project.scanner.scan()["actor"].change.new) == 3
    assert project.opened() == []
    (folder / "two" / "actor.json").write_text('{"description": "a young sailor"}')
    assert project.opened() == ["actor.json"]
    assert project.ledger.items.get(["two"])["two"].revision == 2
    (folder / "two" / "actor.json").unlink()
    assert len(project.scanner.scan()["actor"].change.gone) == 1
    assert project.problems() == ["two"]
    shutil.rmtree(folder / "two")
    project.scan()
    assert project.problems() == []


def test_an_actors_folder_that_becomes_a_link_outside_is_refused(project: ScratchSources) -> None:
    """A link is noticed although ``actor.json`` is unchanged."""
    folder = project.root / "data" / "actors" / "one"
    (folder / "base_image").mkdir(parents=True)
    (folder / "actor.json").write_text('{"description": "an old sailor"}')
    project.settle()
    project.scan()
    (folder / "base_image").rmdir()
    (folder / "base_image").symlink_to(project.root)
    project.scan()
    assert project.gone("one") == {"one"}
    assert project.problems() == ["one"]


def test_all_prompts_are_returned_in_their_order_whether_changed_or_not(
    three: ScratchSources,
) -> None:
    """Unchanged prompts come from the ledger, changed ones from their files."""
    three.write("aa.json", "picture aa")
    three.write("b.json", "edited")
    three.settle()
    texts = ["picture a", "picture aa", "edited", "picture c"]
    for changed in (1, 0):
        result = three.scanner.scan_prompts(database=False)
        assert [prompt.text for prompt in result.prompts] == texts
        assert len(result.change.changed) == changed
    assert three.opened() == []


def test_prompts_that_cannot_be_read_now_are_not_returned(three: ScratchSources) -> None:
    """Neither in the scan that finds the problem nor in the next one."""
    (three.root / "data" / "prompt_json" / "b.json").write_text("{")
    three.settle()
    for _ in range(2):
        result = three.scanner.scan_prompts(database=False)
        assert [prompt.text for prompt in result.prompts] == ["picture a", "picture c"]
        assert len(result.problems) == 1


def test_an_unrecorded_scan_leaves_the_ledger_unchanged(three: ScratchSources) -> None:
    """A dry run reads everything and records nothing."""
    three.write("b.json", "edited")
    result = three.scanner.scan_prompts(database=False, record=False)
    assert [prompt.text for prompt in result.prompts] == ["picture a", "edited", "picture c"]
    assert three.texts()[B] == "picture b"


def test_a_scan_of_keys_returns_their_items_as_they_are_now(three: ScratchSources) -> None:
    """An edited one, a deleted one that stays known, and an unreadable one that is not present."""
    folder = three.root / "data" / "prompt_json"
    three.write("a.json", "edited")
    (folder / "b.json").unlink()
    (folder / "c.json").write_text("{")
    result = three.scanner.scan_keys([C, B, A])
    assert [prompt.key for prompt in result.items.values()] == [C, B, A]
    assert result.gone == {B}
    assert {key: item.digest for key, item in result.present.items()} == {
        A: text_digest("edited"),
    }
    assert [problem.location for problem in result.problems] == [str(folder / "c.json")]


def test_one_actor_is_returned_as_it_is_now(project: ScratchSources) -> None:
    """Read now, unchanged, or None when it is gone."""
    path = project.root / "data" / "actors" / "one" / "actor.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"description": "an old sailor"}')
    project.settle()
    for _ in range(2):
        actor = project.scanner.scan_actor("one")
        assert actor is not None
        assert actor.description == "an old sailor"
    shutil.rmtree(path.parent)
    assert project.scanner.scan_actor("one") is None
