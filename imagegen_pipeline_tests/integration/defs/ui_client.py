"""What Dagster's UI would show: its own GraphQL, asked in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceLoadTarget
from dagster._utils.warnings import disable_dagster_warnings
from dagster_graphql.schema import create_schema
from dagster_graphql.test.utils import execute_dagster_graphql

CHECKS = """
query($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) {
    ... on AssetNode {
      partitionStats { numMaterialized numFailed numPartitions }
      assetChecksOrError {
        ... on AssetChecks {
          checks {
            name description blocking
            executionForLatestMaterialization { status evaluation { success severity description } }
            partitionStatuses {
              ... on AssetCheckDefaultPartitionStatuses {
                succeededPartitions failedPartitions inProgressPartitions
                skippedPartitions executionFailedPartitions
              }
            }
          }
        }
      }
    }
  }
}"""
EVALUATIONS = """
query($asset: AssetKeyInput!, $check: String!, $partition: String) {
  assetCheckExecutions(assetKey: $asset, checkName: $check, limit: 50, partition: $partition) {
    runId status
    evaluation {
      success severity description partition
      targetMaterialization { storageId runId timestamp }
      metadataEntries {
        label
        ... on MarkdownMetadataEntry { mdStr }
        ... on TextMetadataEntry { text }
        ... on FloatMetadataEntry { floatValue }
        ... on IntMetadataEntry { intValue }
      }
    }
  }
}"""
_VALUES = ("mdStr", "text", "floatValue", "intValue")


@cache
def _schema() -> Any:
    return create_schema()


class _ThisProcess(WorkspaceLoadTarget):
    def create_origins(self) -> list[InProcessCodeLocationOrigin]:
        target = LoadableTargetOrigin(module_name="imagegen_pipeline.definitions")
        return [InProcessCodeLocationOrigin(target, location_name="imagegen_pipeline")]


@dataclass
class UiClient:
    """Questions that the UI's pages ask."""

    context: WorkspaceProcessContext

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL answer, as of now."""
        with disable_dagster_warnings(), self.context.create_request_context() as request:
            answer = execute_dagster_graphql(request, query, variables, schema=_schema())
        assert not answer.errors, answer.errors
        return answer.data

    def checks(self, asset: str) -> dict[str, Mapping[str, Any]]:
        """An asset's checks, by name."""
        node = self.ask(CHECKS, asset={"path": [asset]})["assetNodeOrError"]
        return {check["name"]: check for check in node["assetChecksOrError"]["checks"]}

    def statuses(self, asset: str) -> dict[str, dict[str, str]]:
        """By check, the status that each partition has on the check's page; what is missing is
        left out.
        """
        return {
            name: {
                key: status.removesuffix("Partitions")
                for status, keys in check["partitionStatuses"].items()
                for key in keys
            }
            for name, check in self.checks(asset).items()
        }

    def evaluation(self, asset: str, check: str, partition: str) -> dict[str, Any]:
        """A partition's newest evaluation, its metadata by label."""
        found = self.ask(EVALUATIONS, asset={"path": [asset]}, check=check, partition=partition)
        (newest, *_) = found["assetCheckExecutions"]
        entries = newest["evaluation"]["metadataEntries"]
        values = {
            entry["label"]: next(entry[name] for name in _VALUES if name in entry)
            for entry in entries
        }
        return {**newest["evaluation"], "metadata": values, "runId": newest["runId"]}


def all_are(status: str, keys: Sequence[str]) -> dict[str, str]:
    """The status of each of these partitions."""
    return dict.fromkeys(keys, status)


@contextmanager
def open_ui(instance: dg.DagsterInstance) -> Iterator[UiClient]:
    """The UI of an instance, with the code location loaded in this process."""
    with disable_dagster_warnings():  # Dagster reads properties that it has deprecated itself
        context = WorkspaceProcessContext(instance, _ThisProcess())
    with context:
        yield UiClient(context)
