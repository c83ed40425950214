"""A look at a folder of sources: only the files that have changed are opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imagegen_pipeline.clock import Clock
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.ledger import Ledger, ScanPart, SourceState
from imagegen_pipeline.ledger.item_upsert import Stamped
from imagegen_pipeline.ledger.source_state import DOUBTED
from imagegen_pipeline.sources.change_tokens import BELIEVED_SECONDS, is_stable, listing_digest
from imagegen_pipeline.sources.folder_listing import SourceFolder, assign_keys
from imagegen_pipeline.sources.scan_results import ScanBudget, ScanSummary, seen
from imagegen_pipeline.sources.source_paths import problem

PORTION = 500
"""Files that are read and written down at once."""
Known = dict[str, tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class FolderScan:
    """Looks at one folder.

    Where the listing is as it was, to the last stamp, nothing else is done; else the files whose
    stamp is not the one in the ledger are read, and those that could not be read before.
    """

    ledger: Ledger
    clock: Clock
    kind: ItemKind
    folder: SourceFolder

    def look(self, budget: ScanBudget, *, afresh: bool = False) -> ScanSummary:
        """See what is there now; ``afresh``: believe no stamp."""
        container, reads = self.folder.container, self.ledger.reads
        now = self.clock.now()
        listed = reads.problems(container)
        try:
            stamps = self.folder.stamps()
        except SourceError as error:
            return self._unreadable(problem(container, container, error), listed)
        digest = listing_digest(stamps)
        before = reads.get(container)
        if afresh or (before is not None and now - before.read_at > BELIEVED_SECONDS):
            reads.forget(self.kind, container)
            before = None
        if before is not None and before.stamp == digest and not listed:
            return ScanSummary()
        # What was written just now may be written again without another stamp.
        believed = {n: s if is_stable(s, now) else None for n, s in stamps.items()}
        look = _Reading(self, reads.files(self.kind, container), listed).read(believed, budget)
        is_believed = None not in believed.values() and not look.unfinished
        after = SourceState(
            digest if is_believed else DOUBTED, now if before is None else before.read_at
        )
        if after != before:
            reads.put(container, after, instead_of=before)
        return look + ScanSummary(problems=tuple(reads.problems(container).values()))

    def _unreadable(self, found: SourceProblem, listed: dict[str, SourceProblem]) -> ScanSummary:
        if listed.get(found.location) != found:
            self.ledger.items.record_part(ScanPart(self.kind, found.container, problems=[found]))
        listed[found.location] = found
        return ScanSummary(problems=tuple(listed.values()), unreadable=(found,))


class _Reading:
    """Reads what has changed, in portions."""

    def __init__(self, of: FolderScan, known: Known, listed: dict[str, SourceProblem]) -> None:
        self._of, self._known, self._listed = of, known, listed
        self._unreadable: dict[str, SourceProblem] = {}

    def read(self, stamps: Mapping[str, str | None], budget: ScanBudget) -> ScanSummary:
        """Read what is due; ``stamps``: name → stamp, None for one that is not to be believed."""
        folder = self._of.folder
        keys, bad = assign_keys(folder, stamps)
        self._unreadable = {one.location: one for one in bad}
        look = self._record(gone=self._left(stamps, set(keys.values())), problems=bad)
        due = [name for name, key in keys.items() if self._is_due(name, key, stamps[name])]
        look += ScanSummary(unchanged=len(keys) - len(due))
        for start in range(0, len(due), PORTION):
            if start and budget.is_spent:
                return look + ScanSummary(unfinished=(folder.container,))
            portion = due[start : start + PORTION]
            look += self._read_portion({name: (keys[name], stamps[name]) for name in portion})
        # All that was a problem has been read again: what is none now is done with.
        return look + self._record(readable=self._listed.keys() - self._unreadable.keys())

    def _is_due(self, name: str, key: str, stamp: str | None) -> bool:
        location = self._of.folder.location(name)
        as_known = stamp is not None and self._known.get(location) == (key, stamp)
        return not as_known or location in self._listed

    def _left(self, names: Iterable[str], keys: set[str]) -> list[str]:
        there = {self._of.folder.location(name) for name in names}
        return [
            key
            for location, (key, _) in self._known.items()
            if location not in there and key not in keys
        ]

    def _read_portion(self, portion: Mapping[str, tuple[str, str | None]]) -> ScanSummary:
        source_items: list[Stamped] = []
        bad: list[SourceProblem] = []
        gone: list[str] = []
        for name, (key, stamp) in portion.items():
            source_item = self._of.folder.read(name, key)
            if not isinstance(source_item, SourceProblem):
                source_items.append((source_item, stamp))
                continue
            bad.append(source_item)
            location = self._of.folder.location(name)
            if source_item.location != location and location in self._known:
                gone.append(key)  # the file itself is not there any more
        self._unreadable |= {one.location: one for one in bad}
        readable = {source_item.location for source_item, _ in source_items} & self._listed.keys()
        return self._record(source_items, gone, bad, readable)

    def _record(
        self,
        source_items: Sequence[Stamped] = (),
        gone: Sequence[str] = (),
        problems: Sequence[SourceProblem] = (),
        readable: set[str] | frozenset[str] = frozenset(),
    ) -> ScanSummary:
        of = self._of
        news = [one for one in problems if self._listed.get(one.location) != one]
        if not (source_items or gone or news or readable):
            return ScanSummary()
        part = ScanPart(of.kind, of.folder.container, source_items, gone, news, sorted(readable))
        return seen(of.ledger.items.record_part(part))
