"""The final state as the simulator, the ledger, the disk and Dagster have it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imagegen_pipeline_tests.conftest import Simulator, until
from imagegen_pipeline_tests.fuzz.chaos.ledger_reading import Item, Row, read_items, read_rows
from imagegen_pipeline_tests.fuzz.chaos.scratch import Scratch, SourceItem
from imagegen_pipeline_tests.fuzz.chaos.worker import DagsterUnreadableError, read_events

_MARK = re.compile(r"(boat|scarf) \d+-\d+\.")


@dataclass(frozen=True, slots=True)
class Finish:
    """What only the harness knows: the items, the attempts that were being sent at each kill,
    images that were incomplete after a kill, and workers that ended with an error.
    """

    source_items: tuple[SourceItem, ...]
    in_flight: frozenset[int]
    incomplete: tuple[str, ...]
    worker_errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """An image file: its digest, and why it does not decode (None if it does)."""

    digest: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the rules compare. ``billed`` and ``accepted`` count by mark."""

    finish: Finish
    items: dict[str, Item]
    rows: list[Row]
    billed: Counter[str]
    accepted: Counter[str]
    files: dict[str, File]
    leftovers: int
    events: frozenset[tuple[str, str, int]]
    dagster_fault: str | None = None

    def rows_of(self, item: Item) -> list[Row]:
        """The item's attempts, oldest first."""
        return [row for row in self.rows if row.item_key == item.key]

    def current(self, item: Item) -> Row | None:
        """The attempt of the item's current image."""
        return next((row for row in self.rows if row.id == item.current_attempt), None)

    @property
    def pictures(self) -> int:
        """The number of items with an image."""
        return sum(item.current_attempt is not None for item in self.items.values())

    @property
    def unknown_rows(self) -> list[Row]:
        """Attempts whose image may be billed although it was not received."""
        return [row for row in self.rows if row.is_unknown]


def collect_evidence(scratch: Scratch, simulator: Simulator, finish: Finish) -> Evidence:
    """Read everything after all workers have ended."""
    provider = scratch.variant.provider
    until(lambda: simulator.stats()[provider]["in_flight"] == 0)
    prompts = [one for one in simulator.stats()["by_prompt"] if one["provider"] == provider]
    files, leftovers = _read_files(scratch)
    events: list[tuple[str, str, int]] = []
    dagster_fault = None
    try:
        events = read_events(scratch, scratch.root / "events.log")
    except DagsterUnreadableError as error:
        dagster_fault = str(error)
    return Evidence(
        finish=finish,
        items={item.location: item for item in read_items(scratch.ledger)},
        rows=read_rows(scratch.ledger),
        billed=Counter({_mark(one["prompt"]): one["billed"] for one in prompts}),
        accepted=Counter({_mark(one["prompt"]): one["accepted"] for one in prompts}),
        files=files,
        leftovers=leftovers,
        events=frozenset(events),
        dagster_fault=dagster_fault,
    )


class FileIntegrity:
    """Checks after each kill that every file under its final name is complete."""

    def __init__(self, scratch: Scratch) -> None:
        self._folder = scratch.pictures
        self._known: set[tuple[str, int, int]] = set()
        self.incomplete: list[str] = []

    def check(self) -> None:
        """Check the files that are new or changed since the last check."""
        for path in _visible_files(self._folder):
            facts = path.stat()
            version = (str(path), facts.st_size, facts.st_mtime_ns)
            if version in self._known:
                continue
            self._known.add(version)
            fault = _picture_fault(path)
            if fault is not None:
                self.incomplete.append(f"{path.name} was not whole after a kill: {fault}")


def _visible_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not is_hidden:
            yield path


def _mark(prompt: str) -> str:
    found = _MARK.search(prompt)
    return found.group() if found else prompt


def _read_files(scratch: Scratch) -> tuple[dict[str, File], int]:
    """The image files by their path in the ledger, and the number of hidden temporary files."""
    files = {}
    for path in _visible_files(scratch.pictures):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files[str(path.relative_to(scratch.results))] = File(digest, _picture_fault(path))
    for path in scratch.pictures.rglob(".imagegen/[!.]*"):
        files[str(path.relative_to(scratch.results))] = File("", _sidecar_fault(path))
    hidden = (path for path in scratch.pictures.rglob(".*") if path.is_file())
    return files, sum(1 for _ in hidden)


def _picture_fault(path: Path) -> str | None:
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _sidecar_fault(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    return None
