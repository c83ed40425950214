"""Data versions: the tags by which Dagster shows which images are stale.

The event of a source item has the digest of its text as its data version. The event of an image
names the version that the image was made from. Dagster writes the same tags for assets that it
materializes one partition at a time. All of them are required: without one, an image is always
stale, or never.
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
"""Increase it when the same request would generate another image."""
_OLDER_VERSION, _FIRST_EVENT = "older", 1
"""The input version of an image made from a text that its source no longer has: a version of no
event, and a storage id before the source's events, so that all of those are newer. (Without a
storage id Dagster compares the newest event with itself.)
"""
_MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION
PROMPTS_ASSET, ACTORS_ASSET = dg.AssetKey("prompts"), dg.AssetKey("actors")


def source_event(source_item: Prompt | Actor) -> dg.AssetMaterialization:
    """The materialization of a source item, with the digest of its text as its data version."""
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
    """The data versions of source items in Dagster, read by one query for all of them."""

    def __init__(
        self, instance: dg.DagsterInstance, source: dg.AssetKey, keys: Sequence[str]
    ) -> None:
        self._instance, self._source, self._keys = instance, source, keys
        self.read()

    def read(self) -> None:
        """Read the versions again, after events were written."""
        storage, source, keys = self._instance.event_log_storage, self._source, self._keys
        self._ids = storage.get_latest_storage_id_by_partition(source, _MATERIALIZATION, set(keys))
        tags = storage.get_latest_tags_by_partition(
            source, _MATERIALIZATION, tag_keys=[DATA_VERSION_TAG], asset_partitions=list(keys)
        )
        # Held in memory for a whole run: the versions alone are smaller than the tags.
        self._versions = {key: values.get(DATA_VERSION_TAG) for key, values in tags.items()}

    def forget(self) -> None:
        """Release the versions, when no more tags are needed."""
        self._keys, self._ids, self._versions = (), {}, {}

    def unreported(self, source_items: Iterable[Prompt | Actor]) -> list[dg.AssetMaterialization]:
        """The events of items that Dagster has in another version, or in none."""
        return [
            source_event(one) for one in source_items if self._versions.get(one.key) != one.digest
        ]

    def changed(self, source_items: Iterable[Prompt | Actor]) -> list[dg.AssetMaterialization]:
        """The events of items that Dagster has in another version, so that their images are stale.

        An item that Dagster has in no version has no image that could be stale.
        """
        known = (one for one in source_items if self._versions.get(one.key) is not None)
        return self.unreported(known)

    def tags(self, attempt: Attempt, made_from: str | None) -> Mapping[str, str]:
        """The tags of an image's event; ``made_from`` is ``RequestBuilder.made_from``'s result."""
        pointer: object = _FIRST_EVENT
        if made_from is not None:
            pointer = self._ids.get(attempt.item_key, NULL_EVENT_POINTER)
        return {
            DATA_VERSION_TAG: attempt.digest or "",
            DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
            CODE_VERSION_TAG: CODE_VERSION,
            get_input_data_version_tag(self._source): made_from or _OLDER_VERSION,
            get_input_event_pointer_tag(self._source): str(pointer),
        }


def table_tags(instance: dg.DagsterInstance) -> Mapping[str, str]:
    """The tags of a results event that is not written by the asset's own step: made from all
    images reported until now. Without them Dagster shows the table as stale while any partition
    has no image.
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
