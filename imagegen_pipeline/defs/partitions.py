"""A partition a prompt, a partition an actor; both grow as the sources do."""

import contextlib

import dagster as dg
from sqlalchemy.exc import IntegrityError

_TRIES = 20
PROMPTS = dg.DynamicPartitionsDefinition(name="prompts")
ACTORS = dg.DynamicPartitionsDefinition(name="actors")


def add_missing(
    instance: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, keys: list[str]
) -> list[str]:
    """Register the keys that Dagster does not know yet, in their order; returns those."""
    name = str(partitions.name)
    for _ in range(_TRIES):
        known = set(instance.get_dynamic_partitions(name))
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        if not missing:
            break
        with contextlib.suppress(IntegrityError):  # another process has added one meanwhile
            instance.add_dynamic_partitions(name, missing)
            break
    return missing
