"""The code location: one explicit ``Definitions``. Loading it needs no API key and no provider."""

import dagster as dg

from imagegen_pipeline.defs import jobs, maintenance_jobs, schedules
from imagegen_pipeline.defs.assets import ASSETS, SETTINGS
from imagegen_pipeline.defs.resources import (
    DuomiResource,
    PipelineResource,
    RunPodResource,
    key_variable,
)
from imagegen_pipeline.defs.sensors import run_failures
from imagegen_pipeline.defs.sensors.automation import automation_sensor
from imagegen_pipeline.defs.sensors.collect import collect_sensor
from imagegen_pipeline.defs.sensors.sources import sources_sensor

defs = dg.Definitions(
    assets=ASSETS,
    jobs=[*jobs.JOBS, *maintenance_jobs.JOBS],
    schedules=[*schedules.SCHEDULES, *maintenance_jobs.SCHEDULES],
    sensors=[automation_sensor, collect_sensor, sources_sensor, *run_failures.SENSORS],
    resources={
        "pipeline": PipelineResource(),
        "duomi": DuomiResource(
            api_key=key_variable("DUOMI_API_KEY"), base_url=SETTINGS.duomi_base_url
        ),
        "runpod": RunPodResource(
            api_key=key_variable("RUNPOD_API_KEY"),
            endpoint_id=SETTINGS.runpod_endpoint or "",
            base_url=SETTINGS.runpod_base_url,
        ),
    },
    # Each run is one process: killing it leaves no orphaned step that goes on sending requests.
    executor=dg.in_process_executor,
)
