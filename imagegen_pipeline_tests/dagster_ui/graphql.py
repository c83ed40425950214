"""The running Dagster, asked and told what its own pages do, by the same GraphQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.dagster_ui import queries

_HERE = {"repositoryName": "__repository__", "repositoryLocationName": "imagegen_pipeline"}
_WELL = frozenset(
    {
        *("LaunchRunSuccess", "LaunchBackfillSuccess", "TerminateRunSuccess"),
        *("Sensor", "StopSensorMutationResult"),
    }
)
"""What a mutation that was done answers with; Dagster has many names for the others."""
PATIENCE = 300.0
"""Seconds for what takes ten when nobody else is at work on the machine."""
_DONE = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class Run:
    """A run as Dagster tells of it."""

    id: str
    status: str
    config: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in _DONE


@dataclass(frozen=True)
class Partitions:
    """An asset's partitions by what the bar of its page shows."""

    materialized: frozenset[str]
    failed: frozenset[str]
    missing: frozenset[str]
    materializing: frozenset[str]

    def of(self, keys: Sequence[str]) -> dict[str, str]:
        """How each of these stands."""
        states = {"materializing": self.materializing, "failed": self.failed}
        states |= {"materialized": self.materialized, "missing": self.missing}
        return {key: next((s for s, them in states.items() if key in them), "-") for key in keys}


@dataclass(frozen=True)
class Webserver:
    """A webserver that answers at ``url``."""

    url: str

    def answers(self) -> bool:
        """Whether the webserver is up."""
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.RequestException:
            return False

    def ask(self, query: str, **variables: Any) -> Any:
        """What is told under the name ``answer``."""
        body = {"query": query, "variables": variables}
        told = requests.post(f"{self.url}/graphql", json=body, timeout=120).json()
        assert "errors" not in told, told
        return told["data"]["answer"]

    def _tell(self, mutation: str, **variables: Any) -> Any:
        answer = self.ask(mutation, **variables)
        assert answer["__typename"] in _WELL, answer
        return answer

    def materialize(
        self, *assets: str, keys: Sequence[str] = (), config: Mapping[str, Any] | None = None
    ) -> str:
        """Launch a run of these assets over one partition, or from the first to the last of
        ``keys``; ``config`` is for the first asset. Returns the run's id.
        """
        tags = {"dagster/partition": keys[0]} if len(keys) == 1 else {}
        if len(keys) > 1:
            tags = {
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            }
        selection = [{"path": [name]} for name in assets]
        selector = {**_HERE, "pipelineName": "__ASSET_JOB", "assetSelection": selection}
        return self._launch(selector, assets[0], config, tags)

    def launch(self, job: str, op: str, config: Mapping[str, Any] | None = None) -> str:
        """Launch a job with the configuration of its op; returns the run's id."""
        return self._launch({**_HERE, "pipelineName": job}, op, config, {})

    def _launch(
        self,
        selector: Mapping[str, Any],
        op: str,
        config: Mapping[str, Any] | None,
        tags: Mapping[str, str],
    ) -> str:
        tags = {**tags, "dagster/from_ui": "true"}
        told = {"ops": {op: {"config": dict(config)}}} if config else {}
        params = {
            "mode": "default",
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
            "runConfigData": json.dumps(told),
            "selector": selector,
        }
        return str(self._tell(queries.LAUNCH, params=params)["run"]["runId"])

    def reexecute(self, run_id: str, strategy: str) -> str:
        """The run page's "Re-execute": ALL_STEPS, FROM_FAILURE or FROM_ASSET_FAILURE."""
        params = {"parentRunId": run_id, "strategy": strategy}
        return str(self._tell(queries.REEXECUTE, params=params)["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """The run page's "Terminate"."""
        self._tell(queries.TERMINATE, id=run_id)

    def backfill(self, assets: Sequence[str], **params: Any) -> str:
        """The dialog's "Launch backfill"; returns its id."""
        selection = [{"path": [name]} for name in assets]
        told = self._tell(queries.BACKFILL, params={"assetSelection": selection, **params})
        return str(told["backfillId"])

    def backfill_ended(self, backfill_id: str) -> str | None:
        """How it ended, or None while it goes on."""
        status = str(self.ask(queries.BACKFILL_STATUS, id=backfill_id)["status"])
        return status if status.startswith(("COMPLETED", "FAILED", "CANCELED")) else None

    def run(self, run_id: str) -> Run:
        """A run as it is now."""
        return _run(self.ask(queries.RUN_BY_ID, id=run_id))

    def retries(self, run_id: str) -> list[Run]:
        """The runs that were launched because this one had ended."""
        wanted = [{"key": "dagster/parent_run_id", "value": run_id}]
        return [_run(one) for one in self.ask(queries.RUNS, filter={"tags": wanted})["results"]]

    def ended(self, run_id: str, *, seconds: float = PATIENCE) -> Run:
        """The run when nothing more comes of it."""
        eventually(lambda: self.run(run_id).ended, seconds=seconds)
        return self.run(run_id)

    def succeeded(self, run_id: str, *, seconds: float = PATIENCE) -> Run:
        """The run when it has ended, which must be well."""
        run = self.ended(run_id, seconds=seconds)
        assert run.status == "SUCCESS", self.failure(run_id) or run
        return run

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """What a run's page lists."""
        return list(self.ask(queries.EVENTS, id=run_id)["eventConnection"]["events"])

    def failure(self, run_id: str) -> str:
        """Why a run failed, as its page says it; nothing when it did not."""
        said = [one for one in self.events(run_id) if one["__typename"] == "RunFailureEvent"]
        return str((said[0]["error"] or said[0])["message"]) if said else ""

    def process_of(self, run_id: str) -> int | None:
        """The process that a run's page names, when it has one."""
        for event in self.events(run_id):
            for entry in event.get("metadataEntries", []):
                if entry["label"] == "pid":
                    return int(entry["text"])
        return None

    def partitions(self, asset: str) -> Partitions:
        """What the bar of an asset's page shows."""
        answer = self.ask(queries.PARTITIONS, asset={"path": [asset]})["assetPartitionStatuses"]
        kinds = ("materialized", "failed", "unmaterialized", "materializing")
        return Partitions(*(frozenset(answer[f"{kind}Partitions"]) for kind in kinds))

    def keys(self, asset: str) -> list[str]:
        """An asset's partitions, in their order."""
        return list(self.ask(queries.KEYS, asset={"path": [asset]})["partitionKeys"])

    def stale(self, asset: str, keys: Sequence[str]) -> dict[str, str]:
        """FRESH, STALE or MISSING, as a partition's own page shows it."""
        answer = self.ask(queries.STALE, asset={"path": [asset]}, keys=list(keys))
        return dict(zip(keys, answer["staleStatusByPartition"], strict=True))

    def observed(self, asset: str, key: str) -> list[str]:
        """What a partition's list of events says beside its materializations, newest first."""
        answer = self.ask(queries.OBSERVED, asset={"path": [asset]}, keys=[key])
        return [one["description"] for one in answer["assetObservations"]]

    def pictures(self, asset: str, key: str) -> list[dict[str, str]]:
        """The texts of a partition's metadata, for each time it was made; newest first."""
        answer = self.ask(queries.METADATA, asset={"path": [asset]}, keys=[key])
        return [
            {one["label"]: one.get("text") or one.get("mdStr") for one in made["metadataEntries"]}
            | {"run": made["runId"]}
            for made in answer["assetMaterializations"]
        ]

    def checks(self, asset: str, keys: Sequence[str]) -> dict[str, dict[str, str]]:
        """How each check of an asset stands in these partitions: ``succeeded``, ``failed``,
        ``executionFailed`` where there was no picture to check, or ``missing``.
        """
        checks = self.ask(queries.CHECKS, asset={"path": [asset]})["assetChecksOrError"]["checks"]
        found = {}
        for check in checks:
            states = {
                key: state.removesuffix("Partitions")
                for state, those in check["partitionStatuses"].items()
                for key in those
            }
            found[check["name"]] = {key: states.get(key, "missing") for key in keys}
        return found

    def sensor(self, name: str) -> Any:
        """A sensor's state: whether it is on, and its ticks, newest first."""
        return self.ask(queries.SENSOR, sensor=_sensor(name))["sensorState"]

    def switch(self, name: str, *, on: bool) -> None:
        """Turn a sensor's switch."""
        if on:
            self._tell(queries.START_SENSOR, sensor=_sensor(name))
        else:
            self._tell(queries.STOP_SENSOR, id=self.sensor(name)["id"])

    def ticks(self, name: str) -> list[dict[str, Any]]:
        """A sensor's finished ticks, newest first."""
        return [tick for tick in self.sensor(name)["ticks"] if tick["status"] != "STARTED"]


def eventually(condition: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """As ``until``, with fewer looks: each costs Dagster an answer."""
    return until(condition, seconds=seconds, every=0.4)


def _sensor(name: str) -> dict[str, str]:
    return {**_HERE, "sensorName": name}


def _run(told: Mapping[str, Any]) -> Run:
    return Run(id=told["runId"], status=told["status"], config=told["runConfig"] or {})
