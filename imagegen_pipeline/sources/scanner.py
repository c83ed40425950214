"""Scans the sources of a project and records what has changed in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagegen_pipeline.clock import Clock, SystemClock
from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger import (
    Ledger,
    ScanChange,
    SourceRecord,
    SourceState,
    StoredSource,
)
from imagegen_pipeline.ledger.source_state import STALE
from imagegen_pipeline.settings import Settings
from imagegen_pipeline.sources.actors import ActorsFolder
from imagegen_pipeline.sources.change_tokens import TRUSTED_SECONDS, is_stable
from imagegen_pipeline.sources.json_files import JsonFolder
from imagegen_pipeline.sources.source_paths import source_problem
from imagegen_pipeline.sources.source_reader import (
    KnownTokens,
    Source,
    SourceItem,
    SourceReading,
    read_source,
)
from imagegen_pipeline.sources.sqlite import PromptDatabase


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The result of scanning one or more sources.

    ``source_items``: the prompts or actors that were read, and for ``scan_prompts`` also those of
    unchanged files and rows, in the order of the sources. ``problems``: everything that cannot be
    read now; ``unreadable``: those of them that concern a whole source.
    """

    source_items: tuple[SourceItem, ...] = ()
    change: ScanChange = field(default_factory=ScanChange)
    problems: tuple[SourceProblem, ...] = ()
    unreadable: tuple[SourceProblem, ...] = ()

    def __add__(self, other: ScanResult) -> ScanResult:
        return ScanResult(
            self.source_items + other.source_items,
            self.change + other.change,
            self.problems + other.problems,
            self.unreadable + other.unreadable,
        )

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts of ``source_items``."""
        return tuple(one for one in self.source_items if isinstance(one, Prompt))

    @property
    def actors(self) -> tuple[Actor, ...]:
        """The actors of ``source_items``."""
        return tuple(one for one in self.source_items if isinstance(one, Actor))

    def is_note(self, problem: SourceProblem) -> bool:
        """Whether a problem is a note on a source that was read, such as on a missing column."""
        return problem.location == problem.container and problem not in self.unreadable


@dataclass(frozen=True, slots=True)
class KeyScanResult:
    """The items of the requested keys, after their sources were scanned.

    ``items``: every known item by key, in the requested order; ``gone``: keys that their source
    no longer has; ``problems``: everything that cannot be read in the scanned sources.
    """

    items: dict[str, SourceItem]
    gone: frozenset[str] = frozenset()
    problems: tuple[SourceProblem, ...] = ()

    @property
    def present(self) -> dict[str, SourceItem]:
        """The items that their source has and that can be read."""
        unreadable = {problem.location for problem in self.problems}
        return {
            key: source_item
            for key, source_item in self.items.items()
            if key not in self.gone and source_item.location not in unreadable
        }


@dataclass(frozen=True)
class SourceScanner:
    """Scans the prompts' database, the prompts' folder and the actors' folder of the settings.

    An unchanged source is not read. In a changed folder only changed files are read; a changed
    database is read whole. ``open_ledger`` is called when the ledger is needed.
    """

    settings: Settings
    open_ledger: Callable[[], Ledger]
    clock: Clock = field(default_factory=SystemClock)

    @property
    def ledger(self) -> Ledger:
        """The ledger that scans are recorded in."""
        return self.open_ledger()

    def scan(self, *, force: bool = False) -> dict[ItemKind, ScanResult]:
        """Scan all sources; ``force``: read everything, also what seems unchanged."""
        results: dict[ItemKind, ScanResult] = {"prompt": ScanResult(), "actor": ScanResult()}
        for source in self._sources():
            results[source.kind] += self._scan(source, force=force)[0]
        return results

    def scan_prompts(
        self,
        *,
        database: bool = True,
        json_files: bool = True,
        json_dir: Path | None = None,
        record: bool = True,
    ) -> ScanResult:
        """Scan prompts and return all of them. Without ``record`` the ledger is not used."""
        sources: list[Source] = []
        if database:
            sources.append(PromptDatabase(self.settings.prompt_db))
        if json_files:
            sources.append(JsonFolder(json_dir or self.settings.prompt_json_dir))
        result = ScanResult()
        for source in sources:
            result += self._scan_all_items(source) if record else _scan_unrecorded(source)
        return result

    def scan_actors(self) -> ScanResult:
        """Scan the actors and return all of them."""
        return self._scan_all_items(ActorsFolder(self.settings.actors_dir))

    def scan_actor(self, name: str) -> Actor | None:
        """The actor of that name, after a scan of the actors' folder; None if it has none."""
        result, _ = self._scan(ActorsFolder(self.settings.actors_dir))
        for source_item in result.source_items:
            if source_item.key == name and isinstance(source_item, Actor):
                return source_item
        item = self.ledger.items.get([name]).get(name)
        if item is None or item.gone or not isinstance(item.source_item, Actor):
            return None
        return item.source_item

    def scan_keys(self, keys: Iterable[str]) -> KeyScanResult:
        """Scan the sources of these items; for a key that the ledger lacks, all sources."""
        requested = list(dict.fromkeys(keys))
        known = self.ledger.items.get(requested)
        found_in = (item.source_item for item in known.values())
        containers = {one.container for one in found_in if one.location}
        lacks_any = len(known) < len(requested)
        result = ScanResult()
        for source in self._sources():
            if lacks_any or source.container in containers:
                result += self._scan(source)[0]
                containers.discard(source.container)
        read = {source_item.key: source_item for source_item in result.source_items}
        if any(key not in read and key not in known for key in requested):
            known = self.ledger.items.get(requested)  # another process may have recorded it
        items: dict[str, SourceItem] = {}
        for key in requested:
            if key in read:
                items[key] = read[key]
            elif key in known:
                items[key] = known[key].source_item
        gone = {key for key, item in known.items() if item.gone}.union(result.change.gone)
        problems = result.problems
        for container in containers:  # other folders, that a command has scanned
            problems += self.ledger.source_state.get(container).problems
        return KeyScanResult(items, frozenset(gone - read.keys()), problems)

    def _sources(self) -> Sequence[Source]:
        return (
            JsonFolder(self.settings.prompt_json_dir),
            ActorsFolder(self.settings.actors_dir),
            PromptDatabase(self.settings.prompt_db),
        )

    def _scan_all_items(self, source: Source) -> ScanResult:
        """Scan a source; the result has all its items, in its order."""
        stored = self.ledger.items.of_source(source.kind, source.container)
        result, reading = self._scan(source, stored)
        if reading is None:
            unreadable = {problem.location for problem in result.problems}
            items = [one for one in stored.items.values() if one.location not in unreadable]
        else:
            items = [stored.items[key] for key in reading.unchanged] + reading.source_items
        return replace(result, source_items=tuple(sorted(items, key=source.sort_key)))

    def _scan(
        self, source: Source, stored: StoredSource | None = None, *, force: bool = False
    ) -> tuple[ScanResult, SourceReading | None]:
        """Scan a source and record its changes.

        ``stored`` is the source in the ledger with its items, if they were loaded. Returns no
        reading for an unchanged source.
        """
        container, now = source.container, self.clock.now()
        before = stored or self.ledger.source_state.get(container)
        try:
            token = source.change_token()
        except SourceError as error:
            reading = SourceReading(container, error=source_problem(container, container, error))
            state = before.state and replace(before.state, change_token=STALE)
            return self._record(source, reading, before, state, {}, now), reading
        trusted = None if force else _trusted(before.state, now)
        retried = (
            {problem.location for problem in before.problems} if source.retries_problems else set()
        )
        if trusted is not None and trusted.change_token == token and not retried:
            return ScanResult(problems=before.problems), None
        known = (
            self.ledger.source_state.known_tokens(source.kind, container)
            if stored is None
            else stored.tokens
        )
        reading = read_source(source, {} if trusted is None else known, retried=retried)
        state = SourceState(
            token if reading.complete and is_stable(token, now) else STALE,
            now if trusted is None else trusted.trusted_since,
        )
        return self._record(source, reading, before, state, known, now), reading

    def _record(
        self,
        source: Source,
        reading: SourceReading,
        before: StoredSource,
        state: SourceState | None,
        known: KnownTokens,
        now: float,
    ) -> ScanResult:
        problems = _current_problems(reading, before)
        record = SourceRecord(
            source.kind,
            source.container,
            [
                (one, token if is_stable(token := reading.tokens[one.key], now) else None)
                for one in reading.source_items
            ],
            reading.gone(known),
            None if set(problems) == set(before.problems) else problems,
        )
        change = ScanChange(unchanged=len(reading.unchanged))
        is_news = record.source_items or record.gone or record.problems is not None
        if is_news or state != before.state:
            change += self.ledger.items.record(record, state, instead_of=before.state)
        unreadable = () if reading.error is None else (reading.error,)
        return ScanResult(tuple(reading.source_items), change, problems, unreadable)


def _trusted(state: SourceState | None, now: float) -> SourceState | None:
    """The state of a source if its change tokens may be trusted."""
    if state is None or now - state.trusted_since > TRUSTED_SECONDS:
        return None
    return state


def _current_problems(reading: SourceReading, before: StoredSource) -> tuple[SourceProblem, ...]:
    """All problems of a source now. Those of entries that were not reached stay."""
    if reading.complete:
        return reading.problems
    read = {source_item.location for source_item in reading.source_items}
    current = {problem.location: problem for problem in reading.problems}
    earlier = [one for one in before.problems if one.location not in read | current.keys()]
    return (*current.values(), *earlier)


def _scan_unrecorded(source: Source) -> ScanResult:
    reading = read_source(source)
    unreadable = () if reading.error is None else (reading.error,)
    return ScanResult(
        tuple(reading.source_items),
        problems=reading.problems,
        unreadable=unreadable,
    )
