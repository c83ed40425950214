"""An automation sensor that launches few runs, each over many partitions."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster_shared.record import replace

from imagegen_pipeline.dagster_ext.names import RESULTS

if TYPE_CHECKING:
    from imagegen_pipeline.app.retry_eligibility import RetryEligibility

MAX_PARTITIONS_PER_RUN = 1000
"""Keeps a run short enough that terminating it loses little work."""


class BatchingAutomationSensor(dg.AutomationConditionSensorDefinition):
    """Evaluates automation conditions as Dagster does and merges the requested runs.

    Dagster launches a run for each stretch of neighbouring partitions: 200 scattered edits are up
    to 200 runs. This sensor launches one run and names the partitions in its configuration.
    """

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> SensorExecutionData:
        """Dagster's own tick, with its run requests merged by asset."""
        from imagegen_pipeline.app.retry_eligibility import retry_eligibility
        from imagegen_pipeline.dagster_ext.event_log import cached_partition_keys
        from imagegen_pipeline.pipeline import Pipeline

        with cached_partition_keys():
            tick = super().evaluate_tick(context)
        requested = _requested_partitions(tick.run_requests or [])
        if requested:
            with closing(Pipeline()) as work:
                eligible = {
                    asset: retry_eligibility(work, keys) for asset, keys in requested.items()
                }
            context.log.info(" ".join(_summary(asset, one) for asset, one in eligible.items()))
            requested = {asset: one.now for asset, one in eligible.items()}
        return replace(tick, run_requests=merged_run_requests(requested, self.run_tags))


def _requested_partitions(requests: Sequence[dg.RunRequest]) -> dict[dg.AssetKey, list[str]]:
    """The partitions of each asset that Dagster's own tick requests."""
    keys: dict[dg.AssetKey, set[str]] = {}
    for request in requests:
        subset = request.asset_graph_subset
        if subset is None:
            for asset in request.asset_selection or []:
                keys.setdefault(asset, set()).add(str(request.partition_key))
        else:
            for asset, partitions in subset.partitions_subsets_by_asset_key.items():
                keys.setdefault(asset, set()).update(partitions.get_partition_keys())
    return {asset: sorted(of_asset) for asset, of_asset in keys.items()}


def _summary(asset: dg.AssetKey, eligible: "RetryEligibility") -> str:
    waiting = len(eligible.paused) + len(eligible.final)
    note = f"; {waiting} failed recently and wait" if waiting else ""
    return f"{len(eligible.now)} partitions of {asset.to_user_string()} are requested{note}."


def merged_run_requests(
    partitions: Mapping[dg.AssetKey, Sequence[str]], tags: Mapping[str, str]
) -> list[dg.RunRequest]:
    """Run requests over these partitions, up to ``MAX_PARTITIONS_PER_RUN`` each.

    Dagster accepts one partition or a contiguous range for a run. Each request is for its first
    partition and lists all of its partitions as ``keys`` in the run configuration.
    """
    requests = []
    for asset, keys in partitions.items():
        for start in range(0, len(keys), MAX_PARTITIONS_PER_RUN):
            chunk = list(keys[start : start + MAX_PARTITIONS_PER_RUN])
            requests.append(
                dg.RunRequest(
                    asset_selection=[asset, RESULTS],
                    partition_key=chunk[0],
                    run_config={"ops": {asset.to_python_identifier(): {"config": {"keys": chunk}}}},
                    tags={**tags, PARTITION_NAME_TAG: chunk[0]},
                )
            )
    return requests
