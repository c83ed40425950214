"""Dagster: partitions, resources, assets, sensors. Each body calls the pipeline and reports."""

import warnings

from dagster import BetaWarning

# One run over a range rests on backfill policies, and the automation's few runs on a sensor that
# is evaluated here; the lock file pins the Dagster they were tried with, so the warning at every
# start tells a user nothing.
for _parameter in ("backfill_policy", "use_user_code_server"):
    warnings.filterwarnings("ignore", message=f"Parameter `{_parameter}`", category=BetaWarning)
