"""Sensors that see new and changed prompts and actors: one run for a chunk, nothing twice.

The cursor is the sequence number of the last change that was handled. A sensor that is
switched on registers what is there and requests only what comes after, unless
``IMAGEGEN_SENSOR_BACKLOG=launch``: nobody buys 2,000 pictures by a switch.
"""

from collections.abc import Sequence

import dagster as dg

from imagegen_pipeline.defs.assets import (
    actor_base_images,
    actors,
    generated_images,
    generation_results,
    prompts,
)
from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.ledger.items import Kind
from imagegen_pipeline.pipeline import Found, Pipeline

CHUNK = 500
"""Items a run: a tick has 60 s, and a run reports about 100 partitions a second."""
SECONDS_BETWEEN_TICKS = 30
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"


def _tick(
    context: dg.SensorEvaluationContext,
    pipeline: Pipeline,
    found: Found,
    kind: Kind,
    partitions: dg.DynamicPartitionsDefinition,
    steps: Sequence[str],
) -> dg.SensorResult:
    for problem in found.problems:
        context.log.warning(problem.line)
    name = str(partitions.name)
    known = context.instance.get_dynamic_partitions(name)
    present = pipeline.ledger.items.keys(kind)
    missing = [key for key in present if key not in set(known)]
    add = [partitions.build_add_request(missing)] if missing else []
    backlog = pipeline.settings.sensor_backlog == "launch"
    if context.cursor is None and not backlog:
        cursor = str(pipeline.ledger.items.last_sequence())
        return dg.SensorResult(
            skip_reason=f"Switched on: {len(present)} are registered, {len(missing)} of them now. "
            "Only what comes after is requested; set IMAGEGEN_SENSOR_BACKLOG=launch for all.",
            dynamic_partitions_requests=add,
            cursor=cursor,
        )
    after = int(context.cursor or 0)
    # What was typed, or read from another folder by a command, is not this sensor's to buy.
    here = {one.key for one in found.prompts} | {one.key for one in found.actors}
    news = pipeline.ledger.items.news(kind, after=after, limit=CHUNK)
    wanted = [key for _, key in news if key in here]
    if not wanted:
        return dg.SensorResult(
            skip_reason=f"Nothing new: {len(present)} are known.",
            dynamic_partitions_requests=add,
            cursor=str(news[-1][0]) if news else context.cursor,
        )
    request = _request(wanted, [*known, *missing], steps)
    last = news[-1][0]
    return dg.SensorResult(
        run_requests=[request._replace(run_key=f"{name}-{news[0][0]}-{last}")],
        dynamic_partitions_requests=add,
        cursor=str(last),
    )


def _request(keys: list[str], order: list[str], steps: Sequence[str]) -> dg.RunRequest:
    """One run for ``keys``: the range that covers them, told to pass over all others."""
    place = {key: number for number, key in enumerate(order)}
    keys = sorted(keys, key=place.__getitem__)
    first, last = keys[0], keys[-1]
    if first == last:
        return dg.RunRequest(partition_key=first)
    contiguous = place[last] - place[first] == len(keys) - 1
    config = {} if contiguous else {"ops": {step: {"config": {"keys": keys}} for step in steps}}
    return dg.RunRequest(tags={_RANGE_START: first, _RANGE_END: last}, run_config=config)


@dg.sensor(
    target=dg.AssetSelection.assets(prompts, generated_images, generation_results),
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Finds new and changed prompts, registers them and requests their pictures. "
    "Switched on, it requests only what comes after.",
)
def new_prompts_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult:
    """Finds new and changed prompts, registers them and requests their pictures."""
    work = pipeline.get()
    steps = ("prompts", "generated_images")
    return _tick(context, work, work.scan_prompts(), "prompt", PROMPTS, steps)


@dg.sensor(
    target=dg.AssetSelection.assets(actors, actor_base_images, generation_results),
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Finds new and changed actors, registers them and requests their base images. "
    "Switched on, it requests only what comes after.",
)
def new_actors_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult:
    """Finds new and changed actors, registers them and requests their base images."""
    work = pipeline.get()
    steps = ("actors", "actor_base_images")
    return _tick(context, work, work.scan_actors(), "actor", ACTORS, steps)


SENSORS = [new_prompts_sensor, new_actors_sensor]
