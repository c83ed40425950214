"""The store: pictures are on disk whole or not at all, and nothing that was paid for is lost."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen_pipeline.domain.errors import (
    NameTakenError,
    NotAPictureError,
    StoreError,
)
from imagegen_pipeline.domain.partition_keys import safe_file_stem
from imagegen_pipeline.simulator.damaged_pictures import render
from imagegen_pipeline.simulator.faults import Fault
from imagegen_pipeline.simulator.pictures import Recipe
from imagegen_pipeline.storage.pictures import LocalStore, StoredPicture

ABOUT = {"key": "db-1", "request": {"prompt": "Ein Füchslein"}}
BASE = "actors/mia/base_image/mia_base.png"
HISTORY = "actors/mia/base_image/history"


def picture(colour: str = "red", form: str = "PNG", size: tuple[int, int] = (64, 64)) -> bytes:
    """The bytes of a small picture."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, form)
    return out.getvalue()


def noise(form: str) -> bytes:
    """A picture that compresses badly, so that half of its bytes are not the whole."""
    out = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(out, form)
    return out.getvalue()


def bomb() -> bytes:
    """A small file that claims billions of pixels."""
    recipe = Recipe("a bomb", 1, (64, 64))
    return render(recipe, Fault("files", "download", "bomb"))[0]


def files_in(folder: Path) -> set[str]:
    """Every file below the folder, hidden ones too."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def pixel(path: Path) -> Any:
    """The colour of the picture's first pixel."""
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((0, 0))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store in an empty data folder."""
    return LocalStore(tmp_path / "data")


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, as some network drives are."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize(("form", "suffix"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_a_kept_picture_has_its_bytes_and_its_real_suffix(
    store: LocalStore, form: str, suffix: str
) -> None:
    """The bytes stay as they came, the suffix follows the real format, and the facts are right."""
    data = picture(form=form, size=(64, 48))
    stored = store.keep(data, "images", "db_fox", ABOUT)
    assert stored.path == f"images/db_fox.{suffix}"
    assert store.absolute(stored.path).read_bytes() == data
    assert (stored.width, stored.height, stored.bytes) == (64, 48, len(data))
    assert store.matches(stored.path, stored.digest)


def test_a_kept_picture_has_a_sidecar_and_a_preview(store: LocalStore) -> None:
    """What is known of a picture stands beside it as JSON, and a small WebP is at hand."""
    stored = store.keep(picture(size=(640, 640)), "images", "db_fox", ABOUT)
    sidecar = store.absolute("images/.imagegen/db_fox.png.json").read_text(encoding="utf-8")
    assert json.loads(sidecar) == {**ABOUT, "sha256": stored.digest, "file": "db_fox.png"}
    assert "Füchslein" in sidecar
    preview = store.preview(stored.digest)
    assert preview is not None
    with Image.open(io.BytesIO(preview)) as small:
        assert (small.format, small.size) == ("WEBP", (144, 144))
    assert store.preview("0" * 64) is None


def test_a_picture_outside_the_data_folder_has_an_absolute_path(
    store: LocalStore, tmp_path: Path
) -> None:
    """Paths in the ledger are relative only where the folder can move with the data."""
    stored = store.keep(picture(), str(tmp_path / "elsewhere"), "fox", ABOUT)
    assert stored.path == str(tmp_path / "elsewhere" / "fox.png")
    assert store.matches(stored.path, stored.digest)


@pytest.mark.parametrize("links", ["links", "no links"])
def test_nothing_is_ever_overwritten(
    store: LocalStore, links: str, request: pytest.FixtureRequest
) -> None:
    """A taken name is refused, with or without hard links, and the first picture stays."""
    if links == "no links":
        request.getfixturevalue("no_links")
    first = store.keep(picture("red"), "images", "fox", ABOUT)
    before = files_in(store.root / "images")
    with pytest.raises(NameTakenError, match=r"fox\.png already exists"):
        store.keep(picture("blue"), "images", "fox", {"key": "other"})
    assert store.matches(first.path, first.digest)
    assert files_in(store.root / "images") == before
    assert store.is_taken("images", "fox")
    assert not store.is_taken("images", "wolf")


def test_a_link_that_leads_nowhere_takes_its_name(store: LocalStore) -> None:
    """Nothing can be written there, so no picture is to be bought under that name."""
    folder = store.root / "images"
    folder.mkdir(parents=True)
    (folder / "fox.png").symlink_to("gone.png")
    assert store.is_taken("images", "fox")


def test_of_many_writers_of_one_name_one_wins(store: LocalStore) -> None:
    """Writers that race for a name leave one whole picture, and every other one is told."""
    colours = ["red", "green", "blue", "white", "black", "yellow"]
    won: list[StoredPicture] = []
    lost: list[NameTakenError] = []
    together = threading.Barrier(len(colours))

    def write(colour: str) -> None:
        data = picture(colour)
        together.wait(10)
        try:
            won.append(store.keep(data, "images", "fox", ABOUT))
        except NameTakenError as error:
            lost.append(error)

    threads = [threading.Thread(target=write, args=(colour,)) for colour in colours]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(won), len(lost)) == (1, len(colours) - 1)
    assert store.matches(won[0].path, won[0].digest)


@pytest.mark.parametrize("broken", ["fsync", "link"])
def test_a_write_that_fails_leaves_nothing(
    store: LocalStore, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up leaves no half picture, no leftovers, and an error that says so."""

    def fill_up(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, fill_up)
    if broken == "link":
        monkeypatch.setattr(Path, "replace", fill_up)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        store.keep(picture(), "images", "fox", ABOUT)
    assert (caught.value.kind, caught.value.stops_batch) == ("store", True)
    assert "Free space" in caught.value.remedy
    assert files_in(store.root) == set()


def test_without_hard_links_pictures_are_kept_all_the_same(
    store: LocalStore, no_links: None
) -> None:
    """The fallback writes the same whole file, readable by others, and leaves no spare behind."""
    stored = store.keep(picture(), "images", "fox", ABOUT)
    assert store.matches(stored.path, stored.digest)
    assert store.absolute(stored.path).stat().st_mode & 0o777 == 0o644
    assert files_in(store.root / "images") == {"fox.png", ".imagegen/fox.png.json"}


REFUSED: list[tuple[str, Callable[[], bytes], str]] = [
    ("nothing", lambda: b"", "there are none"),
    ("half a png", lambda: noise("PNG")[: len(noise("PNG")) // 2], "does not decode"),
    ("half a jpeg", lambda: noise("JPEG")[: len(noise("JPEG")) // 2], "does not decode"),
    ("half a webp", lambda: noise("WEBP")[: len(noise("WEBP")) // 2], "."),
    ("html", lambda: b"  <!DOCTYPE html><html>Just a moment", "web page"),
    ("svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    ("json", lambda: b'{"error": "expired"}', "JSON"),
    ("gif", lambda: picture(form="GIF"), "47 49 46"),
    ("bomb", bomb, "pixels"),
    ("text", lambda: b"hello, world", "68 65 6c"),
]


@pytest.mark.parametrize(
    ("make", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_is_no_whole_picture_is_refused(
    store: LocalStore, make: Callable[[], bytes], reason: str
) -> None:
    """Bytes that do not decode to a whole picture raise what they look like; nothing is written."""
    with pytest.raises(NotAPictureError, match=reason) as caught:
        store.keep(make(), "images", "fox", ABOUT)
    assert (caught.value.kind, caught.value.stops_batch) == ("not_a_picture", False)
    assert not store.root.exists()


def test_quarantine_keeps_the_bytes_and_the_reason(store: LocalStore) -> None:
    """What was paid for and does not decode stays for a look at it, each lot under its own name."""
    kept = Path(store.quarantine(b"<html>", "fox", "They look like a web page."))
    again = store.quarantine(b"<html>", "fox", "They look like a web page.")
    other = Path(store.quarantine(b"<svg>", "fox", "They look like SVG."))
    assert kept.read_bytes() == b"<html>"
    assert kept.with_suffix(".txt").read_text() == "They look like a web page.\n"
    assert (again, other.read_bytes()) == (str(kept), b"<svg>")
    assert kept.parent == store.root / "quarantine"
    assert len(files_in(kept.parent)) == 4


def test_a_whole_picture_from_before_a_crash_is_adopted(store: LocalStore) -> None:
    """A file of the attempt's name is taken over as if just stored, whatever its suffix."""
    stored = store.keep(picture(form="WEBP"), "images", "fox", ABOUT)
    assert LocalStore(store.root).adopt("images", "fox", {}) == stored
    assert store.preview(stored.digest) is not None


def test_only_whole_pictures_are_adopted(store: LocalStore) -> None:
    """No file, no folder, and half a file give nothing to adopt."""
    assert store.adopt("images", "fox", {}) is None
    half = store.absolute("images/fox.png")
    half.parent.mkdir(parents=True)
    half.write_bytes(noise("PNG")[:900])
    assert store.adopt("images", "fox", {}) is None
    assert half.exists()


def test_a_shared_picture_is_one_file_under_two_names(store: LocalStore) -> None:
    """Sharing takes a hard link: the same bytes, no more disk, and a sidecar of its own."""
    first = store.keep(picture(form="JPEG"), "images", "fox", ABOUT)
    second = store.share(first.path, "others", "wolf", {"key": "db-2"})
    assert second.path == "others/wolf.jpg"
    assert second.digest == first.digest
    assert store.absolute(second.path).samefile(store.absolute(first.path))
    sidecar = json.loads(store.absolute("others/.imagegen/wolf.jpg.json").read_text())
    assert sidecar["key"] == "db-2"


def test_sharing_copies_where_links_are_not_possible(store: LocalStore, no_links: None) -> None:
    """Without hard links the sharer has a copy that outlives the first file."""
    first = store.keep(picture(), "images", "fox", ABOUT)
    second = store.share(first.path, "others", "wolf", {"key": "db-2"})
    store.absolute(first.path).unlink()
    assert store.matches(second.path, first.digest)


def test_sharing_never_overwrites(store: LocalStore) -> None:
    """A taken name is refused to a sharer too; a picture that is gone cannot be shared."""
    first = store.keep(picture("red"), "images", "fox", ABOUT)
    taken = store.keep(picture("blue"), "images", "wolf", ABOUT)
    with pytest.raises(NameTakenError, match=r"wolf\.png already exists"):
        store.share(first.path, "images", "wolf", ABOUT)
    assert store.matches(taken.path, taken.digest)
    with pytest.raises(StoreError, match="cannot be read"):
        store.share("images/gone.png", "images", "owl", ABOUT)


@pytest.mark.parametrize("links", ["links", "no links"])
def test_the_first_published_picture_becomes_the_base(
    store: LocalStore, links: str, request: pytest.FixtureRequest
) -> None:
    """Publishing puts the picture under its fixed name, beside the one in the history."""
    if links == "no links":
        request.getfixturevalue("no_links")
    stored = store.keep(picture("red"), HISTORY, "mia_1", ABOUT)
    assert store.publish(stored, BASE) == []
    assert store.matches(BASE, stored.digest)
    assert store.matches(stored.path, stored.digest)
    assert store.publish(stored, BASE) == []
    folder = store.absolute(BASE).parent
    assert {name for name in files_in(folder) if ".imagegen" not in name} == {
        "mia_base.png",
        "history/mia_1.png",
    }


def test_a_replaced_base_stays_in_the_history(store: LocalStore) -> None:
    """The new picture takes the name, the old one keeps its own, and nobody need be warned."""
    old = store.keep(picture("red"), HISTORY, "mia_1", ABOUT)
    store.publish(old, BASE)
    new = store.keep(picture("blue"), HISTORY, "mia_2", ABOUT)
    assert store.publish(new, BASE) == []
    assert store.matches(BASE, new.digest)
    assert store.matches(old.path, old.digest)


def test_a_base_of_the_users_own_is_archived_with_a_warning(store: LocalStore) -> None:
    """A base picture that came from elsewhere is never lost: each goes to the history, named."""
    base = store.absolute(BASE)
    base.parent.mkdir(parents=True)
    kept = []
    for number, colour in enumerate(("green", "yellow")):
        own = picture(colour)
        base.write_bytes(own)
        os.utime(base, (1_000_000_000, 1_000_000_000))
        stored = store.keep(picture("red"), HISTORY, f"mia_{number}", ABOUT)
        (warning,) = store.publish(stored, BASE)
        assert store.matches(BASE, stored.digest)
        kept.append(own)
        assert "did not make was kept as" in warning
        assert Path(warning.split(" kept as ")[1].rstrip(".")).read_bytes() == own
    archived = sorted(store.absolute(HISTORY).glob("mia_base_*.png"))
    assert [file.name for file in archived] == [
        "mia_base_20010909_014640.png",
        "mia_base_20010909_014640_2.png",
    ]
    assert [file.read_bytes() for file in archived] == kept


def test_writing_over_the_base_leaves_the_paid_original(store: LocalStore) -> None:
    """A person may copy a file over the base: the picture in the history has its bytes still."""
    stored = store.keep(picture("red"), HISTORY, "mia_1", ABOUT)
    store.publish(stored, BASE)
    store.absolute(BASE).write_bytes(picture("green"))
    assert store.matches(stored.path, stored.digest)
    assert len(store.publish(stored, BASE)) == 1
    assert store.matches(BASE, stored.digest)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_base_is_always_png(store: LocalStore, form: str) -> None:
    """Another format is converted for the fixed name, while the original stays in the history."""
    stored = store.keep(picture("blue", form), HISTORY, "mia_1", ABOUT)
    store.publish(stored, BASE)
    with Image.open(store.absolute(BASE)) as image:
        assert (image.format, image.size) == ("PNG", (64, 64))
    red, _, blue = pixel(store.absolute(BASE))
    assert (red < 20, blue > 230) == (True, True)
    assert store.matches(stored.path, stored.digest)


def test_a_match_is_of_every_byte(store: LocalStore) -> None:
    """A file that is gone, or edited by one byte, does not match; no folder does either."""
    stored = store.keep(picture(), "images", "fox", ABOUT)
    data = store.absolute(stored.path).read_bytes()
    store.absolute(stored.path).write_bytes(data[:-1] + b"\x00")
    assert not store.matches(stored.path, stored.digest)
    assert not store.matches("images", stored.digest)
    assert not store.matches("images/gone.png", stored.digest)


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b\\c",
        "x\x00y",
        "C:\\x",
        "~root",
        "ü" * 300,
    ],
)
def test_no_name_leaves_its_folder(store: LocalStore, name: str) -> None:
    """Whatever a prompt is called, its picture lies in its folder, in plain sight."""
    stored = store.keep(picture(), "images", safe_file_stem(name), ABOUT)
    path = store.absolute(stored.path)
    assert path.resolve().parent == (store.root / "images").resolve()
    assert not path.name.startswith(".")
    assert files_in(store.root / "images") == {path.name, f".imagegen/{path.name}.json"}


@pytest.mark.parametrize("door", ["keep", "share", "publish", "quarantine", "sidecar", "preview"])
def test_a_folder_that_cannot_be_made_is_a_store_error(store: LocalStore, door: str) -> None:
    """A file in a folder's place stops the batch with the path and what to do, and stays."""
    stored = store.keep(picture(), "images", "fox", ABOUT)
    blocked = {"sidecar": "new/.imagegen", "preview": ".imagegen/previews"}.get(door, "blocked")
    place = store.absolute("quarantine" if door == "quarantine" else blocked)
    if door == "preview":
        place.rename(store.root / "moved")
    place.parent.mkdir(exist_ok=True)
    place.write_text("in the way")
    calls: dict[str, Callable[[], Any]] = {
        "keep": lambda: store.keep(picture(), "blocked", "wolf", ABOUT),
        "share": lambda: store.share(stored.path, "blocked/deep", "wolf", ABOUT),
        "publish": lambda: store.publish(stored, "blocked/base.png"),
        "quarantine": lambda: store.quarantine(b"x", "wolf", "why"),
        "sidecar": lambda: store.keep(picture("blue"), "new", "wolf", ABOUT),
        "preview": lambda: store.keep(picture("blue"), "new", "wolf", ABOUT),
    }
    with pytest.raises(StoreError, match="cannot be") as caught:
        calls[door]()
    assert caught.value.stops_batch
    assert "permissions" in caught.value.remedy
    assert place.read_text() == "in the way"
