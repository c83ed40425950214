"""The webserver and the daemon as real processes, driven through GraphQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from imagegen_pipeline_tests.conftest import Project, Simulator, until

BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
BACKFILL_STATUS = """
query($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status }
  }
}"""
START_SENSOR = """
mutation($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) {
    __typename
    ... on PythonError { message }
  }
}"""
TICKS = """
query($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) {
    ... on Sensor { sensorState { ticks(limit: 9) { status runIds error { message } } } }
  }
}"""
PARTITIONS = """
query($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) {
    ... on AssetNode { partitionStats { numMaterialized numFailed numPartitions } }
  }
}"""
ALL = (
    "source_scan",
    "prompts",
    "actors",
    "generated_images",
    "actor_base_images",
    "generation_results",
)


@dataclass(frozen=True)
class Webserver:
    """A webserver that answers at ``url``."""

    url: str

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL answer."""
        body = {"query": query, "variables": variables}
        answer = requests.post(f"{self.url}/graphql", json=body, timeout=60).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def answers(self) -> bool:
        """Whether the webserver is up."""
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.ConnectionError:
            return False

    def stats(self, asset: str) -> dict[str, int]:
        """The counts that the asset's page shows."""
        data = self.ask(PARTITIONS, asset={"path": [asset]})
        return dict(data["assetNodeOrError"]["partitionStats"])


@pytest.fixture
def webserver(project: Project, tmp_path: Path) -> Iterator[Webserver]:
    """``dagster dev`` on the scratch project: code server, webserver and daemon."""
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        port = spare.getsockname()[1]
    command = [str(Path(sys.executable).parent / "dagster"), "dev", "--port", str(port)]
    with (tmp_path / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=project.root,
            env={**os.environ, **project.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Webserver(f"http://127.0.0.1:{port}")
    try:
        until(lambda: server.answers() or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "dev.log").read_text()
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:  # how soon Dagster ends is not what is tested
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def test_materialize_all_and_the_sensor_in_the_running_dagster(
    webserver: Webserver, project: Project, simulator: Simulator
) -> None:
    """The UI's "materialize all" makes every picture and the table; then, of a sensor that is
    switched on, only what is new is bought.
    """
    project.write_json("first", "a harbour")
    project.write_json("second", "a pier")
    project.write_actor("0101_male", description="european 25 year old male")
    project.run("imagegen", "sync")

    assets = [{"path": [name]} for name in ALL]
    data = webserver.ask(BACKFILL, params={"assetSelection": assets, "allPartitions": True})
    backfill = data["launchPartitionBackfill"]["backfillId"]

    # The sensor starts beside the backfill: it must not request what is there.
    sensor = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "imagegen_pipeline",
        "sensorName": "new_prompts_sensor",
    }
    webserver.ask(START_SENSOR, sensor=sensor)
    ticks = lambda: webserver.ask(TICKS, sensor=sensor)["sensorOrError"]["sensorState"]["ticks"]  # noqa: E731
    until(ticks)

    def finished() -> bool:
        answer = webserver.ask(BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"]
        return str(answer["status"]).startswith("COMPLETED") or answer["status"] == "FAILED"

    until(finished, seconds=150)
    status = webserver.ask(BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"]["status"]
    assert status == "COMPLETED_SUCCESS"
    assert webserver.stats("generated_images") == {
        "numMaterialized": 2,
        "numFailed": 0,
        "numPartitions": 2,
    }
    assert webserver.stats("actor_base_images")["numMaterialized"] == 1
    assert (project.results / "generation_results.parquet").is_dir()
    assert (simulator.billed("duomi"), simulator.billed("runpod")) == (2, 1)

    project.write_json("third", "a brand new lighthouse")
    until(lambda: webserver.stats("generated_images")["numMaterialized"] == 3, seconds=120)
    assert simulator.billed("duomi") == 3
    assert sum(len(tick["runIds"]) for tick in ticks()) == 1
    assert not any(tick["error"] for tick in ticks())
