"""Beta and preview features of Dagster, used without their warnings.

The lock file pins the Dagster version that they were tested with, so a warning at every start would
tell a user nothing. The warnings are suppressed for these calls only.
"""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
from dagster._utils.warnings import disable_dagster_warnings

from imagegen_pipeline.dagster_ext.batching_sensor import BatchingAutomationSensor


def single_run_asset(**options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:  # noqa: ANN401 - as dg.asset
    """``dg.asset`` with a backfill policy of one run over all partitions (beta)."""

    def decorate(body: Callable[..., Any]) -> dg.AssetsDefinition:
        with disable_dagster_warnings():
            policy = dg.BackfillPolicy.single_run()
            definition: dg.AssetsDefinition = dg.asset(backfill_policy=policy, **options)(body)
        return definition

    return decorate


def partitioned_check_specs(
    asset: dg.AssetKey,
    partitions: dg.PartitionsDefinition[str],
    descriptions: Mapping[str, str],
) -> list[dg.AssetCheckSpec]:
    """A check spec with partitions (preview) for each name in ``descriptions``."""
    with disable_dagster_warnings():
        return [
            dg.AssetCheckSpec(name, asset=asset, description=text, partitions_def=partitions)
            for name, text in descriptions.items()
        ]


def batching_automation_sensor(name: str, **options: Any) -> BatchingAutomationSensor:  # noqa: ANN401 - as Dagster's
    """A ``BatchingAutomationSensor`` that the code server evaluates (beta)."""
    with disable_dagster_warnings():
        return BatchingAutomationSensor(name, use_user_code_server=True, **options)
