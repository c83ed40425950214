"""Dagster: partitions, resources, assets, sensors. Each body calls the pipeline and reports."""

import warnings

from dagster import BetaWarning

# One run over a range rests on backfill policies; the lock file pins the Dagster they were
# tried with, so the warning at every start tells a user nothing.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=BetaWarning)
