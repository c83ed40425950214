"""A Dagster location with only two assets and a condition: the least that a tick can take.

Its instance, its sensor and its assets are Dagster's own. The condition is the project's, or
``AutomationCondition.eager()``, the nearest of those that Dagster comes with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

Condition = dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]


def bare_location(
    condition: Condition,
) -> tuple[dg.AutomationConditionSensorDefinition, dg.Definitions]:
    """``generated_images`` from ``prompts``, each with a partition for every prompt, and the
    sensor that evaluates the condition.
    """
    partitions = dg.DynamicPartitionsDefinition(name="prompts")
    prompts = dg.AssetSpec("prompts", partitions_def=partitions)

    @dg.asset(deps=[prompts], partitions_def=partitions, automation_condition=condition)
    def generated_images() -> None:
        """Never made here."""

    sensor = dg.AutomationConditionSensorDefinition(
        "bare_sensor", target=dg.AssetSelection.assets(generated_images), use_user_code_server=True
    )
    return sensor, dg.Definitions(assets=[prompts, generated_images], sensors=[sensor])


@contextmanager
def bare_instance() -> Iterator[tuple[dg.DagsterInstance, Path]]:
    """A new instance in a temporary folder, and that folder."""
    with (
        tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        yield instance, Path(folder)
