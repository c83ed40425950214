"""A folder of actors → actors."""

import json
import os
from pathlib import Path

import pytest

from imagegen_pipeline_tests.unit.sources.as_user import run_as_user
from imagegen_pipeline_tests.unit.sources.readings import (
    is_unread,
    items_of,
    only_problem,
    read_actors,
)

DESCRIPTION = "european 25 year old male with short brown hair and blue eyes"


def write_actor(folder: Path, name: str, fields: object = None) -> Path:
    """An actor's file with these fields, or with a description only."""
    path = folder / name / "actor.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"description": DESCRIPTION} if fields is None else fields))
    return path


def test_actor(tmp_path: Path) -> None:
    """A folder becomes an actor with what its file says; other fields are left alone."""
    fields = {"description": f" {DESCRIPTION}\n", "width": 1360, "height": 768, "steps": 30}
    path = write_actor(tmp_path, "0100_european_25_male", {**fields, "seed": 2**64 - 1, "age": 25})
    reading = read_actors(tmp_path)
    (actor,) = items_of(reading)
    assert (reading.problems, reading.complete) == ((), True)
    assert actor.key == "0100_european_25_male"
    assert actor.description == fields["description"]
    assert (actor.width, actor.height, actor.steps, actor.seed) == (1360, 768, 30, 2**64 - 1)
    assert (actor.container, actor.location) == (str(tmp_path), str(path))


def test_defaults(tmp_path: Path) -> None:
    """Size, steps and seed may be left out."""
    write_actor(tmp_path, "a")
    (actor,) = items_of(read_actors(tmp_path))
    assert (actor.width, actor.height, actor.steps, actor.seed) == (1024, 1536, 25, -1)


def test_order_and_what_is_left_out(tmp_path: Path) -> None:
    """Actors come by folder name; hidden folders and plain files are left out."""
    for name in ("b", "a", "C", ".git"):
        write_actor(tmp_path, name)
    (tmp_path / ".gitignore").write_text("*")
    (tmp_path / "notes.txt").write_text("no actor")
    (tmp_path / "more.txt").symlink_to("notes.txt")
    reading = read_actors(tmp_path)
    assert [actor.name for actor in items_of(reading)] == ["C", "a", "b"]
    assert reading.problems == ()


@pytest.mark.parametrize(
    ("fields", "shown_text"),
    [
        ({}, "no description"),
        ({"description": None}, "description is null"),
        ({"description": 7}, "description is a number"),
        ({"description": " \u200b"}, "description is blank"),
        ({"description": "a\0"}, "description holds a NUL"),
        ({"width": "1024"}, "width is a text, not a whole number"),
        ({"height": 1536.0}, "height is a number, not a whole number"),
        ({"steps": True}, "steps is true or false"),
        ({"seed": None}, "seed is null"),
        ({"width": 1001}, "1001"),
        ({"height": 0}, "height 0"),
        ({"width": -1024}, "width -1024"),
        ({"height": 16400}, "16400"),
        ({"steps": 0}, "steps 0"),
        ({"steps": 10001}, "steps 10001"),
        ({"seed": -2}, "seed -2"),
        ({"seed": 2**64}, "seed 18446744073709551616"),
        ([], "a list, not an object"),
    ],
    ids=str,
)
def test_bad_fields(tmp_path: Path, fields: object, shown_text: str) -> None:
    """A field of the wrong type or range is one problem that names it; the others are read."""
    if isinstance(fields, dict) and fields and "description" not in fields:
        fields = {"description": DESCRIPTION, **fields}
    write_actor(tmp_path, "good")
    path = write_actor(tmp_path, "bad", fields)
    reading = read_actors(tmp_path)
    assert [actor.name for actor in items_of(reading)] == ["good"]
    problem = only_problem(reading)
    assert shown_text in problem.message
    assert problem.location == str(path)


@pytest.mark.parametrize(
    "fields",
    [{"width": 16, "height": 16384}, {"steps": 1}, {"steps": 10000}, {"seed": -1}, {"seed": 0}],
    ids=str,
)
def test_limits_are_inclusive(tmp_path: Path, fields: dict[str, int]) -> None:
    """The smallest and the largest values that the graph takes are taken."""
    write_actor(tmp_path, "a", {"description": DESCRIPTION, **fields})
    (actor,) = items_of(read_actors(tmp_path))
    assert {name: getattr(actor, name) for name in fields} == fields


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Every field at fault is named in one line, so that one edit repairs the file."""
    write_actor(tmp_path, "a", {"width": "1024", "height": 9, "seed": -7, "steps": 0})
    message = only_problem(read_actors(tmp_path)).message
    for name in ("description", "width", "height", "seed", "steps"):
        assert name in message


@pytest.mark.parametrize("name", ["Jean Luc", "a.b", "é", "a\nb", os.fsdecode(b"\xe9")])
def test_folder_name_that_is_no_key(tmp_path: Path, name: str) -> None:
    """A folder whose name cannot be a key is a problem that says which names can."""
    write_actor(tmp_path, name)
    problem = only_problem(read_actors(tmp_path))
    assert "cannot be an actor's folder name" in problem.message
    assert "A-Z" in problem.remedy


def test_folder_without_file(tmp_path: Path) -> None:
    """A folder without actor.json is a problem that shows how to write one."""
    (tmp_path / "a" / "base_image").mkdir(parents=True)
    problem = only_problem(read_actors(tmp_path))
    assert problem.location == str(tmp_path / "a")
    assert "no actor.json" in problem.message
    assert '{"description": "' in problem.remedy


@pytest.mark.parametrize(
    ("content", "shown_text"),
    [
        (b'{"description": ', "line 1, column 17"),
        (b'{"description": "\xe9"}', "not UTF-8"),
        (b"", "is empty"),
        (b'{"description": "' + b"a" * 1024 * 1024 + b'"}', "the limit is 1,048,576"),
    ],
    ids=["broken", "latin-1", "empty", "large"],
)
def test_bad_file(tmp_path: Path, content: bytes, shown_text: str) -> None:
    """An actor.json that is no JSON object, or too large, is a problem."""
    write_actor(tmp_path, "a").write_bytes(content)
    assert shown_text in only_problem(read_actors(tmp_path)).message


def test_folder_in_the_files_place(tmp_path: Path) -> None:
    """A folder called actor.json is a problem."""
    (tmp_path / "a" / "actor.json").mkdir(parents=True)
    assert "a folder" in only_problem(read_actors(tmp_path)).message


def test_links(tmp_path: Path) -> None:
    """A link within the actors' folder is followed; one out of it, or to nothing, is a problem."""
    folder = tmp_path / "actors"
    write_actor(folder, "real")
    write_actor(tmp_path, "outside")
    for name, target in (("alias", "real"), ("broken", "none"), ("leads_out", "../outside")):
        (folder / name).symlink_to(target)
    (folder / "top").symlink_to("../actors")
    reading = read_actors(folder)
    assert [actor.name for actor in items_of(reading)] == ["alias", "real"]
    broken, out, top = reading.problems
    assert "cannot be opened" in broken.message
    assert "leads outside" in out.message
    assert "leads outside" in top.message


def test_link_to_the_actors_folder(tmp_path: Path) -> None:
    """The actors' folder itself may be a link."""
    write_actor(tmp_path / "real", "a")
    (tmp_path / "link").symlink_to("real")
    reading = read_actors(tmp_path / "link")
    assert [actor.name for actor in items_of(reading)] == ["a"]
    assert reading.container == str(tmp_path / "real")


def test_unreadable_actor(open_folder: Path) -> None:
    """A sub-folder without read permission is a problem; the others are read."""
    write_actor(open_folder, "a")
    write_actor(open_folder, "b").parent.chmod(0)
    reading = run_as_user(lambda: read_actors(open_folder))
    (open_folder / "b").chmod(0o700)
    assert [actor.name for actor in items_of(reading)] == ["a"]
    assert "Permission denied" in only_problem(reading).message


@pytest.mark.parametrize(
    ("name", "shown_text"),
    [("none", "does not exist"), ("file", "not a folder"), ("loop", "cannot be read")],
)
def test_unreadable_folder(tmp_path: Path, name: str, shown_text: str) -> None:
    """An actors' folder that cannot be listed is one problem, and no actor is gone for it."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    reading = read_actors(tmp_path / name)
    assert is_unread(reading)
    problem = only_problem(reading)
    assert shown_text in problem.message
    assert "IMAGEGEN_ACTORS_DIR" in problem.remedy
