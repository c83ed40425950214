"""Reading one source: its entries become prompts or actors, each bad entry a problem."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.sources.source_paths import source_problem

SourceItem = Prompt | Actor
KnownTokens = Mapping[str, tuple[str, str | None]]
"""Location → key and change token of the items that the last scan found in a source."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or row of a source that should become an item.

    ``key`` is None for an entry whose name or id cannot be a key; ``read`` returns the reason. A
    problem whose location is another one says that the entry itself is not there.
    """

    location: str
    key: str | None
    token: str
    read: Callable[[], SourceItem | SourceProblem]


class Source(Protocol):
    """One database or folder, as one scan sees it: create a new object for each scan."""

    @property
    def kind(self) -> ItemKind:
        """The kind of its items."""

    @property
    def container(self) -> str:
        """Its path, as its items name it."""

    @property
    def retries_problems(self) -> bool:
        """Whether an unreadable entry may become readable without another change token."""

    def change_token(self) -> str:
        """The token of the whole source. Reads no entry; raises SourceError."""

    def entries(self) -> Iterator[Entry | SourceProblem]:
        """Its entries in their order, and notes on the whole source; raises SourceError."""

    def duplicate(self, location: str, first: str) -> SourceProblem:
        """Why the entry at ``location`` is left out: the one at ``first`` has its key."""

    def sort_key(self, source_item: SourceItem) -> Any:  # noqa: ANN401 - anything comparable
        """Sorts items in the order of the entries."""


@dataclass
class SourceReading:
    """What was read of a source.

    ``error`` says why the source could not be read to its end: then nothing is known of the
    entries that are not named here.
    """

    container: str
    source_items: list[SourceItem] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    """Of ``source_items``, by key."""
    unchanged: set[str] = field(default_factory=set)
    """Keys of entries that were not read, since their token is the known one."""
    unreadable_keys: set[str] = field(default_factory=set)
    """Keys of entries that are still there and cannot be read."""
    entry_problems: list[SourceProblem] = field(default_factory=list)
    error: SourceProblem | None = None

    @property
    def complete(self) -> bool:
        """Whether the source was read to its end."""
        return self.error is None

    @property
    def problems(self) -> tuple[SourceProblem, ...]:
        """All problems; that of the whole source comes first."""
        first = () if self.error is None else (self.error,)
        return (*first, *self.entry_problems)

    def gone(self, known: KnownTokens) -> list[str]:
        """The known keys that the source no longer has. Nothing is gone from an unread source."""
        if self.error is not None:
            return []
        present = self.tokens.keys() | self.unchanged | self.unreadable_keys
        unreadable = {problem.location for problem in self.entry_problems}
        return [
            key
            for location, (key, _) in known.items()
            if key not in present and location not in unreadable
        ]


def read_source(
    source: Source, unchanged: KnownTokens | None = None, *, retried: Collection[str] = ()
) -> SourceReading:
    """Read the entries of a source; raises nothing.

    Entries whose token is in ``unchanged`` are not read, except those at the locations
    ``retried``. Of two entries with one key the first is used.
    """
    reading = SourceReading(source.container)
    known = unchanged or {}
    firsts: dict[str, str] = {}
    try:
        for entry in source.entries():
            if isinstance(entry, SourceProblem):
                reading.entry_problems.append(entry)
            elif entry.key is not None and entry.key in firsts:
                problem = source.duplicate(entry.location, firsts[entry.key])
                reading.entry_problems.append(problem)
            else:
                if entry.key is not None:
                    firsts[entry.key] = entry.location
                    is_known = known.get(entry.location) == (entry.key, entry.token)
                    if is_known and entry.location not in retried:
                        reading.unchanged.add(entry.key)
                        continue
                _read_entry(entry, reading)
    except SourceError as error:
        reading.error = source_problem(source.container, source.container, error)
    return reading


def _read_entry(entry: Entry, reading: SourceReading) -> None:
    source_item = entry.read()
    if not isinstance(source_item, SourceProblem):
        reading.source_items.append(source_item)
        reading.tokens[source_item.key] = entry.token
        return
    reading.entry_problems.append(source_item)
    if entry.key is not None and source_item.location == entry.location:
        reading.unreadable_keys.add(entry.key)
