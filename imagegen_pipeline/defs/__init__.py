"""Dagster: partitions, resources, assets, sensors. Each body calls the pipeline and reports."""

import gc
import warnings

from dagster import BetaWarning

# What Dagster's import has made stays as long as the process. Taken out of the garbage collector's
# sight, it is not gone through again and again: 80 ms each time, once while this package loads.
gc.freeze()

# One run over a range rests on backfill policies, and the automation's few runs on a sensor that
# is evaluated here; the lock file pins the Dagster they were tried with, so the warning at every
# start tells a user nothing.
for _parameter in ("backfill_policy", "use_user_code_server"):
    warnings.filterwarnings("ignore", message=f"Parameter `{_parameter}`", category=BetaWarning)
