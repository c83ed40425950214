"""What the ledger knows of the sources, told to Dagster: partitions, versions, what is gone.

Each change of an item has a number, and Dagster is told of them in that order: first the keys are
registered, many at once, and then what has changed is reported, in batches. Whoever tells may stop
behind any of them and go on there. Telling something twice writes nothing: it is compared with what
Dagster knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
"""Actors first: they are few, and do not wait for a great many prompts."""
MOST_KEYS = 20_000
"""Partitions that are registered at once: half of what the UI shows without getting slow."""
IN_SOURCE = "in its source"
"""The metadata of an observation that says whether a source has its item."""
_PARTITIONS: Mapping[ItemKind, str] = {"prompt": PROMPT_PARTITIONS, "actor": ACTOR_PARTITIONS}
_ASSETS: Mapping[ItemKind, dg.AssetKey] = {"prompt": PROMPTS_ASSET, "actor": ACTORS_ASSET}
_KEYS_AT_ONCE, _CHANGES_AT_ONCE, _EVENTS_AT_ONCE = 2_000, 500, 50
_SEEN = dg.DagsterEventType.ASSET_OBSERVATION


@dataclass
class ChangePosition:
    """How far Dagster has been told: the numbers of the last changes, for each kind of item."""

    registered: dict[ItemKind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    reported: dict[ItemKind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def as_cursor(self) -> str:
        """The place as a sensor's cursor."""
        return json.dumps({"registered": self.registered, "reported": self.reported})


def position_of(cursor: str | None, newest: Mapping[ItemKind, int]) -> ChangePosition:
    """The place of a sensor's cursor.

    It is the beginning for a cursor of an older program, and for one that is ahead of the
    ledger's ``newest`` changes: the ledger is another one, or an older copy.
    """
    place = ChangePosition()
    try:
        stored = json.loads(cursor or "{}")
        for kind in KINDS:
            registered, reported = stored["registered"][kind], stored["reported"][kind]
            if max(registered, reported) <= newest[kind]:
                place.registered[kind], place.reported[kind] = registered, reported
    except (ValueError, TypeError, KeyError):
        return ChangePosition()
    return place


@dataclass
class SyncCounts:
    """What Dagster was told, as counts, and what it is still to be told."""

    registered: int = 0
    versions: int = 0
    gone: int = 0
    back: int = 0
    to_register: int = 0
    to_report: int = 0


class SourceSync:
    """Tells Dagster what has changed in the ledger behind a place, and moves the place on.

    ``new``: report also the versions of items that Dagster knows in none. Without it they are
    registered only, and get their version when their picture is made.
    """

    def __init__(
        self, instance: dg.DagsterInstance, pipeline: Pipeline, place: ChangePosition, *, new: bool
    ) -> None:
        self._instance = instance
        self._items = pipeline.ledger.items
        self._new = new
        self.place = place

    def tell(self, budget: TimeBudget | None = None, *, most_keys: int | None = None) -> SyncCounts:
        """Register ``most_keys`` at most (None: all), then report until the budget is spent, if
        there is one.
        """
        told = SyncCounts()
        newest = {kind: self._items.last_sequence(kind) for kind in KINDS}
        for kind in KINDS:
            self._register(kind, newest[kind], told, most_keys)
        for kind in KINDS:
            self._report(kind, told, budget)
        for kind, place in self.place.registered.items():
            told.to_register += self._items.count_changes(kind, after=place)
        for kind, place in self.place.reported.items():
            told.to_report += self._items.count_changes(kind, after=place)
        return told

    def _register(self, kind: ItemKind, newest: int, told: SyncCounts, most: int | None) -> None:
        after = self.place.registered
        left = None if most is None else most - told.registered
        while after[kind] < newest and (left is None or left > 0):
            limit = _KEYS_AT_ONCE if left is None else min(left, _KEYS_AT_ONCE)
            page = self._items.changes(kind, after=after[kind], until=newest, limit=limit)
            keys = [change.key for change in page if not change.gone]
            told.registered += len(add_missing(self._instance, _PARTITIONS[kind], keys))
            left = None if left is None else left - len(keys)
            after[kind] = page[-1].sequence if page else newest

    def _report(self, kind: ItemKind, told: SyncCounts, budget: TimeBudget | None) -> None:
        after, until = self.place.reported, self.place.registered[kind]
        while after[kind] < until:
            page = self._items.changes(kind, after=after[kind], until=until, limit=_CHANGES_AT_ONCE)
            if not page:
                after[kind] = until
                return
            for sequence in self._report_page(kind, page, told):
                after[kind] = sequence
                if budget is not None and budget.is_spent:
                    return

    def _report_page(
        self, kind: ItemKind, page: Sequence[SourceChange], told: SyncCounts
    ) -> Iterator[int]:
        from imagegen_pipeline.dagster_ext.event_log import report_together

        keys = [change.key for change in page]
        items = self._items.get(keys)
        versions = SourceVersions(self._instance, _ASSETS[kind], keys)
        known = self._instance.get_existing_dynamic_partitions(_PARTITIONS[kind], keys)
        absent = self._said_to_be_gone(kind, keys)
        for start in range(0, len(page), _EVENTS_AT_ONCE):
            group = page[start : start + _EVENTS_AT_ONCE]
            events: list[dg.AssetMaterialization | dg.AssetObservation] = []
            for item in (items[change.key] for change in group):
                if not item.gone:
                    news = self._versions(item, versions)
                    told.versions += len(news)
                    events += news
                if item.gone and item.key in known and item.key not in absent:
                    told.gone += 1
                    events.append(_gone_observation(item))
                elif not item.gone and item.key in absent:
                    told.back += 1
                    events.append(_back_observation(item))
            report_together(self._instance, events)
            yield group[-1].sequence

    def _versions(self, item: Item, versions: SourceVersions) -> list[dg.AssetMaterialization]:
        return (
            versions.news([item.source_item]) if self._new else versions.changes([item.source_item])
        )

    def _said_to_be_gone(self, kind: ItemKind, keys: Sequence[str]) -> set[str]:
        """Of these, the ones of which the newest observation says that they are gone."""
        asset = _ASSETS[kind]
        observed = self._instance.event_log_storage.get_latest_storage_id_by_partition(
            asset, _SEEN, set(keys)
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
    """Register all that the ledger has and report what Dagster knows in another version, or does
    not know to be gone. Versions of what is new to it are left to ``sources_sensor``.
    """
    return SourceSync(instance, pipeline, ChangePosition(), new=False).tell()


def _gone_observation(item: Item) -> dg.AssetObservation:
    """An item that its source no longer has, in its partition's own list of events."""
    noticed = datetime.fromtimestamp(item.last_seen, UTC)
    return dg.AssetObservation(
        source_asset(item.source_item),
        partition=item.key,
        description=f"Gone from its source since {noticed:%Y-%m-%d %H:%M} UTC: "
        f"{item.source_item.location}. The pictures made of it stay.",
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
