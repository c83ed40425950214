"""A partition a prompt, a partition an actor; both grow as the sources do."""

import contextlib

import dagster as dg

_TRIES = 20
_AT_ONCE = 2_000
"""Keys that one statement asks for: a database takes no more than 32,766."""
PROMPTS = dg.DynamicPartitionsDefinition(name="prompts")
ACTORS = dg.DynamicPartitionsDefinition(name="actors")


def add_missing(
    instance: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, keys: list[str]
) -> list[str]:
    """Register the keys that Dagster does not know yet, in their order; returns those."""
    added: list[str] = []
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _AT_ONCE):
        added += _add_some(instance, str(partitions.name), wanted[start : start + _AT_ONCE])
    return added


def _add_some(instance: dg.DagsterInstance, name: str, keys: list[str]) -> list[str]:
    from sqlalchemy.exc import IntegrityError

    for _ in range(_TRIES):
        known = instance.get_existing_dynamic_partitions(name, keys)
        missing = [key for key in keys if key not in known]
        if not missing:
            break
        with contextlib.suppress(IntegrityError):  # another process has added one meanwhile
            instance.add_dynamic_partitions(name, missing)
            break
    return missing
