"""Automation: conditions decide what is due, one sensor has it made. Off until it is switched on.

``sources_sensor`` detects and registers; ``automation_sensor`` alone launches. A picture is due
when its prompt is new, or has another text than before: once, however its run ends. What fails is
tried again by ``retry_failed`` and its schedule, within limits, never from here.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster_shared.record import replace

from imagegen_pipeline.dagster_ext.names import BASE_IMAGES, IMAGES, RESULTS

if TYPE_CHECKING:
    from imagegen_pipeline.app.retry_eligibility import RetryEligibility

SECONDS_BETWEEN_TICKS = 30
CHUNK = 1000
"""Pictures a run at most, so that a run ends in reasonable time and terminating it loses little."""


def source_changed_condition(
    *, backlog: bool
) -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """The pictures whose source is new or has changed; with ``backlog`` also those that were
    missing when the sensor was first switched on.

    Each part is there for a case that was seen to go wrong without it. A picture that is missing
    *becomes* due, and is no longer when it was asked for, so a failing one is asked for once; one
    that was asked for or is being made is passed over. A source's first event is no edit. An edit
    counts even while a run is at it, and after a failure.
    """
    condition = dg.AutomationCondition
    appeared = condition.newly_missing()
    if not backlog:
        appeared &= ~condition.initial_evaluation()
    asked_for = condition.newly_requested() | condition.newly_updated()
    new = appeared.since(asked_for) & ~condition.in_progress()
    first_seen = (~condition.missing()).newly_true()
    edited = condition.any_deps_match(condition.data_version_changed() & ~first_seen)
    ready = ~condition.any_deps_missing()
    return ((new | edited) & ready).with_label("its prompt or actor is new, or was edited")


class BatchingAutomationSensor(dg.AutomationConditionSensorDefinition):
    """Evaluates the conditions as Dagster's own sensor does, and has what is due made in few runs.

    Dagster would launch a run for each stretch of neighbouring partitions: 200 scattered edits
    would be up to 200 runs. Here they are one that names them.
    """

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> SensorExecutionData:
        """Called by Dagster; the runs that it would request are gathered."""
        from imagegen_pipeline.app.retry_eligibility import retry_eligibility
        from imagegen_pipeline.dagster_ext.event_log import partitions_of_one_moment
        from imagegen_pipeline.pipeline import Pipeline

        with partitions_of_one_moment():
            tick = super().evaluate_tick(context)
        wanted = _wanted(tick.run_requests or [])
        if wanted:
            with closing(Pipeline()) as work:
                source_changed_condition = {
                    asset: retry_eligibility(work, keys) for asset, keys in wanted.items()
                }
            context.log.info(
                " ".join(_said(asset, one) for asset, one in source_changed_condition.items())
            )
            wanted = {asset: one.now for asset, one in source_changed_condition.items()}
        requests = runs_over(wanted, self.run_tags)
        return replace(tick, run_requests=requests)


def _wanted(requests: Sequence[dg.RunRequest]) -> dict[dg.AssetKey, list[str]]:
    """The partitions of each asset that Dagster's own sensor would have made."""
    keys: dict[dg.AssetKey, set[str]] = {}
    for request in requests:
        subset = request.asset_graph_subset
        if subset is None:
            for asset in request.asset_selection or []:
                keys.setdefault(asset, set()).add(str(request.partition_key))
        else:
            for asset, partitions in subset.partitions_subsets_by_asset_key.items():
                keys.setdefault(asset, set()).update(partitions.get_partition_keys())
    return {asset: sorted(found) for asset, found in keys.items()}


def _said(asset: dg.AssetKey, source_changed_condition: "RetryEligibility") -> str:
    waiting = len(source_changed_condition.paused) + len(source_changed_condition.final)
    but = f"; {waiting} have failed too often just now" if waiting else ""
    return f"{len(source_changed_condition.now)} of {asset.to_user_string()} are due{but}."


def runs_over(
    wanted: Mapping[dg.AssetKey, Sequence[str]], tags: Mapping[str, str]
) -> list[dg.RunRequest]:
    """The runs that make these partitions, up to ``CHUNK`` of them each.

    Dagster makes a run for one partition, or for neighbours. Each of these is for its first one,
    and has the others named in its configuration.
    """
    return [
        dg.RunRequest(
            asset_selection=[asset, RESULTS],
            partition_key=keys[start],
            run_config={
                "ops": {
                    asset.to_python_identifier(): {
                        "config": {"keys": list(keys[start : start + CHUNK])}
                    }
                }
            },
            tags={**tags, PARTITION_NAME_TAG: keys[start]},
        )
        for asset, keys in wanted.items()
        for start in range(0, len(keys), CHUNK)
    ]


automation_sensor = BatchingAutomationSensor(
    name="automation_sensor",
    target=dg.AssetSelection.assets(IMAGES, BASE_IMAGES, RESULTS),
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    use_user_code_server=True,
    tags={"cost": "paid"},
    run_tags={"imagegen/automation": "true"},
    description="The one switch of automation. Switched on, it has the picture made of each prompt "
    "and actor that is new or was edited from then on: once, in one run for all that is due. It "
    "buys pictures; what fails is not tried again from here.",
)
