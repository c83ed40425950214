"""A look at a folder opens what has changed, and no edit goes unseen."""

from __future__ import annotations

import os
import shutil

import pytest

from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.ledger import ScanPart
from imagegen_pipeline.sources import folder_scan, json_prompts
from imagegen_pipeline.sources.folder_scan import FolderScan
from imagegen_pipeline.sources.scan_results import ScanBudget
from imagegen_pipeline_tests.scanning.conftest import HOUR, Desk

A, B, C = (json_key(stem) for stem in "abc")


@pytest.fixture
def three(job_manager: Desk) -> Desk:
    """Three prompt files that were read, and left alone since."""
    for name in "abc":
        job_manager.write(f"{name}.json", f"picture {name}")
    job_manager.settle()
    assert job_manager.look().new == 3
    return job_manager


@pytest.fixture
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose clock does not move between two writes."""

    written: dict[tuple[int, int], int] = {}

    def stamp_of(about: os.stat_result) -> str:
        same = (about.st_ino, about.st_size)
        return f"{written.setdefault(same, about.st_ctime_ns):x}.{same}"

    monkeypatch.setattr(json_prompts, "stamp_of", stamp_of)


def test_what_is_as_it_was_is_not_opened(three: Desk) -> None:
    """The second look at an unchanged folder opens no file in it."""
    assert three.opened() == []


def test_only_the_file_that_has_changed_is_opened(three: Desk) -> None:
    """An edit is seen, and costs one file."""
    three.write("b.json", "another")
    assert three.opened() == ["b.json"]
    assert three.texts() == {A: "picture a", B: "another", C: "picture c"}


def test_a_file_that_was_written_just_now_is_opened_again(job_manager: Desk) -> None:
    """Its stamp is not believed until it has been left alone for a while."""
    job_manager.write("a.json", "picture a")
    assert [job_manager.opened(), job_manager.opened()] == [["a.json"], ["a.json"]]
    job_manager.clock.ahead = 3
    assert [job_manager.opened(), job_manager.opened()] == [["a.json"], []]


@pytest.mark.usefixtures("_coarse")
def test_a_second_write_within_the_clocks_tick_is_seen(job_manager: Desk) -> None:
    """A file that is written again with the same size and time, right after it was read."""
    job_manager.write("a.json", "first")
    job_manager.look()
    job_manager.write("a.json", "other")
    assert job_manager.look().changed == 1
    assert list(job_manager.texts().values()) == ["other"]


@pytest.mark.usefixtures("_coarse")
def test_no_stamp_is_believed_for_longer_than_a_day(job_manager: Desk) -> None:
    """An edit that leaves no trace at all in a file's stamp is seen on the next day."""
    job_manager.write("a.json", "first")
    job_manager.settle()
    job_manager.look()
    job_manager.write("a.json", "other")
    assert job_manager.look().changed == 0, "or this test shows nothing"
    job_manager.clock.ahead += 25 * HOUR
    assert job_manager.look().changed == 1
    assert job_manager.opened() == []


@pytest.mark.usefixtures("_coarse")
def test_a_person_who_asks_has_everything_read(job_manager: Desk) -> None:
    """A look afresh believes no stamp."""
    job_manager.write("a.json", "first")
    job_manager.settle()
    job_manager.look()
    job_manager.write("a.json", "other")
    assert job_manager.look(afresh=True).changed == 1


def test_the_same_text_again_changes_nothing_but_the_stamp(three: Desk) -> None:
    """A file that is saved as it was is read once more, and is no news."""
    before = three.ledger.items.get([B])
    three.write("b.json", "picture b")
    three.settle()
    look = three.look()
    assert (look.new, look.changed, look.gone) == (0, 0, 0)
    assert three.ledger.items.get([B]) == before
    assert three.ledger.items.last_sequence() == 3
    assert three.opened() == []


def test_what_leaves_the_folder_is_gone_and_what_comes_back_is_there(three: Desk) -> None:
    """A file that is deleted, or moved away and back with its old time."""
    path = three.root / "data" / "prompt_json" / "b.json"
    path.rename(three.root / "b.json")
    assert three.look().gone == 1
    assert three.gone(A, B, C) == {B}
    (three.root / "b.json").rename(path)
    three.look()
    assert three.gone(A, B, C) == set()
    assert three.opened() == []


def test_a_renamed_file_is_another_prompt_unless_its_stem_is_the_same(three: Desk) -> None:
    """The key comes from the stem: the suffix may change its case."""
    folder = three.root / "data" / "prompt_json"
    (folder / "a.json").rename(folder / "a.JSON")
    (folder / "b.json").rename(folder / "d.json")
    look = three.look()
    assert (look.new, look.changed, look.gone) == (1, 0, 1)
    assert set(three.texts()) == {A, json_key("d"), C}


def test_what_cannot_be_read_is_looked_at_again(three: Desk) -> None:
    """A problem stays in the list while it lasts, without the folder having changed."""
    path = three.root / "data" / "prompt_json" / "b.json"
    path.write_text("{")
    three.settle()
    assert [p.location for p in three.look().problems] == [str(path), str(three.database)]
    assert three.opened() == ["b.json"]
    assert three.problems() == ["b.json"]
    assert three.gone(B) == set()
    three.write("b.json", "mended")
    assert three.look().changed == 1
    assert three.problems() == []


def test_what_another_look_could_not_read_is_read_again(three: Desk) -> None:
    """A problem that passes by itself, such as a disk's, leaves no trace in the file's stamp."""
    path = three.root / "data" / "prompt_json" / "b.json"
    trouble = SourceProblem(str(path.parent), str(path), "The disk failed.", "Wait.")
    three.ledger.items.record_part(ScanPart("prompt", str(path.parent), problems=[trouble]))
    assert three.opened() == ["b.json"]
    assert three.problems() == []


def test_a_problem_goes_with_its_file(three: Desk) -> None:
    """What is deleted cannot be unreadable."""
    path = three.root / "data" / "prompt_json" / "b.json"
    path.write_text("{")
    three.look()
    path.unlink()
    assert three.look().gone == 1
    assert three.problems() == []


def test_of_two_files_with_one_stem_the_first_is_used_at_every_look(three: Desk) -> None:
    """The second is a problem for as long as both are there, and takes its place then."""
    three.write("a.JSON", "the first by name")
    three.look()
    assert three.texts()[A] == "the first by name"
    assert three.problems() == ["a.json"]
    three.look()
    assert (three.texts()[A], three.problems()) == ("the first by name", ["a.json"])
    (three.root / "data" / "prompt_json" / "a.JSON").unlink()
    three.look()
    assert (three.texts()[A], three.problems()) == ("picture a", [])


def test_a_look_that_runs_out_of_time_is_gone_on_with(
    three: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look reads a portion at least; none is left out, and none is read twice."""
    monkeypatch.setattr(folder_scan, "PORTION", 2)
    for number in range(5):
        three.write(f"n{number}.json", f"number {number}")
    three.settle()
    opened = [three.opened(0) for _ in range(4)]
    assert [len(names) for names in opened] == [2, 2, 1, 0]
    assert len(three.texts()) == 8


def test_a_folder_that_is_away_makes_nothing_gone(three: Desk) -> None:
    """An unmounted disk is a problem while it lasts, and nothing is news when it is back."""
    folder = three.root / "data" / "prompt_json"
    folder.rename(three.root / "away")
    look = three.look()
    assert [problem.location for problem in look.unreadable] == [str(folder), str(three.database)]
    assert three.gone(A, B, C) == set()
    (three.root / "away").rename(folder)
    look = three.look()
    assert (look.new, look.changed, look.gone) == (0, 0, 0)
    assert str(folder) not in [problem.location for problem in look.problems]


def test_an_item_that_a_command_read_elsewhere_is_taken_back(three: Desk) -> None:
    """A file of the same name in another folder does not hide this one for good."""
    elsewhere = three.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.json").write_text('{"image_prompt": "from elsewhere"}')
    three.sources.scan_prompts(database=False, json_dir=elsewhere)
    assert three.texts()[B] == "from elsewhere"
    three.look()
    assert three.texts()[B] == "picture b"


@pytest.mark.usefixtures("_coarse")
def test_two_processes_that_look_at_once_hide_nothing(three: Desk) -> None:
    """What one saw while the other was at it is looked at again, not believed."""
    path = three.root / "data" / "prompt_json" / "b.json"
    three.write("c.json", "another one")
    three.settle()

    class Folder(json_prompts.JsonFolder):
        """While its changed file is read, another process looks when ``b.json`` is away."""

        def read(self, name: str, key: str) -> Prompt | SourceProblem:
            path.rename(three.root / "b.json")
            three.look()
            (three.root / "b.json").rename(path)
            return super().read(name, key)

    FolderScan(three.ledger, three.clock, "prompt", Folder(path.parent)).look(
        ScanBudget(three.clock)
    )
    assert three.gone(B) == {B}, "or this test shows nothing"
    three.look()
    assert three.texts() == {A: "picture a", B: "picture b", C: "another one"}


def test_actors_are_looked_at_the_same_way(job_manager: Desk) -> None:
    """Only the actor who has changed is read; one whose file is deleted is gone, and a problem."""
    folder = job_manager.root / "data" / "actors"
    for name in ("one", "two", "three"):
        (folder / name).mkdir(parents=True)
        (folder / name / "actor.json").write_text('{"description": "an old sailor"}')
    job_manager.settle()
    assert job_manager.sources.look()["actor"].new == 3
    assert job_manager.opened() == []
    (folder / "two" / "actor.json").write_text('{"description": "a young sailor"}')
    assert job_manager.opened() == ["actor.json"]
    assert job_manager.ledger.items.get(["two"])["two"].revision == 2
    (folder / "two" / "actor.json").unlink()
    assert job_manager.sources.look()["actor"].gone == 1
    assert job_manager.problems() == ["two"]
    shutil.rmtree(folder / "two")
    job_manager.look()
    assert job_manager.problems() == []


def test_an_actors_folder_that_becomes_a_link_outside_is_refused(job_manager: Desk) -> None:
    """A link is noticed although ``actor.json`` is the same file as before."""
    folder = job_manager.root / "data" / "actors" / "one"
    (folder / "base_image").mkdir(parents=True)
    (folder / "actor.json").write_text('{"description": "an old sailor"}')
    job_manager.settle()
    job_manager.look()
    (folder / "base_image").rmdir()
    (folder / "base_image").symlink_to(job_manager.root)
    job_manager.look()
    assert job_manager.gone("one") == {"one"}
    assert job_manager.problems() == ["one"]
