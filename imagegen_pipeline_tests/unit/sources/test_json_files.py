"""A folder of JSON files → prompts."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from imagegen_pipeline.sources.json_files import LARGEST_FILE
from imagegen_pipeline.sources.source_reader import SourceReading
from imagegen_pipeline_tests.unit.sources.as_user import run_as_user
from imagegen_pipeline_tests.unit.sources.readings import (
    is_unread,
    items_of,
    only_problem,
    read_json_folder,
)

GOOD = b'{"image_prompt": "a cat"}'


def read_with(folder: Path, name: str, content: bytes) -> SourceReading:
    """A reading of a folder with a good file and one of this content."""
    (folder / "good.json").write_bytes(GOOD)
    (folder / name).write_bytes(content)
    reading = read_json_folder(folder)
    assert [prompt.text for prompt in items_of(reading)] == ["a cat"]
    assert reading.complete
    return reading


def test_prompt(tmp_path: Path) -> None:
    """A file becomes a prompt with its text exactly as written, and its names."""
    fields = {
        "image_prompt": "  a cat\n🐈 ",
        "pic_name": "cat.jpg",
        "image_url": "https://example.com/cat.jpg",
        "video_prompt": 7,
    }
    path = tmp_path / "A cat, [1].v2.json"
    path.write_text(json.dumps(fields))
    reading = read_json_folder(tmp_path)
    (prompt,) = items_of(reading)
    assert reading.problems == ()
    assert prompt.text == fields["image_prompt"]
    assert prompt.key.startswith("json-a-cat-1-v2-")
    assert (prompt.source, prompt.filename) == ("json", "A cat, [1].v2.json")
    assert (prompt.pic_name, prompt.image_url) == ("cat.jpg", "https://example.com/cat.jpg")
    assert (prompt.container, prompt.location) == (str(tmp_path), str(path))
    assert prompt.row_id is None


def test_optional_fields(tmp_path: Path) -> None:
    """Names that are no usable text count as absent and cost the prompt nothing."""
    (tmp_path / "a.json").write_text(
        '{"image_prompt": "a", "pic_name": 7, "image_url": "https://x/\\ud800"}'
    )
    (prompt,) = items_of(read_json_folder(tmp_path))
    assert (prompt.pic_name, prompt.image_url) == (None, None)


def test_order_and_what_is_left_out(tmp_path: Path) -> None:
    """Files come by name; hidden and other files, and sub-folders' files, are left out."""
    for name in ("b.json", "a.JSON", "C.Json", ".d.json", "e.txt", "json", "f.json~"):
        (tmp_path / name).write_bytes(GOOD)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "g.json").write_bytes(GOOD)
    reading = read_json_folder(tmp_path)
    assert [prompt.filename for prompt in items_of(reading)] == ["C.Json", "a.JSON", "b.json"]
    assert reading.problems == ()


def test_moved_folder_keeps_keys(tmp_path: Path) -> None:
    """A file that moves to another folder, or is edited, keeps its key."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "a.json").write_bytes(GOOD)
    (before,) = items_of(read_json_folder(old))
    old.rename(new)
    (new / "a.json").write_bytes(b'{"image_prompt": "a dog"}')
    (after,) = items_of(read_json_folder(new))
    assert before.key == after.key
    assert before.digest != after.digest


def test_relative_folder_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the folder is named, its container is the same."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    containers = {read_json_folder(Path(name)).container for name in ("real", "link", "./link/")}
    assert containers == {str((tmp_path / "real").resolve())}


@pytest.mark.parametrize(
    ("content", "shown_text"),
    [
        (b"", "is empty"),
        (b"\0" * 512, "only NUL bytes"),
        (b'{"image_prompt": "a",\n "b"}', "line 2, column 5"),
        (b'{"image_prompt": "a\nb"}', "Invalid control character."),
        (b'{"image_prompt": "a"} x', "Extra data"),
        ('{"image_prompt": "é"}'.encode("latin-1"), "not UTF-8 (byte 19 is 0xE9)"),
        ('{"image_prompt": "é"}'.encode("utf-16"), "UTF-16, not UTF-8"),
        ('{"image_prompt": "é"}'.encode("utf-16-be"), "UTF-16, not UTF-8"),
        ('{"image_prompt": "é"}'.encode("utf-32"), "UTF-32, not UTF-8"),
        (b'[{"image_prompt": "a"}]', "a list, not an object"),
        (b'"a cat"', "a text, not an object"),
        (b"null", "null, not an object"),
        (b'{"prompt": "a"}', "no image_prompt"),
        (b'{"image_prompt": null}', "null, not a text"),
        (b'{"image_prompt": ["a"]}', "a list, not a text"),
        (b'{"image_prompt": 7}', "a number, not a text"),
        (b'{"image_prompt": true}', "true or false, not a text"),
        (b'{"image_prompt": ""}', "is blank"),
        (b'{"image_prompt": " \\n\\u200b\\ufeff"}', "is blank"),
        (b'{"image_prompt": "a\\ud800b"}', "surrogate"),
        (b'{"image_prompt": "a\\u0000b"}', "NUL"),
        (b'{"image_prompt": "a", "b": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "too deep"),
        (b'{"image_prompt": "a", "b": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_file(tmp_path: Path, content: bytes, shown_text: str) -> None:
    """A bad file is one problem that says what is wrong with it; the good one is read."""
    problem = only_problem(read_with(tmp_path, "bad.json", content))
    assert shown_text in problem.message
    assert problem.location == str(tmp_path / "bad.json")


def test_byte_order_mark(tmp_path: Path) -> None:
    """UTF-8 with a byte order mark, as Windows' editors write it, is read."""
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + GOOD)
    (prompt,) = items_of(read_json_folder(tmp_path))
    assert prompt.text == "a cat"


def test_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    """An emoji written as two escapes, as many programs do, is one character."""
    (tmp_path / "a.json").write_bytes(b'{"image_prompt": "\\ud83d\\udc08"}')
    (prompt,) = items_of(read_json_folder(tmp_path))
    assert prompt.text == "🐈"


def test_large_file(tmp_path: Path) -> None:
    """A file of 20 MB is refused by its size, which is said beside the limit."""
    content = b'{"image_prompt": "' + b"a" * 20_000_000 + b'"}'
    problem = only_problem(read_with(tmp_path, "large.json", content))
    assert "20,000,020 bytes" in problem.message
    assert f"{LARGEST_FILE:,}" in problem.message


def test_limit_is_inclusive(tmp_path: Path) -> None:
    """A file of just the limit is read, one of a byte more is not."""
    (tmp_path / "a.json").write_bytes(GOOD)
    assert len(read_json_folder(tmp_path, max_bytes=len(GOOD)).source_items) == 1
    assert len(read_json_folder(tmp_path, max_bytes=len(GOOD) - 1).problems) == 1


def test_folder_in_the_files_place(tmp_path: Path) -> None:
    """A folder called x.json is a problem, not a stop."""
    (tmp_path / "x.json").mkdir()
    assert "a folder" in only_problem(read_json_folder(tmp_path)).message


def test_pipe_in_the_files_place(tmp_path: Path) -> None:
    """A pipe is not waited for."""
    os.mkfifo(tmp_path / "x.json")
    assert "a pipe" in only_problem(read_json_folder(tmp_path)).message


def test_links(tmp_path: Path) -> None:
    """A link to a file is followed; one to nothing, to itself or to a folder is a problem."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "cat").write_bytes(GOOD)
    for name, target in (("a", "../cat"), ("b", "nothing"), ("c", "c.json"), ("d", "..")):
        (folder / f"{name}.json").symlink_to(target)
    reading = read_json_folder(folder)
    assert [prompt.filename for prompt in items_of(reading)] == ["a.json"]
    shown_text = [problem.message for problem in reading.problems]
    assert [
        "does not exist" in shown_text[0],
        "symbolic links" in shown_text[1],
        "a folder" in shown_text[2],
    ] == [True] * 3


def test_unreadable_file(open_folder: Path) -> None:
    """A file without read permission is a problem."""
    (open_folder / "a.json").write_bytes(GOOD)
    (open_folder / "a.json").chmod(0)
    reading = run_as_user(lambda: read_json_folder(open_folder))
    assert "Permission denied" in only_problem(reading).message


def test_two_files_with_one_stem(tmp_path: Path) -> None:
    """Of two files with one stem the second by name is refused, naming both."""
    (tmp_path / "a.json").write_bytes(GOOD)
    (tmp_path / "a.JSON").write_bytes(b'{"image_prompt": "a dog"}')
    reading = read_json_folder(tmp_path)
    assert [prompt.filename for prompt in items_of(reading)] == ["a.JSON"]
    problem = only_problem(reading)
    assert "a.json" in problem.message
    assert "a.JSON" in problem.message
    assert problem.location == str(tmp_path / "a.json")


def test_two_files_with_one_normalized_stem(tmp_path: Path) -> None:
    """Names that differ only in how accents are stored are one stem."""
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "café.json")).write_bytes(GOOD)
    reading = read_json_folder(tmp_path)
    assert len(items_of(reading)) == 1
    assert "accents" in only_problem(reading).message


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    """A file name that is not UTF-8 is a problem whose line can be printed and stored."""
    name = b"caf\xe9.json"
    (tmp_path / os.fsdecode(name)).write_bytes(GOOD)
    problem = only_problem(read_json_folder(tmp_path))
    assert "not UTF-8" in problem.message
    assert r"caf\udce9.json" in problem.location


def test_name_with_a_line_break(tmp_path: Path) -> None:
    """A line break in a file's name does not break the problem's line."""
    (tmp_path / "a\nb.json").write_bytes(b"{")
    assert r"a\nb.json" in only_problem(read_json_folder(tmp_path)).line


def test_missing_folder(tmp_path: Path) -> None:
    """A missing folder is one problem, and nothing of it may be called gone."""
    reading = read_json_folder(tmp_path / "none")
    assert is_unread(reading)
    problem = only_problem(reading)
    assert "does not exist" in problem.message
    assert problem.location == str(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_not_a_folder(tmp_path: Path) -> None:
    """A file in the folder's place is one problem."""
    (tmp_path / "a.json").write_bytes(GOOD)
    reading = read_json_folder(tmp_path / "a.json")
    assert is_unread(reading)
    assert "not a folder" in only_problem(reading).message


@pytest.mark.parametrize("name", ["loop", "x" * 300, "nul\0"])
def test_unreadable_folder(tmp_path: Path, name: str) -> None:
    """A folder that the system does not list is one problem."""
    (tmp_path / "loop").symlink_to("loop")
    reading = read_json_folder(tmp_path / name)
    assert is_unread(reading)
    assert "cannot be read" in only_problem(reading).message


def test_forbidden_folder(open_folder: Path) -> None:
    """A folder without read permission is one problem."""
    folder = open_folder / "folder"
    folder.mkdir(mode=0o000)
    reading = run_as_user(lambda: read_json_folder(folder))
    assert is_unread(reading)
    assert "Permission denied" in only_problem(reading).message


def test_empty_folder(tmp_path: Path) -> None:
    """An empty folder was read: what it had before is gone."""
    assert read_json_folder(tmp_path) == SourceReading(str(tmp_path))
