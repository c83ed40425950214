"""Reports the ledger's source items to Dagster: partitions, versions, and items that are gone.

Every change of an item has a sequence number. A sync registers the keys of the changes in that
order, many at once, and then writes their events in batches. It can stop after any change and
continue there. A repeated sync writes nothing: changes are compared with Dagster's records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import dagster as dg

from imagegen_pipeline.dagster_ext.data_versions import (
    ACTORS_ASSET,
    PROMPTS_ASSET,
    SourceVersions,
    source_asset,
)
from imagegen_pipeline.dagster_ext.names import ACTOR_PARTITIONS, PROMPT_PARTITIONS
from imagegen_pipeline.dagster_ext.partition_registry import add_missing

if TYPE_CHECKING:
    from imagegen_pipeline.clock import TimeBudget
    from imagegen_pipeline.domain.requests import ItemKind
    from imagegen_pipeline.ledger import Item, SourceChange
    from imagegen_pipeline.pipeline import Pipeline

KINDS: tuple[ItemKind, ItemKind] = ("actor", "prompt")
"""Actors first: they are few and do not wait for a great many prompts."""
MAX_KEYS_PER_TICK = 20_000
"""Partitions that a tick registers: half of what the UI shows without slowing down."""
IN_SOURCE = "in its source"
"""The metadata of an observation that says whether a source has its item."""
_PARTITIONS: Mapping[ItemKind, str] = {"prompt": PROMPT_PARTITIONS, "actor": ACTOR_PARTITIONS}
_ASSETS: Mapping[ItemKind, dg.AssetKey] = {"prompt": PROMPTS_ASSET, "actor": ACTORS_ASSET}
_KEYS_AT_ONCE, _CHANGES_AT_ONCE, _EVENTS_AT_ONCE = 2_000, 500, 50
_OBSERVATION = dg.DagsterEventType.ASSET_OBSERVATION


@dataclass
class ChangePosition:
    """The sequence numbers of the last registered and the last reported change of each kind."""

    registered: dict[ItemKind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    reported: dict[ItemKind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def as_cursor(self) -> str:
        """The position as a sensor's cursor."""
        return json.dumps({"registered": self.registered, "reported": self.reported})

    @classmethod
    def from_cursor(cls, cursor: str | None, newest: Mapping[ItemKind, int]) -> Self:
        """The position of a sensor's cursor.

        It is the beginning for a cursor of an older version, and for one that is ahead of
        ``newest``, the ledger's last changes: the ledger is another one, or an older copy.
        """
        position = cls()
        try:
            stored = json.loads(cursor or "{}")
            for kind in KINDS:
                registered, reported = stored["registered"][kind], stored["reported"][kind]
                if max(registered, reported) <= newest[kind]:
                    position.registered[kind], position.reported[kind] = registered, reported
        except (ValueError, TypeError, KeyError):
            return cls()
        return position


@dataclass
class SyncCounts:
    """How much a sync has reported, and how much remains."""

    registered: int = 0
    versions: int = 0
    gone: int = 0
    back: int = 0
    to_register: int = 0
    to_report: int = 0


class SourceSync:
    """Reports the changes after a position to Dagster and advances the position.

    With ``new`` it also reports the versions of items that Dagster has in no version. Without it
    those items are only registered, and get their version when their image is generated.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        pipeline: Pipeline,
        position: ChangePosition,
        *,
        new: bool,
    ) -> None:
        self._instance = instance
        self._items = pipeline.ledger.items
        self._new = new
        self.position = position

    def run(self, budget: TimeBudget | None = None, *, max_keys: int | None = None) -> SyncCounts:
        """Register at most ``max_keys`` keys (None: all), then report until the budget is spent."""
        counts = SyncCounts()
        newest = {kind: self._items.last_sequence(kind) for kind in KINDS}
        for kind in KINDS:
            self._register(kind, newest[kind], counts, max_keys)
        for kind in KINDS:
            self._report(kind, counts, budget)
        for kind, sequence in self.position.registered.items():
            counts.to_register += self._items.count_changes(kind, after=sequence)
        for kind, sequence in self.position.reported.items():
            counts.to_report += self._items.count_changes(kind, after=sequence)
        return counts

    def _register(
        self, kind: ItemKind, newest: int, counts: SyncCounts, max_keys: int | None
    ) -> None:
        after = self.position.registered
        left = None if max_keys is None else max_keys - counts.registered
        while after[kind] < newest and (left is None or left > 0):
            limit = _KEYS_AT_ONCE if left is None else min(left, _KEYS_AT_ONCE)
            page = self._items.changes(kind, after=after[kind], until=newest, limit=limit)
            keys = [change.key for change in page if not change.gone]
            counts.registered += len(add_missing(self._instance, _PARTITIONS[kind], keys))
            left = None if left is None else left - len(keys)
            after[kind] = page[-1].sequence if page else newest

    def _report(self, kind: ItemKind, counts: SyncCounts, budget: TimeBudget | None) -> None:
        after, until = self.position.reported, self.position.registered[kind]
        while after[kind] < until:
            page = self._items.changes(kind, after=after[kind], until=until, limit=_CHANGES_AT_ONCE)
            if not page:
                after[kind] = until
                return
            for sequence in self._report_page(kind, page, counts):
                after[kind] = sequence
                if budget is not None and budget.is_spent:
                    return

    def _report_page(
        self, kind: ItemKind, page: Sequence[SourceChange], counts: SyncCounts
    ) -> Iterator[int]:
        from imagegen_pipeline.dagster_ext.event_writer import write_events

        keys = [change.key for change in page]
        items = self._items.get(keys)
        versions = SourceVersions(self._instance, _ASSETS[kind], keys)
        partitions = self._instance.get_existing_dynamic_partitions(_PARTITIONS[kind], keys)
        gone = self._reported_gone(kind, keys)
        for start in range(0, len(page), _EVENTS_AT_ONCE):
            group = page[start : start + _EVENTS_AT_ONCE]
            events: list[dg.AssetMaterialization | dg.AssetObservation] = []
            for item in (items[change.key] for change in group):
                if not item.gone:
                    new_versions = self._new_versions(item, versions)
                    counts.versions += len(new_versions)
                    events += new_versions
                if item.gone and item.key in partitions and item.key not in gone:
                    counts.gone += 1
                    events.append(_gone_observation(item))
                elif not item.gone and item.key in gone:
                    counts.back += 1
                    events.append(_back_observation(item))
            write_events(self._instance, events)
            yield group[-1].sequence

    def _new_versions(self, item: Item, versions: SourceVersions) -> list[dg.AssetMaterialization]:
        unreported = versions.unreported if self._new else versions.changed
        return unreported([item.source_item])

    def _reported_gone(self, kind: ItemKind, keys: Sequence[str]) -> set[str]:
        """The keys whose newest observation in Dagster says that they are gone."""
        asset = _ASSETS[kind]
        observed = self._instance.event_log_storage.get_latest_storage_id_by_partition(
            asset, _OBSERVATION, set(keys)
        )
        gone = set()
        for key in observed:
            newest = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[key])
            (record,) = self._instance.fetch_observations(newest, limit=1).records
            observation = record.asset_observation
            value = observation.metadata.get(IN_SOURCE) if observation else None
            if value == dg.MetadataValue.bool(False):
                gone.add(key)
        return gone


def sync_all(instance: dg.DagsterInstance, pipeline: Pipeline) -> SyncCounts:
    """Register all items of the ledger, and report changed versions and items that are gone.

    ``sources_sensor`` reports the versions of items that are new to Dagster.
    """
    return SourceSync(instance, pipeline, ChangePosition(), new=False).run()


def _gone_observation(item: Item) -> dg.AssetObservation:
    noticed = datetime.fromtimestamp(item.last_seen, UTC)
    return dg.AssetObservation(
        source_asset(item.source_item),
        partition=item.key,
        description=f"Gone from its source since {noticed:%Y-%m-%d %H:%M} UTC: "
        f"{item.source_item.location}. Its images are kept.",
        metadata={
            IN_SOURCE: dg.MetadataValue.bool(False),
            "last location": dg.MetadataValue.text(item.source_item.location),
            "noticed": dg.MetadataValue.timestamp(noticed),
        },
    )


def _back_observation(item: Item) -> dg.AssetObservation:
    return dg.AssetObservation(
        source_asset(item.source_item),
        partition=item.key,
        description=f"Back in its source: {item.source_item.location}.",
        metadata={
            IN_SOURCE: dg.MetadataValue.bool(True),
            "location": dg.MetadataValue.text(item.source_item.location),
        },
    )
