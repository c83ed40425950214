"""The Dagster instance and its storages, which the root's ``dagster.yaml`` names.

Dagster resolves relative paths from the current folder. These storages resolve them from the
project root, so that every tool opens the same instance; with the simulator on, from
``{data}/simulated/``, so that simulated and live events are never mixed.
"""

import fcntl
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory
from dagster._serdes import ConfigurableClassData

from imagegen_pipeline.dagster_ext.event_log import ProjectEventLog
from imagegen_pipeline.settings import load_settings


def instance_path(relative: str) -> str:
    """The absolute path of a ``dagster.yaml`` path; creates the folder."""
    settings = load_settings()
    base = settings.data_dir if settings.simulator else settings.root
    path = base / relative
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def _resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "base_dir": instance_path(config["base_dir"])}


class ProjectStorage(DagsterSqliteStorage):
    """Runs, events and schedules in SQLite below the project."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = ProjectEventLog(_event_logs_directory(base_dir))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Called by Dagster with the values of ``dagster.yaml``."""
        config = _resolved(config_value)
        _create_databases(Path(config["base_dir"]))
        return cls.from_local(inst_data=inst_data, **config)


def _create_databases(base: Path) -> None:
    """Create Dagster's databases in a temporary folder, then rename it.

    Dagster creates them table by table. A process that is killed meanwhile, or a second one, would
    leave an instance that cannot be opened.
    """
    with (base.parent / f".{base.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if any(base.iterdir()):
            return
        draft = base.with_name(f".{base.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        DagsterSqliteStorage.from_local(str(draft)).dispose()
        draft.rename(base)  # over the empty folder


class ProjectArtifacts(LocalArtifactStorage):
    """Files of runs below the project."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Called by Dagster with the values of ``dagster.yaml``."""
        return cls(inst_data=inst_data, **_resolved(config_value))


class ProjectLogs(LocalComputeLogManager):
    """The output of steps, below the project."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Called by Dagster with the values of ``dagster.yaml``."""
        return cls(inst_data=inst_data, **_resolved(config_value))


def open_instance() -> dg.DagsterInstance | None:
    """The configured instance: ``DAGSTER_HOME``'s, else the project's; None if there is neither."""
    settings = load_settings()
    if settings.dagster_home:
        return dg.DagsterInstance.get()
    if not (settings.root / "dagster.yaml").is_file():
        return None
    folder = str(settings.root)
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(folder))
