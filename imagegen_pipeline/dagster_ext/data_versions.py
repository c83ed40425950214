"""Data versions: how Dagster sees which pictures are out of date.

A source's event carries the digest of its text; a picture's event says which of them it was made
from. The tags are those that Dagster writes itself for assets that it makes one at a time; all
of them are needed, or a picture reads as stale for ever (or never).
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    extract_data_version_from_entry,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

from imagegen_pipeline.dagster_ext.names import BASE_IMAGES, IMAGES
from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Attempt

CODE_VERSION = "1"
"""To be raised when pictures would be made differently from the same request."""
_OLDER, _BEFORE_ALL = "older", 1
"""Of a picture that was made from a text which its source no longer has: a version that no event
has, and a place in the log before the source's events, so that each of those is news. (Without
a place Dagster compares the newest event with itself.)
"""
_MADE = dg.DagsterEventType.ASSET_MATERIALIZATION
PROMPTS_ASSET, ACTORS_ASSET = dg.AssetKey("prompts"), dg.AssetKey("actors")


def source_event(source_item: Prompt | Actor) -> dg.AssetMaterialization:
    """An item as its source has it now, with the digest of its text as its version."""
    text = source_item.text if isinstance(source_item, Prompt) else source_item.description
    return dg.AssetMaterialization(
        source_asset(source_item),
        partition=source_item.key,
        metadata={
            "text": dg.MetadataValue.text(text),
            "location": dg.MetadataValue.text(source_item.location),
            "characters": len(text),
        },
        tags={DATA_VERSION_TAG: source_item.digest, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"},
    )


def source_asset(source_item: Prompt | Actor) -> dg.AssetKey:
    """The asset that an item is a partition of."""
    return PROMPTS_ASSET if isinstance(source_item, Prompt) else ACTORS_ASSET


class SourceVersions:
    """What the newest events of a source's partitions say, read at once for all of them."""

    def __init__(
        self, instance: dg.DagsterInstance, source: dg.AssetKey, keys: Sequence[str]
    ) -> None:
        self._instance, self._source, self._keys = instance, source, keys
        self.read()

    def read(self) -> None:
        """Read them anew: something was reported."""
        storage, source, keys = self._instance.event_log_storage, self._source, self._keys
        self._ids = storage.get_latest_storage_id_by_partition(source, _MADE, set(keys))
        tags = storage.get_latest_tags_by_partition(
            source, _MADE, tag_keys=[DATA_VERSION_TAG], asset_partitions=list(keys)
        )
        # They are in memory for as long as a run takes, and a dictionary is larger than a version.
        self._versions = {key: of_it.get(DATA_VERSION_TAG) for key, of_it in tags.items()}

    def forget(self) -> None:
        """Let go of what was read, which is no longer asked for."""
        self._keys, self._ids, self._versions = (), {}, {}

    def news(self, source_items: Iterable[Prompt | Actor]) -> list[dg.AssetMaterialization]:
        """The events of those that Dagster knows in another version, or not at all."""
        return [
            source_event(one) for one in source_items if self._versions.get(one.key) != one.digest
        ]

    def changes(self, source_items: Iterable[Prompt | Actor]) -> list[dg.AssetMaterialization]:
        """The events of those that Dagster knows in another version: what is made from them is
        out of date. A new one has nothing yet that could be.
        """
        known = (one for one in source_items if self._versions.get(one.key) is not None)
        return self.news(known)

    def tags(self, attempt: Attempt, made_from: str | None) -> Mapping[str, str]:
        """The tags of a picture's event; ``made_from`` as ``Wanting.made_from`` tells it."""
        pointer: object = _BEFORE_ALL
        if made_from is not None:
            pointer = self._ids.get(attempt.item_key, NULL_EVENT_POINTER)
        return {
            DATA_VERSION_TAG: attempt.digest or "",
            DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
            CODE_VERSION_TAG: CODE_VERSION,
            get_input_data_version_tag(self._source): made_from or _OLDER,
            get_input_event_pointer_tag(self._source): str(pointer),
        }


def table_tags(instance: dg.DagsterInstance) -> Mapping[str, str]:
    """The tags of the results' event where no step of its own writes it: made from all pictures
    that were reported until now. Without them Dagster shows the table as out of date while any
    partition has no picture.
    """
    tags = {CODE_VERSION_TAG: CODE_VERSION}
    for asset in (IMAGES, BASE_IMAGES):
        newest = instance.get_latest_data_version_record(asset)
        version = extract_data_version_from_entry(newest.event_log_entry) if newest else None
        tags |= {
            get_input_data_version_tag(asset): (version or DEFAULT_DATA_VERSION).value,
            get_input_event_pointer_tag(asset): str(
                newest.storage_id if newest else NULL_EVENT_POINTER
            ),
        }
    return tags
