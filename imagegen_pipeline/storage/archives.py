"""Archives: ZIP files that old pictures are moved into, each written once and never changed.

A picture in an archive is found by the digest of its bytes, which stands in its entry's comment,
so that a file which was renamed in a ZIP by another tool is still found. Any ZIP tool opens them;
``pictures.json`` in each says what its pictures were made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.errors import NameTakenError, StoreError, UnreadableError
from imagegen_pipeline.storage.atomic_files import rename_durably, temporary_file

CONTENTS = "pictures.json"
_SAMPLE, _WORTH = 64 * 1024, 0.97
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What Python's zipfile raises for a file that is no whole ZIP."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A picture on its way into an archive: its file, its name there, the SHA-256 of its bytes,
    and what is known of it (plain data for JSON).
    """

    file: Path
    name: str
    digest: str
    about: Mapping[str, Any] = field(default_factory=dict)


def write_archive(target: Path, pictures: Sequence[Packed]) -> list[Packed]:
    """Write a new archive, flush it and read every picture back; returns those that are in it.

    A picture whose file is gone, or has other bytes than its digest says, is left out; with none
    left there is no archive. Equal bytes are kept once. Nothing is at ``target`` before all of it
    is there, and what is there already is never changed. Raises StoreError.
    """
    with _as_store_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", dir=target.parent)
        spare = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                packed = _write(file, pictures)
                file.flush()
                os.fsync(file.fileno())
            if packed:
                _check(spare, {one.digest for one in packed})
                spare.chmod(0o644)
                rename_durably(spare, target)
        except FileExistsError:
            raise NameTakenError(f"{target} is there already.") from None
        finally:
            spare.unlink(missing_ok=True)
    return packed


def _write(file: Any, pictures: Sequence[Packed]) -> list[Packed]:  # noqa: ANN401 - any open file
    packed: list[Packed] = []
    entries: dict[str, str] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in pictures:
            if one.digest not in entries:
                data = _bytes_of(one)
                if data is None:
                    continue
                entries[one.digest] = _free_name(one.name, entries.values())
                archive.writestr(_entry(entries[one.digest], one, data), data)
            packed.append(one)
        contents = [
            {**one.about, "path": one.name, "sha256": one.digest, "file": entries[one.digest]}
            for one in packed
        ]
        archive.writestr(CONTENTS, json.dumps(contents, ensure_ascii=False, indent=1) + "\n")
    return packed


def _bytes_of(one: Packed) -> bytes | None:
    """The picture's bytes, if they are those that were recorded."""
    try:
        data = one.file.read_bytes()
    except FileNotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest() == one.digest else None


def _entry(name: str, one: Packed, data: bytes) -> zipfile.ZipInfo:
    moment = time.localtime(max(one.file.stat().st_mtime, 315_619_200))  # ZIP knows no 1970s
    entry = zipfile.ZipInfo(name, moment[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED if _gets_smaller(data) else zipfile.ZIP_STORED
    entry.external_attr = 0o644 << 16
    entry.comment = one.digest.encode()
    return entry


def _gets_smaller(data: bytes) -> bool:
    """Whether deflating is worth its time, by a piece from the middle: a PNG or JPEG of a photo
    has been deflated already, and does not get smaller by a second time.
    """
    start = max(0, len(data) // 2 - _SAMPLE // 2)
    piece = data[start : start + _SAMPLE]
    return len(zlib.compress(piece)) < _WORTH * len(piece)


def _free_name(path: str, taken: Any) -> str:  # noqa: ANN401 - a view of names
    """A relative name that no entry has: paths of the ledger may be absolute."""
    params = Path(path.lstrip("/\\") or "picture")
    name, number = params.as_posix(), 1
    while name in taken or name == CONTENTS:
        number += 1
        name = params.with_name(f"{params.stem}_{number}{params.suffix}").as_posix()
    return name


def _check(archive: Path, digests: set[str]) -> None:
    """Read every picture back from what was written; raises UnreadableError."""
    with _opened(archive) as opened:
        whole = {digest for entry in opened.infolist() if (digest := _whole(opened, entry))}
    if whole != digests:
        raise _damaged(archive, "what was written is not what was read back")


def _whole(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str | None:
    """The digest of a picture's entry, if its bytes have it; None for ``pictures.json``."""
    digest = entry.comment.decode("ascii", "replace")
    with opened.open(entry) as stream:
        is_whole = bool(digest) and hashlib.file_digest(stream, "sha256").hexdigest() == digest  # type: ignore[arg-type]
    return digest if is_whole else None


def read_picture(archive: Path, digest: str) -> bytes:
    """The bytes of a picture in an archive; raises UnreadableError when it is not there whole."""
    with _opened(archive) as opened:
        for entry in opened.infolist():
            if entry.comment == digest.encode():
                data = opened.read(entry)
                if hashlib.sha256(data).hexdigest() == digest:
                    return data
    raise _damaged(archive, f"it has no whole picture {digest[:16]}…")


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except FileNotFoundError:
        raise UnreadableError(
            f"The archive {archive} is not there.",
            remedy="Put it back where it was: it holds pictures that were paid for.",
        ) from None
    except OSError as error:
        raise UnreadableError(f"The archive {archive} cannot be read: {error.strerror}.") from error
    except _DAMAGE as error:
        raise _damaged(archive, str(error)) from error


def digests_in(archive: Path) -> list[str]:
    """The digests of the pictures that an archive says it has; none for what is no archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            comments = [entry.comment.decode("ascii", "replace") for entry in opened.infolist()]
    except (OSError, *_DAMAGE):
        return []
    return [comment for comment in comments if len(comment) == 2 * hashlib.sha256().digest_size]


def _damaged(archive: Path, why: str) -> UnreadableError:
    return UnreadableError(
        f"The archive {archive} is damaged: {why}.",
        remedy="Restore it from a backup (`imagegen restore`).",
    )


def extract_picture(archive: Path, target: Path, digest: str) -> None:
    """Put a picture of an archive back to ``target``, whole; the archive keeps it too.

    Raises UnreadableError, StoreError, and NameTakenError when another file lies there.
    """
    data = read_picture(archive, digest)
    with _as_store_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        spare = temporary_file(target, data)
        try:
            rename_durably(spare, target)
        except FileExistsError:
            if target.read_bytes() != data:  # not another one that has brought it back meanwhile
                raise NameTakenError(f"{target} is there already.") from None
        finally:
            spare.unlink(missing_ok=True)


@contextmanager
def _as_store_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
