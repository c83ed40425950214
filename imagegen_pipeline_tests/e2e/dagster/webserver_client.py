"""A client of Dagster's webserver that sends the GraphQL requests of its pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.e2e.dagster import graphql_queries as queries

_LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "imagegen_pipeline"}
_SUCCESS_TYPES = frozenset(
    {
        *("LaunchRunSuccess", "LaunchBackfillSuccess", "TerminateRunSuccess"),
        *("Sensor", "StopSensorMutationResult"),
    }
)
"""The result types of mutations that succeeded."""
TIMEOUT_SECONDS = 300.0
"""For operations that take ten seconds on an idle machine."""
_END_STATUSES = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class Run:
    """The state of a run."""

    id: str
    status: str
    config: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether its status is final."""
        return self.status in _END_STATUSES


@dataclass(frozen=True)
class Partitions:
    """An asset's partitions by state, as the bar of its page shows them."""

    materialized: frozenset[str]
    failed: frozenset[str]
    missing: frozenset[str]
    materializing: frozenset[str]

    def of(self, keys: Sequence[str]) -> dict[str, str]:
        """The state of each of these partitions."""
        states = {"materializing": self.materializing, "failed": self.failed}
        states |= {"materialized": self.materialized, "missing": self.missing}
        return {
            key: next((state for state, of_it in states.items() if key in of_it), "-")
            for key in keys
        }


@dataclass(frozen=True)
class WebserverClient:
    """A client of the webserver at ``url``."""

    url: str

    def answers(self) -> bool:
        """Whether the webserver is up."""
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.RequestException:
            return False

    def ask(self, query: str, **variables: Any) -> Any:
        """Send a query; returns its ``answer``."""
        body = {"query": query, "variables": variables}
        response = requests.post(f"{self.url}/graphql", json=body, timeout=120).json()
        assert "errors" not in response, response
        return response["data"]["answer"]

    def _mutate(self, mutation: str, **variables: Any) -> Any:
        answer = self.ask(mutation, **variables)
        assert answer["__typename"] in _SUCCESS_TYPES, answer
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
        selector = {**_LOCATION, "pipelineName": "__ASSET_JOB", "assetSelection": selection}
        return self._launch(selector, assets[0], config, tags)

    def launch(self, job: str, op: str, config: Mapping[str, Any] | None = None) -> str:
        """Launch a job with the configuration of its op; returns the run's id."""
        return self._launch({**_LOCATION, "pipelineName": job}, op, config, {})

    def _launch(
        self,
        selector: Mapping[str, Any],
        op: str,
        config: Mapping[str, Any] | None,
        tags: Mapping[str, str],
    ) -> str:
        tags = {**tags, "dagster/from_ui": "true"}
        run_config = {"ops": {op: {"config": dict(config)}}} if config else {}
        params = {
            "mode": "default",
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
            "runConfigData": json.dumps(run_config),
            "selector": selector,
        }
        return str(self._mutate(queries.LAUNCH, params=params)["run"]["runId"])

    def reexecute(self, run_id: str, strategy: str) -> str:
        """The run page's "Re-execute": ALL_STEPS, FROM_FAILURE or FROM_ASSET_FAILURE."""
        params = {"parentRunId": run_id, "strategy": strategy}
        return str(self._mutate(queries.REEXECUTE, params=params)["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """The run page's "Terminate"."""
        self._mutate(queries.TERMINATE, id=run_id)

    def backfill(self, assets: Sequence[str], **params: Any) -> str:
        """The dialog's "Launch backfill"; returns its id."""
        selection = [{"path": [name]} for name in assets]
        answer = self._mutate(queries.BACKFILL, params={"assetSelection": selection, **params})
        return str(answer["backfillId"])

    def backfill_ended(self, backfill_id: str) -> str | None:
        """The final status of a backfill, or None while it runs."""
        status = str(self.ask(queries.BACKFILL_STATUS, id=backfill_id)["status"])
        return status if status.startswith(("COMPLETED", "FAILED", "CANCELED")) else None

    def run(self, run_id: str) -> Run:
        """The current state of a run."""
        return _run(self.ask(queries.RUN_BY_ID, id=run_id))

    def retries(self, run_id: str) -> list[Run]:
        """The runs that were launched as retries of this one."""
        tags = [{"key": "dagster/parent_run_id", "value": run_id}]
        return [_run(one) for one in self.ask(queries.RUNS, filter={"tags": tags})["results"]]

    def ended(self, run_id: str, *, seconds: float = TIMEOUT_SECONDS) -> Run:
        """Wait until the run has a final status; returns it."""
        eventually(lambda: self.run(run_id).ended, seconds=seconds)
        return self.run(run_id)

    def succeeded(self, run_id: str, *, seconds: float = TIMEOUT_SECONDS) -> Run:
        """Wait until the run has succeeded; returns it."""
        run = self.ended(run_id, seconds=seconds)
        assert run.status == "SUCCESS", self.failure(run_id) or run
        return run

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """The events of a run."""
        return list(self.ask(queries.EVENTS, id=run_id)["eventConnection"]["events"])

    def failure(self, run_id: str) -> str:
        """The failure message of a run's page; empty when the run did not fail."""
        failures = [one for one in self.events(run_id) if one["__typename"] == "RunFailureEvent"]
        return str((failures[0]["error"] or failures[0])["message"]) if failures else ""

    def process_of(self, run_id: str) -> int | None:
        """The process id that a run's events name, if any."""
        for event in self.events(run_id):
            for entry in event.get("metadataEntries", []):
                if entry["label"] == "pid":
                    return int(entry["text"])
        return None

    def partitions(self, asset: str) -> Partitions:
        """The partitions of an asset by state."""
        answer = self.ask(queries.PARTITIONS, asset={"path": [asset]})["assetPartitionStatuses"]
        kinds = ("materialized", "failed", "unmaterialized", "materializing")
        return Partitions(*(frozenset(answer[f"{kind}Partitions"]) for kind in kinds))

    def keys(self, asset: str) -> list[str]:
        """An asset's partitions, in their order."""
        return list(self.ask(queries.KEYS, asset={"path": [asset]})["partitionKeys"])

    def stale(self, asset: str, keys: Sequence[str]) -> dict[str, str]:
        """FRESH, STALE or MISSING for each of these partitions."""
        answer = self.ask(queries.STALE, asset={"path": [asset]}, keys=list(keys))
        return dict(zip(keys, answer["staleStatusByPartition"], strict=True))

    def observed(self, asset: str, key: str) -> list[str]:
        """The descriptions of a partition's observations, newest first."""
        answer = self.ask(queries.OBSERVED, asset={"path": [asset]}, keys=[key])
        return [one["description"] for one in answer["assetObservations"]]

    def images(self, asset: str, key: str) -> list[dict[str, str]]:
        """The text metadata of a partition's materializations, newest first."""
        answer = self.ask(queries.METADATA, asset={"path": [asset]}, keys=[key])
        return [
            {one["label"]: one.get("text") or one.get("mdStr") for one in event["metadataEntries"]}
            | {"run": event["runId"]}
            for event in answer["assetMaterializations"]
        ]

    def checks(self, asset: str, keys: Sequence[str]) -> dict[str, dict[str, str]]:
        """The status of each check in these partitions: ``succeeded``, ``failed``,
        ``executionFailed`` where there was no image to check, or ``missing``.
        """
        checks = self.ask(queries.CHECKS, asset={"path": [asset]})["assetChecksOrError"]["checks"]
        statuses = {}
        for check in checks:
            states = {
                key: state.removesuffix("Partitions")
                for state, those in check["partitionStatuses"].items()
                for key in those
            }
            statuses[check["name"]] = {key: states.get(key, "missing") for key in keys}
        return statuses

    def sensor(self, name: str) -> Any:
        """A sensor's state: whether it is on, and its ticks, newest first."""
        return self.ask(queries.SENSOR, sensor=_sensor(name))["sensorState"]

    def switch(self, name: str, *, on: bool) -> None:
        """Switch a sensor on or off."""
        if on:
            self._mutate(queries.START_SENSOR, sensor=_sensor(name))
        else:
            self._mutate(queries.STOP_SENSOR, id=self.sensor(name)["id"])

    def ticks(self, name: str) -> list[dict[str, Any]]:
        """A sensor's finished ticks, newest first."""
        return [tick for tick in self.sensor(name)["ticks"] if tick["status"] != "STARTED"]


def eventually(condition: Callable[[], Any], *, seconds: float = TIMEOUT_SECONDS) -> Any:
    """As ``until``, with a longer interval: each check is a request to Dagster."""
    return until(condition, seconds=seconds, every=0.4)


def _sensor(name: str) -> dict[str, str]:
    return {**_LOCATION, "sensorName": name}


def _run(answer: Mapping[str, Any]) -> Run:
    return Run(id=answer["runId"], status=answer["status"], config=answer["runConfig"] or {})
