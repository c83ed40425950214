"""Dagster on a scratch project: the real instance of its ``dagster.yaml``, runs in process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline_tests.conftest import SMALL, Project
from imagegen_pipeline_tests.integration.defs.ui_client import UiClient, open_ui

PROMPT_ASSETS = ("prompts", "generated_images", "generation_results")


@dataclass
class Dagster:
    """The scratch project's instance and its code location."""

    instance: dg.DagsterInstance
    project: Project

    def run(
        self,
        *select: str,
        keys: Sequence[str] = (),
        config: dict[str, Any] | None = None,
        scattered: bool = False,
        **more: Any,
    ) -> dg.ExecuteInProcessResult:
        """One run over the range from the first to the last of ``keys``; if ``scattered``, for
        the first of them, with all in its configuration.
        """
        if scattered:
            config, keys = {**(config or {}), "keys": list(keys)}, keys[:1]
        from imagegen_pipeline.definitions import defs

        ops: dict[str, Any] = {}
        if "generated_images" in select:
            ops["generated_images"] = {"config": {"image_size": SMALL, **(config or {})}}
        if "actor_base_images" in select:
            ops["actor_base_images"] = {"config": config or {}}
        tags = dict(more.pop("tags", {}))
        if len(keys) > 1:
            tags |= {
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            }
        job = defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            run_config={"ops": ops},
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in select],
            partition_key=keys[0] if len(keys) == 1 else None,
            tags=tags,
            raise_on_error=False,
            **more,
        )

    def launch(
        self, job: str, config: dict[str, Any] | None = None, **more: Any
    ) -> dg.ExecuteInProcessResult:
        """A job of the code location, with the configuration of its one op."""
        from imagegen_pipeline.definitions import defs

        definition = defs.resolve_job_def(job)
        (op,) = definition.graph.node_dict
        return definition.execute_in_process(
            run_config={"ops": {op: {"config": config or {}}}},
            instance=self.instance,
            raise_on_error=False,
            **more,
        )

    def register(self) -> list[str]:
        """Scan the sources as a person would, and return the prompts' keys."""
        assert self.run("source_scan").success
        return list(self.instance.get_dynamic_partitions("prompts"))

    def events(self, asset: str) -> list[dg.AssetMaterialization]:
        """Every materialization of an asset, newest first."""
        records = self.instance.fetch_materializations(dg.AssetKey(asset), limit=2000).records
        return [record.asset_materialization for record in records if record.asset_materialization]

    def count(self, asset: str) -> Counter[str | None]:
        """How many materializations each partition has."""
        return Counter(event.partition for event in self.events(asset))

    def failed(self, asset: str) -> set[str]:
        """The partitions that the UI shows as failed."""
        from imagegen_pipeline.definitions import defs

        graph = defs.resolve_asset_graph()
        partitions = graph.get(dg.AssetKey(asset)).partitions_def
        value = self.instance.event_log_storage.get_latest_storage_id_by_partition
        made = set(value(dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION))
        planned = set(value(dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED))
        assert partitions is not None
        return planned - made


@pytest.fixture
def dagster(project: Project) -> Iterator[Dagster]:
    """Dagster on the scratch project, with the simulator on."""
    instance = open_instance()
    assert instance is not None
    with instance:
        yield Dagster(instance, project)


@pytest.fixture
def prompts(dagster: Dagster) -> list[str]:
    """Four JSON prompts, registered; returns their keys in the sources' order."""
    for number in range(4):
        dagster.project.write_json(f"prompt {number}", f"a lighthouse, number {number}")
    return dagster.register()


@pytest.fixture
def ui(dagster: Dagster) -> Iterator[UiClient]:
    """What the UI shows of the scratch project's instance."""
    with open_ui(dagster.instance) as shown:
        yield shown
