"""The folders that pictures lie in: what of their files the ledger knows, and what it does not.

Users keep files of their own there. A file counts as this program's only if it has a sidecar
(``.imagegen/{name}.json``) with the digest of its bytes; anything else is never touched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.image.decode import SUFFIXES
from imagegen_pipeline.maintenance.discovery import FileEntry, entries, planned_action
from imagegen_pipeline.maintenance.plan import (
    ActionType,
    CleanUpPart,
    PlannedAction,
    RetentionPolicy,
)
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.storage.pictures import HIDDEN

_PICTURES = tuple(SUFFIXES.values())
_EXTRA = re.compile(r"(.+)\.\d+")
"""A picture that a service sent beside the one that was asked for is called ``{stem}.2``."""
_COPY = "same_picture_as"
"""In the sidecar of a copy that a person gave a name: it is theirs."""


@dataclass(slots=True)
class FolderContents:
    """What a look at a folder brought."""

    goings: list[PlannedAction] = field(default_factory=list)
    strays: list[PlannedAction] = field(default_factory=list)
    """Pictures of this program that no attempt names."""
    not_ours: list[Path] = field(default_factory=list)


def picture_folders(pipeline: Pipeline) -> list[Path]:
    """The folders that attempts have names in, and the one that new pictures go to."""
    store = pipeline.store
    known = {store.absolute(folder) for folder in pipeline.ledger.archiving.folders()}
    return sorted(known | {pipeline.settings.output_dir})


def inspect_folders(
    pipeline: Pipeline, folder: Path, rules: RetentionPolicy, now: float
) -> FolderContents:
    """What in ``folder`` is an orphan of this program, and what is not this program's at all."""
    found = FolderContents()
    books = pipeline.ledger.archiving
    place = pipeline.store.relative(folder)
    named = books.names(place)
    files = {entry.file.name: entry for entry in entries(folder)}
    sidecars = {
        entry.file.name.removesuffix(".json"): entry
        for entry in entries(folder / HIDDEN)
        if entry.file.name.endswith(".json") and not entry.file.name.startswith(".")
    }
    for name, entry in files.items():
        if name.startswith(".") or _is_named(name, named):
            continue
        stray = _stray(entry, sidecars.get(name), rules, now)
        if stray is not None:
            found.strays.append(stray)
        elif name not in sidecars:
            found.not_ours.append(entry.file)
    lonely = list(_lonely(sidecars, files, rules, now))
    if lonely:  # asked only now: there may be thousands of folders
        awaited = books.awaited(place)
        found.goings += [one for name, one in lonely if Path(name).stem not in awaited]
    return found


def _is_named(name: str, stems: set[str]) -> bool:
    stem = Path(name).stem
    extra = _EXTRA.fullmatch(stem)
    return stem in stems or (extra is not None and extra[1] in stems)


def _lonely(
    sidecars: dict[str, FileEntry], files: dict[str, FileEntry], rules: RetentionPolicy, now: float
) -> Iterator[tuple[str, PlannedAction]]:
    """Sidecars whose picture is not there, with its name."""
    if rules.orphans is None:
        return
    for name, sidecar in sidecars.items():
        is_lonely = name.endswith(_PICTURES) and name not in files
        if is_lonely and sidecar.is_old(now, rules.orphans):
            why = f"a sidecar without its picture {name}"
            yield name, planned_action(sidecar, CleanUpPart.ORPHANS, ActionType.DELETE, why)


def _stray(
    entry: FileEntry, sidecar: FileEntry | None, rules: RetentionPolicy, now: float
) -> PlannedAction | None:
    """A picture of this program that no attempt names; a copy that a person named is none."""
    if sidecar is None or rules.orphans is None or not entry.file.name.endswith(_PICTURES):
        return None
    facts = _facts(sidecar.file)
    digest = facts.get("sha256")
    if _COPY in facts or not isinstance(digest, str) or not entry.is_old(now, rules.orphans):
        return None
    if _digest(entry.file) != digest:  # somebody has made another picture of it
        return None
    why = f"no attempt names it; made for {facts.get('key', 'an unknown item')}"
    return PlannedAction(
        CleanUpPart.ORPHANS,
        ActionType.ARCHIVE,
        entry.file,
        entry.stamp.bytes,
        why,
        entry.stamp,
        digest=digest,
    )


def _facts(sidecar: Path) -> dict[str, Any]:
    try:
        facts = json.loads(sidecar.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _digest(file: Path) -> str | None:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
