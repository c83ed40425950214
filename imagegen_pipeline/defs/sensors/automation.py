"""``automation_sensor``: generates images for new and edited prompts and actors. Off by default.

``sources_sensor`` detects and registers; only ``automation_sensor`` launches runs. It requests the
image of a new or edited source item once, whatever the run's result. ``retry_failed`` and its
schedule retry failed items, within limits.
"""

import dagster as dg

from imagegen_pipeline.dagster_ext.beta_features import batching_automation_sensor
from imagegen_pipeline.dagster_ext.names import BASE_IMAGES, IMAGES, RESULTS

SECONDS_BETWEEN_TICKS = 30


def source_changed_condition(
    *, backlog: bool
) -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """Matches images whose prompt or actor is new or edited.

    With ``backlog`` it also matches images that were missing when the sensor was first switched on.
    docs/dagster.md says what goes wrong without each part of the condition.
    """
    condition = dg.AutomationCondition
    appeared = condition.newly_missing()
    if not backlog:
        appeared &= ~condition.initial_evaluation()
    handled = condition.newly_requested() | condition.newly_updated()
    new = appeared.since(handled) & ~condition.in_progress()
    first_event = (~condition.missing()).newly_true()
    edited = condition.any_deps_match(condition.data_version_changed() & ~first_event)
    ready = ~condition.any_deps_missing()
    return ((new | edited) & ready).with_label("its prompt or actor is new, or was edited")


automation_sensor = batching_automation_sensor(
    "automation_sensor",
    target=dg.AssetSelection.assets(IMAGES, BASE_IMAGES, RESULTS),
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    tags={"cost": "paid"},
    run_tags={"imagegen/automation": "true"},
    description="Switches automation on. It generates one image for each prompt or actor that is "
    "added or edited from then on, in one run for all of a tick. It spends money. It does not "
    "retry failed items.",
)
