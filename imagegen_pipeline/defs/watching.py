"""The sensor that sees what the sources have now: it registers, and says what has changed.

It is on by default, since it requests nothing and costs nothing. What has changed is reported as
the source's new version, by which Dagster shows the pictures made from the old one as out of
date; making them again is another sensor's affair, or a person's.
"""

from collections.abc import Sequence

import dagster as dg

from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.versions import changed_sources
from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.ledger.items import Kind
from imagegen_pipeline.pipeline import Pipeline

_KINDS: tuple[Kind, Kind] = ("prompt", "actor")
SECONDS_BETWEEN_TICKS = 30
CHUNK = 300
"""Changes that one tick reports, at about 10 ms each; the next one goes on behind them."""


@dg.sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at the prompts' and actors' sources, registers what is new and reports "
    "what has changed, so that its pictures are shown as out of date. Requests nothing.",
)
def sources_sensor(
    context: dg.SensorEvaluationContext, pipeline: PipelineResource
) -> dg.SensorResult:
    """Registers what is new in the sources, and reports what has changed."""
    work = pipeline.get()
    for problem in (*work.scan_prompts().problems, *work.scan_actors().problems):
        context.log.warning(problem.line)
    add = []
    for kind, partitions in zip(_KINDS, (PROMPTS, ACTORS), strict=True):
        known = set(context.instance.get_dynamic_partitions(str(partitions.name)))
        missing = [key for key in work.ledger.items.keys(kind) if key not in known]
        if missing:
            add.append(partitions.build_add_request(missing))
    things, cursor = _touched(work, context.cursor)
    events = changed_sources(context.instance, things, new=True)
    added = sum(len(request.partition_keys) for request in add)
    return dg.SensorResult(
        skip_reason=f"{added} new and {len(events)} changed in the sources.",
        dynamic_partitions_requests=add,
        asset_events=events,
        cursor=cursor,
    )


def _touched(work: Pipeline, cursor: str | None) -> tuple[Sequence[Prompt | Actor], str]:
    """What was new or changed behind the cursor, and the next one: a number for each kind."""
    after = [int(part) for part in cursor.split()] if cursor else [0, 0]
    keys: list[str] = []
    for at, kind in enumerate(_KINDS):
        news = work.ledger.items.news(kind, after=after[at], limit=CHUNK)
        keys += [key for _, key in news]
        after[at] = news[-1][0] if news else after[at]
    things = [item.thing for item in work.ledger.items.get(keys).values()]
    return things, " ".join(map(str, after))
