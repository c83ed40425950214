"""Registers dynamic partition keys, safely with other processes that do the same."""

import contextlib

import dagster as dg

_TRIES = 20
_KEYS_PER_STATEMENT = 2_000
"""SQLite accepts at most 32,766 parameters in a statement."""


def add_missing(instance: dg.DagsterInstance, partitions: str, keys: list[str]) -> list[str]:
    """Register the keys missing from the definition named ``partitions``; return them in order."""
    added: list[str] = []
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), _KEYS_PER_STATEMENT):
        added += _add_some(instance, partitions, wanted[start : start + _KEYS_PER_STATEMENT])
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
