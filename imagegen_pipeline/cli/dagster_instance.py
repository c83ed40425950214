"""Opens Dagster's own records for a command."""

from __future__ import annotations

from typing import Any


def open_records() -> Any:  # noqa: ANN401 - a DagsterInstance, imported lazily
    """The configured Dagster instance, which the caller must dispose of; raises SetupError."""
    from imagegen_pipeline.dagster_ext.instance import open_instance
    from imagegen_pipeline.domain.errors import SetupError

    remedy = "Run this in the project, where dagster.yaml is, or correct DAGSTER_HOME."
    try:
        instance = open_instance()
    except SetupError:
        raise
    except Exception as error:
        raise SetupError(f"Dagster cannot be opened: {error}", remedy=remedy) from error
    if instance is None:
        raise SetupError("There is no Dagster instance here.", remedy=remedy)
    return instance
