"""Archives: ZIP files of old images. Each is written once and never changed.

The comment of an entry is the SHA-256 of its bytes, and ``pictures.json`` describes the images.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from imagegen_pipeline.domain.errors import NameTakenError, UnreadableError
from imagegen_pipeline.storage.atomic_files import as_store_error, rename_durably, temporary_file

CONTENTS = "pictures.json"
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""Exceptions of zipfile for a damaged file."""


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """An image to archive: its file, its path in the archive, the SHA-256 of its bytes, and facts
    for ``pictures.json`` (JSON data).
    """

    file: Path
    name: str
    digest: str
    about: Mapping[str, Any] = field(default_factory=dict)


def write_archive(target: Path, entries: Sequence[ArchiveEntry]) -> list[ArchiveEntry]:
    """Write a new archive, flush it and read every image back; returns the archived entries.

    Leaves out an image whose file is missing or does not match its digest; without any image no
    archive is written. Equal bytes are stored once. Nothing is overwritten, and
    ``target`` exists only when it is complete. Raises StoreError and NameTakenError.
    """
    with as_store_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                written = _write_zip(file, entries)
                file.flush()
                os.fsync(file.fileno())
            if written:
                _verify(temporary, {entry.digest for entry in written})
                temporary.chmod(0o644)
                rename_durably(temporary, target)
        except FileExistsError:
            raise NameTakenError(f"{target} already exists.") from None
        finally:
            temporary.unlink(missing_ok=True)
    return written


def _write_zip(file: IO[bytes], entries: Sequence[ArchiveEntry]) -> list[ArchiveEntry]:
    written: list[ArchiveEntry] = []
    names: dict[str, str] = {}
    with zipfile.ZipFile(file, "w") as archive:  # stored: PNG and JPEG are compressed already
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                info = zipfile.ZipInfo.from_file(entry.file, entry.name, strict_timestamps=False)
                data = entry.file.read_bytes()
                if hashlib.sha256(data).hexdigest() != entry.digest:
                    continue
                if entry.digest not in names:
                    if info.filename in (CONTENTS, *names.values()):
                        info.filename = f"{entry.digest}/{info.filename}"
                    info.comment = entry.digest.encode()
                    archive.writestr(info, data)
                    names[entry.digest] = info.filename
                written.append(entry)
        contents = [
            {**one.about, "path": one.name, "sha256": one.digest, "file": names[one.digest]}
            for one in written
        ]
        text = json.dumps(contents, ensure_ascii=False, indent=1) + "\n"
        archive.writestr(CONTENTS, text, zipfile.ZIP_DEFLATED)
    return written


def _verify(archive: Path, digests: set[str]) -> None:
    """Read every image back; raises UnreadableError."""
    with _open(archive) as opened:
        read = {hashlib.sha256(opened.read(info)).hexdigest() for info in opened.infolist()}
    if not digests <= read:
        raise _damaged(archive, "the bytes that were read back differ from those written")


def read_picture(archive: Path, digest: str) -> bytes:
    """The bytes of an image in an archive; raises UnreadableError if it is missing or damaged."""
    with _open(archive) as opened:
        for info in opened.infolist():
            if info.comment == digest.encode():
                data = opened.read(info)
                if hashlib.sha256(data).hexdigest() == digest:
                    return data
    raise _damaged(archive, f"it has no complete image {digest[:16]}…")


def digests_in(archive: Path) -> list[str]:
    """The digests that the entries of an archive claim; empty for a damaged file."""
    with contextlib.suppress(UnreadableError), _open(archive) as opened:
        comments = [info.comment.decode("ascii", "replace") for info in opened.infolist()]
        return [comment for comment in comments if comment]
    return []


def extract_picture(archive: Path, target: Path, digest: str) -> None:
    """Copy an image from an archive to ``target``; the archive keeps it.

    Raises UnreadableError, StoreError, and NameTakenError if ``target`` is a different file.
    """
    data = read_picture(archive, digest)
    with as_store_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_file(target, data)
        try:
            rename_durably(temporary, target)
        except FileExistsError:
            if target.read_bytes() != data:  # not the same image, extracted by another process
                raise NameTakenError(f"{target} already exists.") from None
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _open(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except FileNotFoundError:
        raise UnreadableError(
            f"The archive {archive} is missing.",
            remedy="Put it back: it holds images that were paid for.",
        ) from None
    except OSError as error:
        raise UnreadableError(f"The archive {archive} cannot be read: {error.strerror}.") from error
    except _ZIP_ERRORS as error:
        raise _damaged(archive, str(error)) from error


def _damaged(archive: Path, reason: str) -> UnreadableError:
    return UnreadableError(
        f"The archive {archive} is damaged: {reason}.",
        remedy="Restore it from a backup (`imagegen restore`).",
    )
