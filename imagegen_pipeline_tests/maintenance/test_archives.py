"""Archives: written whole and read back before anything is removed; damage is never a picture."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from imagegen_pipeline.domain.errors import NameTakenError, StoreError, UnreadableError
from imagegen_pipeline.storage.archives import (
    CONTENTS,
    ArchiveEntry,
    digests_in,
    extract_picture,
    read_picture,
    write_archive,
)


def packed(file: Path, data: bytes, name: str = "") -> ArchiveEntry:
    """A file with these bytes, on its way into an archive."""
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return ArchiveEntry(file, name or file.name, digest, {"key": file.stem})


def test_an_archive_gives_back_the_very_bytes_and_says_what_they_are(tmp_path: Path) -> None:
    """What was packed is read by its digest; any ZIP tool finds it under its own path."""
    boat = packed(tmp_path / "boat.png", b"a boat" * 100, "generated_images/boat.png")
    pier = packed(tmp_path / "pier.png", b"a pier", "/mnt/else/pier.png")
    target = tmp_path / "archive" / "pictures.zip"
    assert write_archive(target, [boat, pier]) == [boat, pier]
    assert read_picture(target, boat.digest) == b"a boat" * 100
    assert set(digests_in(target)) == {boat.digest, pier.digest}
    with zipfile.ZipFile(target) as opened:
        assert opened.read("generated_images/boat.png") == b"a boat" * 100
        assert opened.read("mnt/else/pier.png") == b"a pier"
        (first, _) = json.loads(opened.read(CONTENTS))
    assert first == {
        "key": "boat",
        "path": "generated_images/boat.png",
        "sha256": boat.digest,
        "file": "generated_images/boat.png",
    }


def test_two_images_of_one_name_are_both_archived(tmp_path: Path) -> None:
    """An absolute and a relative path may have the same name in a ZIP."""
    one = packed(tmp_path / "one.png", b"one", "mnt/boat.png")
    two = packed(tmp_path / "two.png", b"two", "/mnt/boat.png")
    target = tmp_path / "pictures.zip"
    assert write_archive(target, [one, two]) == [one, two]
    assert read_picture(target, one.digest) == b"one"
    assert read_picture(target, two.digest) == b"two"


def test_a_copy_with_other_bytes_than_its_digest_is_left_out(tmp_path: Path) -> None:
    """Even if another file with that digest is archived."""
    one = packed(tmp_path / "one.png", b"same")
    two = packed(tmp_path / "two.png", b"same")
    two.file.write_bytes(b"edited")
    assert write_archive(tmp_path / "pictures.zip", [one, two]) == [one]


def test_equal_bytes_are_kept_once(tmp_path: Path) -> None:
    """Two names of one picture are one entry, and both are in the list."""
    one = packed(tmp_path / "one.png", b"same")
    two = packed(tmp_path / "two.png", b"same")
    target = tmp_path / "pictures.zip"
    assert write_archive(target, [one, two]) == [one, two]
    with zipfile.ZipFile(target) as opened:
        assert sorted(opened.namelist()) == ["one.png", CONTENTS]
        assert [one["path"] for one in json.loads(opened.read(CONTENTS))] == ["one.png", "two.png"]


def test_a_file_that_is_gone_or_has_changed_is_left_out(tmp_path: Path) -> None:
    """Only bytes with the recorded digest get in; with none of them there is no archive."""
    good = packed(tmp_path / "good.png", b"good")
    changed = packed(tmp_path / "changed.png", b"as it was")
    changed.file.write_bytes(b"edited")
    gone = packed(tmp_path / "gone.png", b"gone")
    gone.file.unlink()
    target = tmp_path / "pictures.zip"
    assert write_archive(target, [changed, good, gone]) == [good]
    assert write_archive(tmp_path / "none.zip", [changed, gone]) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        *("changed.png", "good.png", "pictures.zip"),
    ]


def test_an_archive_is_never_overwritten(tmp_path: Path) -> None:
    """A name that is taken is refused, and what is there stays as it is."""
    target = tmp_path / "pictures.zip"
    target.write_bytes(b"mine")
    with pytest.raises(NameTakenError):
        write_archive(target, [packed(tmp_path / "boat.png", b"a boat")])
    assert target.read_bytes() == b"mine"


def test_a_full_disk_leaves_no_archive(tmp_path: Path) -> None:
    """What cannot be written is a StoreError, and nothing half is left."""
    (tmp_path / "archive").write_text("a file where the folder should be")
    with pytest.raises(StoreError):
        write_archive(tmp_path / "archive" / "a.zip", [packed(tmp_path / "boat.png", b"a boat")])


@pytest.mark.parametrize("at", [0.0, 0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_damage_is_never_taken_for_the_picture(how: str, at: float, tmp_path: Path) -> None:
    """Wherever an archive is cut off or a byte of it flipped: the very bytes, or an error."""
    data = bytes(range(256)) * 20
    boat = packed(tmp_path / "boat.png", data)
    target = tmp_path / "pictures.zip"
    write_archive(target, [boat, packed(tmp_path / "pier.png", b"a pier" * 50)])
    whole = target.read_bytes()
    place = int(len(whole) * at)
    flipped = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
    target.write_bytes(whole[:place] if how == "cut" else flipped)
    found = None
    with contextlib.suppress(UnreadableError):
        found = read_picture(target, boat.digest)
    assert found in (None, data)
    assert found is None or how == "flipped"


def test_a_missing_archive_and_a_missing_picture_say_so(tmp_path: Path) -> None:
    """Both are UnreadableError: nobody may buy such a picture again by himself."""
    boat = packed(tmp_path / "boat.png", b"a boat")
    with pytest.raises(UnreadableError, match="is not there") as gone:
        read_picture(tmp_path / "none.zip", boat.digest)
    assert "Put it back" in gone.value.remedy
    target = tmp_path / "pictures.zip"
    write_archive(target, [boat])
    with pytest.raises(UnreadableError, match="has no whole picture"):
        read_picture(target, "0" * 64)


def test_bringing_back_overwrites_nothing(tmp_path: Path) -> None:
    """The bytes come back once; a second time is fine, and another file there is left alone."""
    boat = packed(tmp_path / "boat.png", b"a boat")
    archive, target = tmp_path / "pictures.zip", tmp_path / "back" / "boat.png"
    write_archive(archive, [boat])
    extract_picture(archive, target, boat.digest)
    extract_picture(archive, target, boat.digest)
    assert target.read_bytes() == b"a boat"
    target.write_bytes(b"somebody's own")
    with pytest.raises(NameTakenError):
        extract_picture(archive, target, boat.digest)
    assert target.read_bytes() == b"somebody's own"
    assert [one.name for one in target.parent.iterdir()] == ["boat.png"]
