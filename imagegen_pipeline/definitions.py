"""The code location: one explicit ``Definitions``. Loading it needs no API key and no provider."""

import dagster as dg

from imagegen_pipeline.defs import jobs, maintenance_jobs, schedules
from imagegen_pipeline.defs.assets import ASSETS
from imagegen_pipeline.defs.resources import pipeline_resource, provider_resources
from imagegen_pipeline.defs.sensors.automation import automation_sensor
from imagegen_pipeline.defs.sensors.collect import collect_sensor
from imagegen_pipeline.defs.sensors.run_failures import failure_sensor
from imagegen_pipeline.defs.sensors.sources import sources_sensor

PROVIDERS = provider_resources()

defs = dg.Definitions(
    assets=ASSETS,
    jobs=[*jobs.JOBS, *maintenance_jobs.JOBS],
    schedules=[*schedules.SCHEDULES, *maintenance_jobs.SCHEDULES],
    sensors=[automation_sensor, collect_sensor, sources_sensor, failure_sensor],
    resources={**PROVIDERS, "pipeline": pipeline_resource(PROVIDERS)},
    # Each run is one process: killing it leaves no orphaned step that goes on sending requests.
    executor=dg.in_process_executor,
)
