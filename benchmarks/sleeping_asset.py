"""A code location with one asset that makes nothing: it sleeps, then logs events.

It has the partitions and the checks that ``generated_images`` has, and is run by the same
executor, so that a run of it shows what Dagster itself takes for such a run.
"""

import time
from collections.abc import Iterator

import dagster as dg

CHECKS = ("one", "two", "three", "four", "five")
"""As many as a picture of a prompt has."""
PROMPTS = dg.DynamicPartitionsDefinition(name="prompts")


class Sleep(dg.Config):
    """How long the asset sleeps before it logs."""

    seconds: float


@dg.asset(
    partitions_def=PROMPTS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[
        dg.AssetCheckSpec(name, asset="sleeping", partitions_def=PROMPTS) for name in CHECKS
    ],
    output_required=False,
)
def sleeping(context: dg.AssetExecutionContext, config: Sleep) -> Iterator[dg.AssetCheckResult]:
    """Sleeps once, then logs for each partition what a picture's first run logs: a materialization
    of its source and one of its own, and its checks' evaluations.
    """
    time.sleep(config.seconds)
    for key in context.partition_keys:
        context.log_event(dg.AssetMaterialization("source", partition=key))
        context.log_event(dg.AssetMaterialization("sleeping", partition=key))
        for name in CHECKS:
            context.log_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey("sleeping"), check_name=name, passed=True, partition=key
                )
            )
    for name in CHECKS:
        yield dg.AssetCheckResult(check_name=name, passed=True)


defs = dg.Definitions(assets=[sleeping], executor=dg.in_process_executor)
