"""Image files: complete or absent, never overwritten, each with a preview and a sidecar.

``PictureStore`` is the interface that the engine uses. ``LocalStore`` stores the images in local
folders. Ledger paths inside the data folder are relative to it, so that the folder can be moved.
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
"""The folder beside the images that holds their sidecars."""
LEAST_FREE_BYTES = 256 * 2**20
"""Free disk space required before an image is requested: enough for all requests in flight."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A complete image on disk.

    ``path`` is the ledger's path; ``measures`` are the metrics for its checks, None if unknown.
    """

    path: str
    digest: str
    width: int
    height: int
    bytes: int
    measures: dict[str, Any] | None = None

    @classmethod
    def of(cls, attempt: Attempt) -> StoredPicture:
        """The image of a stored attempt, as the ledger has it."""
        return cls(
            path=attempt.path or "",
            digest=attempt.digest or "",
            width=attempt.width or 0,
            height=attempt.height or 0,
            bytes=attempt.bytes or 0,
            measures=attempt.measures,
        )


class PictureStore(Protocol):
    """The storage interface that the engine uses."""

    def keep(self, data: bytes, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """Decode and write an image durably; raises NotAPictureError or StoreError."""

    def adopt(self, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture | None:
        """The complete image of that name, if one was written before a crash."""

    def share(self, path: str, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """The same bytes under a second name."""

    def discard(self, copy: StoredPicture) -> None:
        """Remove a name that ``share`` has added; the image stays."""

    def publish(self, stored: StoredPicture, target: str) -> list[str]:
        """Make ``target`` the current image and keep the one it replaces; returns warnings."""

    def matches(self, path: str, digest: str) -> bool:
        """Whether the file exists with these bytes; raises UnreadableError."""

    def is_taken(self, folder: str, stem: str) -> bool:
        """Whether an image of that name exists, with any suffix."""

    def check_free_space(self, folder: str) -> None:
        """Raise StoreError unless one more image can be written to ``folder`` now."""

    def note_job(self, attempt: Attempt, job_id: str, endpoint: str) -> None:
        """Write a job's id that the ledger could not store; raises StoreError."""

    def noted_job(self, attempt: Attempt) -> tuple[str, str] | None:
        """The job id and endpoint that ``note_job`` wrote for this attempt."""

    def rescue(self, attempt: Attempt, data: bytes) -> None:
        """Write an image that its folder could not store elsewhere; raises StoreError."""

    def rescued(self, attempt: Attempt) -> bytes | None:
        """The bytes that ``rescue`` wrote for this attempt; raises StoreError."""

    def quarantine(self, data: bytes, stem: str, reason: str) -> str:
        """Store paid bytes that do not decode; returns their path."""

    def absolute(self, path: str) -> Path:
        """The absolute path of a ledger path."""

    def preview(self, digest: str) -> bytes | None:
        """The preview (WebP) of a stored image."""


class LocalStore:
    """Images in folders below (or beside) ``root``, the data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._begun: set[str] = set()
        self._begun_lock = threading.Lock()

    def absolute(self, path: str) -> Path:
        """``root``/path; an absolute path is returned unchanged."""
        return self.root / path

    def relative(self, path: Path) -> str:
        """A path in the ledger's form."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def keep(self, data: bytes, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture:
        """See ``PictureStore.keep``. The file has the suffix of its actual format."""
        picture = decode_picture(data)
        self._check_begun()
        target = self._folder(folder) / f"{stem}{picture.suffix}"
        self._write_new(target, data, allow_same=True)
        self._write_preview(picture)
        return self._sidecar(picture, target, about)

    def adopt(self, folder: str, stem: str, about: Mapping[str, Any]) -> StoredPicture | None:
        """See ``PictureStore.adopt``. A missing sidecar is written."""
        for suffix in SUFFIXES.values():
            target = self.absolute(folder) / f"{stem}{suffix}"
            if not target.is_file():
                continue
            try:
                picture = decode_picture(target.read_bytes())
            except NotAPictureError:
                return None
            except OSError as error:  # it may be the paid image: do not buy another
                raise UnreadableError(f"{target} cannot be read: {error.strerror}.") from error
            self._write_preview(picture)
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
            if goal.exists() and not self._is_in_history(goal):
                kept = self._archive(goal)
                warnings.append(f"An image that this program did not make was kept as {kept}.")
            png = source.with_suffix(".png")
            if not png.exists():
                self._write_new(png, to_png(source.read_bytes()))
            # A copy, since users overwrite a file of a fixed name. Through a link that would
            # overwrite the paid original in the history, too.
            temporary = temporary_file(goal, png.read_bytes())
            try:
                temporary.replace(goal)
            finally:
                temporary.unlink(missing_ok=True)
            flush_folder(goal.parent)
        return warnings

    def _is_in_history(self, goal: Path) -> bool:
        """Whether the history has the bytes of ``goal``."""
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
        path = self.absolute(folder)
        # A broken link takes its name, too.
        return any(os.path.lexists(path / f"{stem}{suffix}") for suffix in SUFFIXES.values())

    def check_free_space(self, folder: str) -> None:
        """See ``PictureStore.check_free_space``: the folder is writable and its disk has space."""
        self._check_begun()
        for path in (self._folder(folder), self.root):
            with _as_store_error(path, "written"):
                free = shutil.disk_usage(path).free
                if not os.access(path, os.W_OK):
                    raise OSError(errno.EACCES, "it cannot be written to")
            if free < LEAST_FREE_BYTES:
                raise StoreError(
                    f"The disk of {path} has {free / 2**20:,.0f} MB left; under "
                    f"{LEAST_FREE_BYTES / 2**20:,.0f} MB nothing is bought."
                )

    def check_writable(self, folder: str) -> None:
        """Raise StoreError if no file can be written to ``folder``.

        From then on ``check_free_space`` also raises it if the folder disappears.
        """
        path = self._folder(folder)
        with self._begun_lock:
            self._begun.add(folder)
        with _as_store_error(path, "written"), tempfile.TemporaryFile(dir=path) as file:
            file.write(b"test")

    def _check_begun(self) -> None:
        with self._begun_lock:
            begun = [self.absolute(folder) for folder in self._begun]
        for path in begun:
            if not path.is_dir():
                raise StoreError(f"{path} has vanished since the work began.")

    def note_job(self, attempt: Attempt, job_id: str, endpoint: str) -> None:
        """See ``PictureStore.note_job``."""
        text = json.dumps({"job_id": job_id, "endpoint": endpoint}) + "\n"
        self._write_rescue(self._rescue_path(attempt, ".json"), text.encode())

    def noted_job(self, attempt: Attempt) -> tuple[str, str] | None:
        """See ``PictureStore.noted_job``."""
        file = self._rescue_path(attempt, ".json")
        with _as_store_error(file, "read"):
            if not file.is_file():
                return None
            note = json.loads(file.read_text("utf-8"))
        return str(note["job_id"]), str(note["endpoint"])

    def rescue(self, attempt: Attempt, data: bytes) -> None:
        """See ``PictureStore.rescue``."""
        self._write_rescue(self._rescue_path(attempt, ".picture"), data)

    def rescued(self, attempt: Attempt) -> bytes | None:
        """See ``PictureStore.rescued``."""
        file = self._rescue_path(attempt, ".picture")
        with _as_store_error(file, "read"):
            return file.read_bytes() if file.is_file() else None

    def _rescue_path(self, attempt: Attempt, suffix: str) -> Path:
        """Where an attempt's data is written if the ledger or the image's folder fails."""
        name = f"{attempt.id}-{attempt.sent_fingerprint[:16]}{suffix}"
        return self.root / HIDDEN / "aside" / name

    def _write_rescue(self, file: Path, data: bytes) -> None:
        with _as_store_error(file, "written"):
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary_file(file, data).replace(file)
            flush_folder(file.parent)

    def quarantine(self, data: bytes, stem: str, reason: str) -> str:
        """See ``PictureStore.quarantine``: ``{root}/quarantine``, with the reason in a text."""
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

    def _write_preview(self, picture: DecodedImage) -> None:
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
        path = self.absolute(folder)
        with _as_store_error(path, "made"):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def _write_new(self, target: Path, data: bytes, *, allow_same: bool = False) -> None:
        """Write a file atomically and durably, without overwriting.

        Raises NameTakenError if the file exists; with ``allow_same``, only if its bytes differ.
        """
        with _as_store_error(target, "written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_file(target, data)
            try:
                rename_durably(temporary, target, flush=False)
            except FileExistsError:
                if not (allow_same and target.is_file() and target.read_bytes() == data):
                    raise NameTakenError(f"{target} already exists.") from None
            finally:
                temporary.unlink(missing_ok=True)
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
