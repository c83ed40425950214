"""Picture files: whole or not there, never overwritten, each with a preview and a sidecar.

``PictureStore`` is the small interface that the engine needs; ``LocalStore`` keeps the
pictures in folders on this machine. Paths in the ledger are relative to the data folder
where they lie inside it, so that the folder can move.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from imagegen_pipeline.domain.errors import (
    NameTakenError,
    NotAPictureError,
    StoreError,
    UnreadableError,
)
from imagegen_pipeline.domain.image.decode import SUFFIXES, DecodedImage, decode_picture, to_png
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.storage.atomic_files import flush_folder, rename_durably, temporary_file

HIDDEN = ".imagegen"
"""The folder beside the pictures that holds their sidecars."""
LEAST_FREE_BYTES = 256 * 2**20
"""What must be free on the disk before a picture is bought: room for all that is in flight."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A whole picture on disk. ``path`` is as the ledger writes it; ``measures`` are what its
    checks go by, None where they are not known.
    """

    path: str
    digest: str
    width: int
    height: int
    bytes: int
    measures: dict[str, Any] | None = None

    @classmethod
    def of(cls, attempt: Attempt) -> StoredPicture:
        """The picture that a stored attempt has brought, as it was written down."""
        return cls(
            path=attempt.path or "",
            digest=attempt.digest or "",
            width=attempt.width or 0,
            height=attempt.height or 0,
            bytes=attempt.bytes or 0,
            measures=attempt.measures,
        )


class PictureStore(Protocol):
    """What the engine asks of a place that keeps pictures."""

    def keep(self, data: bytes, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """Decode, write whole and durable; raises NotAPictureError or StoreError."""

    def adopt(self, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture | None:
        """The whole picture of that name, if one was written before a crash."""

    def share(self, path: str, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """The same bytes under a second name."""

    def discard(self, copy: StoredPicture) -> None:
        """Take a second name that ``share`` gave away again; the picture stays."""

    def publish(self, stored: StoredPicture, target: str) -> list[str]:
        """Make ``target`` the current picture, keeping what it replaces; returns warnings."""

    def matches(self, path: str, digest: str) -> bool:
        """Whether the file is there with these bytes; raises UnreadableError."""

    def is_taken(self, folder: str, stem: str) -> bool:
        """Whether a picture of that name is there, whatever its suffix."""

    def check_room(self, folder: str) -> None:
        """Raise StoreError unless one more picture can be written to ``folder`` now."""

    def note_job(self, attempt: Attempt, job_id: str, endpoint: str) -> None:
        """Keep a job's name that the ledger could not take; raises StoreError."""

    def noted_job(self, attempt: Attempt) -> tuple[str, str] | None:
        """The job id and endpoint that were noted for this attempt."""

    def rescue(self, attempt: Attempt, data: bytes) -> None:
        """Keep the only copy of a picture that its folder could not take; raises StoreError."""

    def rescued(self, attempt: Attempt) -> bytes | None:
        """What was rescued for this attempt; raises StoreError."""

    def quarantine(self, data: bytes, stem: str, reason: str) -> str:
        """Keep bytes that were paid for and do not decode; returns where."""

    def absolute(self, path: str) -> Path:
        """The path of a ledger's path on this machine."""

    def preview(self, digest: str) -> bytes | None:
        """The small WebP of a stored picture."""


class LocalStore:
    """Pictures in folders below (or beside) ``root``, the data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._begun: set[str] = set()
        self._noticing = threading.Lock()

    def absolute(self, path: str) -> Path:
        """``root``/path; an absolute path stays as it is."""
        return self.root / path

    def relative(self, path: Path) -> str:
        """A path as the ledger writes it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def keep(self, data: bytes, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """See ``PictureStore.keep``. The file keeps the suffix of its real format."""
        picture = decode_picture(data)
        self._check_begun()
        place = self._folder(folder)
        target = place / f"{stem}{picture.suffix}"
        self._write_new(target, data, same_is_fine=True)
        self._remember(picture)
        return self._sidecar(picture, target, about)

    def adopt(self, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture | None:
        """See ``PictureStore.adopt``. The crash may have come before its sidecar."""
        for suffix in SUFFIXES.values():
            target = self.absolute(folder) / f"{stem}{suffix}"
            if not target.is_file():
                continue
            try:
                picture = decode_picture(target.read_bytes())
            except NotAPictureError:
                return None
            except OSError as error:  # it may be the paid picture: nothing is bought in its place
                raise UnreadableError(f"{target} cannot be read: {error.strerror}.") from error
            self._remember(picture)
            return self._sidecar(picture, target, about)
        return None

    def share(self, path: str, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """See ``PictureStore.share``: a hard link where the file system has them."""
        source = self.absolute(path)
        with _as_store_error(source, "read"):
            picture = decode_picture(source.read_bytes())
        target = self._folder(folder) / f"{stem}{picture.suffix}"
        try:
            os.link(source, target)
        except OSError:
            self._write_new(target, picture.data)
        else:
            with _as_store_error(target, "written"):
                flush_folder(target.parent)
        return self._sidecar(picture, target, about)

    def discard(self, copy: StoredPicture) -> None:
        """See ``PictureStore.discard``."""
        file = self.absolute(copy.path)
        with _as_store_error(file, "removed"):
            (file.parent / HIDDEN / f"{file.name}.json").unlink(missing_ok=True)
            file.unlink(missing_ok=True)

    def publish(self, stored: StoredPicture, target: str) -> list[str]:
        """See ``PictureStore.publish``. ``target`` is always PNG; others are converted."""
        goal, source = self.absolute(target), self.absolute(stored.path)
        warnings: list[str] = []
        with _as_store_error(goal, "written"):
            goal.parent.mkdir(parents=True, exist_ok=True)
            if goal.exists() and not self._is_kept(goal):
                kept = self._archive(goal)
                warnings.append(f"A picture that this program did not make was kept as {kept}.")
            png = source.with_suffix(".png")
            if not png.exists():
                self._write_new(png, to_png(source.read_bytes()))
            # A copy: people write over a file of a fixed name, and a link would take the
            # paid original in the history with it.
            spare = temporary_file(goal, png.read_bytes())
            try:
                spare.replace(goal)
            finally:
                spare.unlink(missing_ok=True)
            flush_folder(goal.parent)
        return warnings

    def _is_kept(self, goal: Path) -> bool:
        """Whether the file at ``goal`` stands in the history too."""
        digest, size = _file_digest(goal), goal.stat().st_size
        return any(
            other.stat().st_size == size and _file_digest(other) == digest
            for other in (goal.parent / "history").glob("*.png")
        )

    def _archive(self, goal: Path) -> Path:
        moment = time.strftime("%Y%m%d_%H%M%S", time.gmtime(goal.stat().st_mtime))
        stem, number = f"{goal.stem}_{moment}", 1
        kept = goal.parent / "history" / f"{stem}{goal.suffix}"
        while kept.exists():
            number += 1
            kept = kept.with_name(f"{stem}_{number}{goal.suffix}")
        self._write_new(kept, goal.read_bytes())
        return kept

    def matches(self, path: str, digest: str) -> bool:
        """See ``PictureStore.matches``: every byte is read."""
        file = self.absolute(path)
        try:
            return file.is_file() and _file_digest(file) == digest
        except OSError as error:
            raise UnreadableError(f"{file} cannot be read: {error.strerror or error}.") from error

    def is_taken(self, folder: str, stem: str) -> bool:
        """See ``PictureStore.is_taken``."""
        place = self.absolute(folder)
        # A link that leads nowhere takes its name, too.
        return any(os.path.lexists(place / f"{stem}{suffix}") for suffix in SUFFIXES.values())

    def check_room(self, folder: str) -> None:
        """See ``PictureStore.check_room``: the folder is there, and its disk has room."""
        self._check_begun()
        for place in (self._folder(folder), self.root):
            with _as_store_error(place, "written"):
                free = shutil.disk_usage(place).free
                if not os.access(place, os.W_OK):
                    raise OSError(errno.EACCES, "it cannot be written to")
            if free < LEAST_FREE_BYTES:
                raise StoreError(
                    f"The disk of {place} has {free / 2**20:,.0f} MB left; under "
                    f"{LEAST_FREE_BYTES / 2**20:,.0f} MB nothing is bought."
                )

    def check_writable(self, folder: str) -> None:
        """Raise StoreError if ``folder`` takes no files: before the first one is bought.

        From here on ``check_room`` sees when it vanishes.
        """
        place = self._folder(folder)
        with self._noticing:
            self._begun.add(folder)
        with _as_store_error(place, "written"), tempfile.TemporaryFile(dir=place) as file:
            file.write(b"room?")

    def _check_begun(self) -> None:
        with self._noticing:
            begun = [self.absolute(folder) for folder in self._begun]
        for place in begun:
            if not place.is_dir():
                raise StoreError(f"{place} has vanished since the work began.")

    def note_job(self, attempt: Attempt, job_id: str, endpoint: str) -> None:
        """See ``PictureStore.note_job``."""
        text = json.dumps({"job_id": job_id, "endpoint": endpoint}) + "\n"
        self._write_aside(self._aside(attempt, ".json"), text.encode())

    def noted_job(self, attempt: Attempt) -> tuple[str, str] | None:
        """See ``PictureStore.noted_job``."""
        file = self._aside(attempt, ".json")
        with _as_store_error(file, "read"):
            if not file.is_file():
                return None
            note = json.loads(file.read_text("utf-8"))
        return str(note["job_id"]), str(note["endpoint"])

    def rescue(self, attempt: Attempt, data: bytes) -> None:
        """See ``PictureStore.rescue``."""
        self._write_aside(self._aside(attempt, ".picture"), data)

    def rescued(self, attempt: Attempt) -> bytes | None:
        """See ``PictureStore.rescued``."""
        file = self._aside(attempt, ".picture")
        with _as_store_error(file, "read"):
            return file.read_bytes() if file.is_file() else None

    def _aside(self, attempt: Attempt, suffix: str) -> Path:
        """Where what belongs to an attempt is kept when its own place fails."""
        name = f"{attempt.id}-{attempt.sent_fingerprint[:16]}{suffix}"
        return self.root / HIDDEN / "aside" / name

    def _write_aside(self, file: Path, data: bytes) -> None:
        with _as_store_error(file, "written"):
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary_file(file, data).replace(file)
            flush_folder(file.parent)

    def quarantine(self, data: bytes, stem: str, reason: str) -> str:
        """See ``PictureStore.quarantine``: ``{root}/quarantine``, the reason beside it."""
        name = f"{stem}_{hashlib.sha256(data).hexdigest()[:8]}.bin"
        target = self._folder("quarantine") / name
        for file, content in ((target.with_suffix(".txt"), f"{reason}\n".encode()), (target, data)):
            if not file.exists():
                self._write_new(file, content)
        return str(target)

    def preview(self, digest: str) -> bytes | None:
        """See ``PictureStore.preview``."""
        file = self._preview_path(digest)
        with _as_store_error(file, "read"):
            return file.read_bytes() if file.is_file() else None

    def _preview_path(self, digest: str) -> Path:
        return self.root / HIDDEN / "previews" / digest[:2] / f"{digest}.webp"

    def _remember(self, picture: DecodedImage) -> None:
        file = self._preview_path(picture.digest)
        if not file.exists():
            with _as_store_error(file, "written"):
                file.parent.mkdir(parents=True, exist_ok=True)
                temporary_file(file, picture.preview).replace(file)

    def _sidecar(
        self, picture: DecodedImage, target: Path, about: Mapping[str, Any]
    ) -> StoredPicture:
        file = target.parent / HIDDEN / f"{target.name}.json"
        facts = {**about, "sha256": picture.digest, "file": target.name}
        text = json.dumps(facts, ensure_ascii=False, indent=2) + "\n"
        with _as_store_error(file, "written"):
            file.parent.mkdir(exist_ok=True)
            temporary_file(file, text.encode()).replace(file)
        return self._stored(picture, target)

    def _stored(self, picture: DecodedImage, target: Path) -> StoredPicture:
        return StoredPicture(
            path=self.relative(target),
            digest=picture.digest,
            width=picture.width,
            height=picture.height,
            bytes=len(picture.data),
            measures=picture.measures,
        )

    def _folder(self, folder: str) -> Path:
        place = self.absolute(folder)
        with _as_store_error(place, "made"):
            place.mkdir(parents=True, exist_ok=True)
        return place

    def _write_new(self, target: Path, data: bytes, *, same_is_fine: bool = False) -> None:
        """Write whole and durable, or leave nothing; an existing file is never overwritten.

        One that another process has written with the same bytes may be what is wanted.
        """
        with _as_store_error(target, "written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            spare = temporary_file(target, data)
            try:
                rename_durably(spare, target, flush=False)
            except FileExistsError:
                if not (same_is_fine and target.is_file() and target.read_bytes() == data):
                    raise NameTakenError(f"{target} is there already.") from None
            finally:
                spare.unlink(missing_ok=True)
            flush_folder(target.parent)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _as_store_error(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{path} cannot be {verb}: {reason}.") from error
