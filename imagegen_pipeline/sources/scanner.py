"""The three sources of a project, looked at together, one after the other, or for a few items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagegen_pipeline.clock import Clock, SystemClock
from imagegen_pipeline.domain.prompts import PromptScan
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger import Item, Ledger, ScanChange
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.sources.actor_folders import ActorsFolder, scan_actors
from imagegen_pipeline.sources.database_scan import DatabaseScan
from imagegen_pipeline.sources.folder_scan import FolderScan
from imagegen_pipeline.sources.json_prompts import JsonFolder, scan_json_folder
from imagegen_pipeline.sources.scan_results import ScanBudget, ScanResult, ScanSummary
from imagegen_pipeline.sources.source_paths import absolute, shown
from imagegen_pipeline.sources.sqlite_prompts import scan_database


@dataclass(frozen=True)
class SourceScanner:
    """The prompts' database, the prompts' folder and the actors' folder of the settings.

    ``open_ledger`` is asked for the ledger when something is to be written down.
    """

    settings: Settings
    open_ledger: Callable[[], Ledger]
    clock: Clock = field(default_factory=SystemClock)

    @property
    def ledger(self) -> Ledger:
        """Where looks are written down."""
        return self.open_ledger()

    def scan_prompts(
        self,
        *,
        database: bool = True,
        json_files: bool = True,
        json_dir: Path | None = None,
        record: bool = True,
    ) -> ScanResult:
        """Read all prompts, whatever their stamps; write down what is there if ``record``."""
        scans: list[PromptScan] = []
        if database:
            scans.append(scan_database(self.settings.prompt_db))
        if json_files:
            scans.append(scan_json_folder(json_dir or self.settings.prompt_json_dir))
        changes = [self.ledger.items.record(scan) for scan in scans] if record else []
        return ScanResult(
            prompts=tuple(prompt for scan in scans for prompt in scan.prompts),
            problems=tuple(problem for scan in scans for problem in scan.problems),
            change=_sum(changes),
            unreadable=tuple(scan.problems[0] for scan in scans if not scan.complete),
        )

    def scan_actors(self) -> ScanResult:
        """Read all actors, whatever their stamps, and write down what is there."""
        scan = scan_actors(self.settings.actors_dir)
        change = self.ledger.items.record(scan)
        return ScanResult(
            actors=scan.actors,
            problems=scan.problems,
            change=change,
            unreadable=() if scan.complete else scan.problems[:1],
        )

    def look(
        self, seconds: float | None = None, *, afresh: bool = False
    ) -> dict[ItemKind, ScanSummary]:
        """See what has changed, and write it down; by kind.

        What is as it was when it was last read is not opened, unless ``afresh``. After
        ``seconds`` a source is left where the next scan resumes (``ScanSummary.unfinished``).
        """
        budget = ScanBudget(self.clock, seconds)
        prompts = self._json_files.look(budget, afresh=afresh)
        actors = self._actors.look(budget, afresh=afresh)
        prompts += self._database.look(budget, afresh=afresh)
        return {"prompt": prompts, "actor": actors}

    def look_for(self, keys: Iterable[str]) -> ScanSummary:
        """See what these items are now; other rows of the database are not read.

        Where a key is not known, its source may never have been read: all of them are looked at.
        """
        wanted = list(dict.fromkeys(keys))
        items = self.ledger.items.get(wanted)
        if len(items) < len(wanted):
            looks = self.look()
            return looks["prompt"] + looks["actor"]
        look = ScanSummary()
        here = _by_container(items.values())
        for folder in (self._json_files, self._actors):
            if folder.folder.container in here:
                look += folder.look(ScanBudget(self.clock))
        of_database = here.get(shown(absolute(self.settings.prompt_db)))
        if of_database:
            look += self._database.look_at(of_database)
        return look

    def look_at_actors(self) -> ScanSummary:
        """See what the actors' folder has now."""
        return self._actors.look(ScanBudget(self.clock))

    @property
    def _json_files(self) -> FolderScan:
        folder = JsonFolder(self.settings.prompt_json_dir)
        return FolderScan(self.ledger, self.clock, "prompt", folder)

    @property
    def _actors(self) -> FolderScan:
        folder = ActorsFolder(self.settings.actors_dir)
        return FolderScan(self.ledger, self.clock, "actor", folder)

    @property
    def _database(self) -> DatabaseScan:
        return DatabaseScan(self.ledger, self.clock, absolute(self.settings.prompt_db))


def _by_container(items: Iterable[Item]) -> dict[str, list[Item]]:
    here: dict[str, list[Item]] = {}
    for item in items:
        here.setdefault(item.source_item.container, []).append(item)
    return here


def _sum(changes: Sequence[ScanChange]) -> ScanChange:
    return ScanChange(
        new=tuple(key for change in changes for key in change.new),
        changed=tuple(key for change in changes for key in change.changed),
        gone=tuple(key for change in changes for key in change.gone),
        unchanged=sum(change.unchanged for change in changes),
    )
