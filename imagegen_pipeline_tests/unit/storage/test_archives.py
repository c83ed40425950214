"""Archives: complete and verified, or absent; damaged bytes are never returned as an image."""

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


def entry(file: Path, data: bytes, name: str = "") -> ArchiveEntry:
    """An archive entry of a new file with these bytes."""
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return ArchiveEntry(file, name or file.name, digest, {"key": file.stem})


def test_an_archive_returns_the_same_bytes_and_describes_them(tmp_path: Path) -> None:
    """An image is read by its digest; a ZIP tool shows it under its path."""
    boat = entry(tmp_path / "boat.png", b"a boat" * 100, "generated_images/boat.png")
    pier = entry(tmp_path / "pier.png", b"a pier", "/mnt/else/pier.png")
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
    one = entry(tmp_path / "one.png", b"one", "mnt/boat.png")
    two = entry(tmp_path / "two.png", b"two", "/mnt/boat.png")
    target = tmp_path / "pictures.zip"
    assert write_archive(target, [one, two]) == [one, two]
    assert read_picture(target, one.digest) == b"one"
    assert read_picture(target, two.digest) == b"two"


def test_a_copy_with_other_bytes_than_its_digest_is_left_out(tmp_path: Path) -> None:
    """Even if another file with that digest is archived."""
    one = entry(tmp_path / "one.png", b"same")
    two = entry(tmp_path / "two.png", b"same")
    two.file.write_bytes(b"edited")
    assert write_archive(tmp_path / "pictures.zip", [one, two]) == [one]


def test_equal_bytes_are_stored_once(tmp_path: Path) -> None:
    """Two paths of one image share an entry, and both are in the list of contents."""
    one = entry(tmp_path / "one.png", b"same")
    two = entry(tmp_path / "two.png", b"same")
    target = tmp_path / "pictures.zip"
    assert write_archive(target, [one, two]) == [one, two]
    with zipfile.ZipFile(target) as opened:
        assert sorted(opened.namelist()) == ["one.png", CONTENTS]
        assert [one["path"] for one in json.loads(opened.read(CONTENTS))] == ["one.png", "two.png"]


def test_a_missing_or_changed_file_is_left_out(tmp_path: Path) -> None:
    """Only bytes with the recorded digest are archived; without any no archive is written."""
    good = entry(tmp_path / "good.png", b"good")
    changed = entry(tmp_path / "changed.png", b"as it was")
    changed.file.write_bytes(b"edited")
    gone = entry(tmp_path / "gone.png", b"gone")
    gone.file.unlink()
    target = tmp_path / "pictures.zip"
    assert write_archive(target, [changed, good, gone]) == [good]
    assert write_archive(tmp_path / "none.zip", [changed, gone]) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        *("changed.png", "good.png", "pictures.zip"),
    ]


def test_an_archive_is_never_overwritten(tmp_path: Path) -> None:
    """An existing file is refused and kept."""
    target = tmp_path / "pictures.zip"
    target.write_bytes(b"mine")
    with pytest.raises(NameTakenError):
        write_archive(target, [entry(tmp_path / "boat.png", b"a boat")])
    assert target.read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_leaves_no_archive(tmp_path: Path) -> None:
    """The error is a StoreError, and no partial file is left."""
    (tmp_path / "archive").write_text("a file where the folder should be")
    with pytest.raises(StoreError):
        write_archive(tmp_path / "archive" / "a.zip", [entry(tmp_path / "boat.png", b"a boat")])


@pytest.mark.parametrize("at", [0.0, 0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_damaged_bytes_are_never_returned(how: str, at: float, tmp_path: Path) -> None:
    """Wherever an archive is truncated or a byte is flipped: the original bytes or an error."""
    data = bytes(range(256)) * 20
    boat = entry(tmp_path / "boat.png", data)
    target = tmp_path / "pictures.zip"
    write_archive(target, [boat, entry(tmp_path / "pier.png", b"a pier" * 50)])
    whole = target.read_bytes()
    position = int(len(whole) * at)
    flipped = whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :]
    target.write_bytes(whole[:position] if how == "cut" else flipped)
    found = None
    with contextlib.suppress(UnreadableError):
        found = read_picture(target, boat.digest)
    assert found in (None, data)
    assert found is None or how == "flipped"


def test_a_missing_archive_or_image_is_an_unreadable_error(tmp_path: Path) -> None:
    """Such an image must not be bought again automatically."""
    boat = entry(tmp_path / "boat.png", b"a boat")
    with pytest.raises(UnreadableError, match="is missing") as gone:
        read_picture(tmp_path / "none.zip", boat.digest)
    assert "Put it back" in gone.value.remedy
    target = tmp_path / "pictures.zip"
    write_archive(target, [boat])
    with pytest.raises(UnreadableError, match="has no complete image"):
        read_picture(target, "0" * 64)


def test_extracting_overwrites_nothing(tmp_path: Path) -> None:
    """Extracting twice is accepted; a different file is kept."""
    boat = entry(tmp_path / "boat.png", b"a boat")
    archive, target = tmp_path / "pictures.zip", tmp_path / "back" / "boat.png"
    write_archive(archive, [boat])
    extract_picture(archive, target, boat.digest)
    extract_picture(archive, target, boat.digest)
    assert target.read_bytes() == b"a boat"
    target.write_bytes(b"a file of the user")
    with pytest.raises(NameTakenError):
        extract_picture(archive, target, boat.digest)
    assert target.read_bytes() == b"a file of the user"
    assert [one.name for one in target.parent.iterdir()] == ["boat.png"]
