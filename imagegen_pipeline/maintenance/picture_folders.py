"""Scans the folders of images for orphaned sidecars, untracked images and files of others.

A file belongs to this program only if its sidecar (``.imagegen/{name}.json``) has the digest of its
bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imagegen_pipeline.domain.image.decode import SUFFIXES
from imagegen_pipeline.maintenance.discovery import FileEntry, list_files
from imagegen_pipeline.maintenance.plan import (
    ActionType,
    CleanUpPart,
    PlannedAction,
    RetentionPolicy,
)
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.storage.pictures import HIDDEN

_SUFFIXES = tuple(SUFFIXES.values())
_EXTRA = re.compile(r"(.+)\.\d+")
"""The name of a further image that a provider returned: ``{stem}.2``."""
_COPY_FACT = "same_picture_as"
"""A fact in the sidecar of a copy that a user named, which is the user's file."""


@dataclass(slots=True)
class FolderScan:
    """The result of a scan. ``sidecars`` are those without an image, ``untracked`` the images of
    this program that no attempt names.
    """

    sidecars: list[PlannedAction] = field(default_factory=list)
    untracked: list[PlannedAction] = field(default_factory=list)
    not_ours: list[Path] = field(default_factory=list)


def picture_folders(pipeline: Pipeline) -> list[Path]:
    """The folders of all attempts, and the folder of new images."""
    folders = {pipeline.store.absolute(one) for one in pipeline.ledger.retention.folders()}
    return sorted(folders | {pipeline.settings.output_dir})


def scan_folder(
    pipeline: Pipeline, folder: Path, policy: RetentionPolicy, now: float
) -> FolderScan:
    """Compare the files of a folder with the ledger; raises StoreError if it cannot be read."""
    scan = FolderScan()
    ledger_folder = pipeline.store.relative(folder)
    known = pipeline.ledger.retention.file_stems(ledger_folder)
    files = {entry.file.name: entry for entry in list_files(folder)}
    sidecars = {
        entry.file.name.removesuffix(".json"): entry
        for entry in list_files(folder / HIDDEN)
        if entry.file.name.endswith(".json") and not entry.file.name.startswith(".")
    }
    for name, entry in files.items():
        if name.startswith(".") or _is_known(name, known):
            continue
        untracked = _untracked(entry, sidecars.get(name), policy, now)
        if untracked is not None:
            scan.untracked.append(untracked)
        elif name not in sidecars:
            scan.not_ours.append(entry.file)
    orphans = [name for name in sidecars.keys() - files.keys() if name.endswith(_SUFFIXES)]
    if orphans and policy.orphans is not None:
        expected = pipeline.ledger.retention.expected_stems(ledger_folder)
        for name in sorted(orphans):
            if Path(name).stem not in expected and sidecars[name].is_older(policy.orphans, now):
                reason = f"a sidecar without its image {name}"
                action = sidecars[name].plan(CleanUpPart.ORPHANS, ActionType.DELETE, reason)
                scan.sidecars.append(action)
    return scan


def _is_known(name: str, stems: set[str]) -> bool:
    stem = Path(name).stem
    extra = _EXTRA.fullmatch(stem)
    return stem in stems or (extra is not None and extra[1] in stems)


def _untracked(
    entry: FileEntry, sidecar: FileEntry | None, policy: RetentionPolicy, now: float
) -> PlannedAction | None:
    """An action on an image of this program that no attempt names; a named copy is not one."""
    if sidecar is None or policy.orphans is None or not entry.file.name.endswith(_SUFFIXES):
        return None
    facts = _read_facts(sidecar.file)
    digest = facts.get("sha256")
    if _COPY_FACT in facts or not isinstance(digest, str):
        return None
    if not entry.is_older(policy.orphans, now) or _digest(entry.file) != digest:  # or edited
        return None
    reason = f"no attempt names it; made for {facts.get('key', 'an unknown item')}"
    action = entry.plan(CleanUpPart.ORPHANS, ActionType.ARCHIVE, reason)
    return replace(action, digest=digest)


def _read_facts(sidecar: Path) -> Mapping[str, Any]:
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
