"""The code location: one explicit ``Definitions``. Loading it needs no key and no service."""

# ruff: noqa: E402 - the collector rests while Dagster is imported
import gc

# Nothing that an import makes is garbage, and looking for it takes a seventh of the time.
_COLLECTS = gc.isenabled()
gc.disable()

import dagster as dg

from imagegen_pipeline.defs import jobs, maintenance_jobs
from imagegen_pipeline.defs.assets import ASSETS
from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.defs.sensors.automation import automation_sensor
from imagegen_pipeline.defs.sensors.collect import collect_sensor
from imagegen_pipeline.defs.sensors.run_failures import failure_sensor
from imagegen_pipeline.defs.sensors.sources import sources_sensor

if _COLLECTS:
    gc.enable()

defs = dg.Definitions(
    assets=ASSETS,
    jobs=[*jobs.JOBS, *maintenance_jobs.JOBS],
    schedules=[*jobs.SCHEDULES, *maintenance_jobs.SCHEDULES],
    sensors=[automation_sensor, collect_sensor, sources_sensor, failure_sensor],
    resources={"pipeline": PipelineResource()},
    # One process for each run: killing it leaves no orphan that goes on buying.
    executor=dg.in_process_executor,
)
