"""The simulated ComfyUI server, by its wire alone."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from imagegen_pipeline.simulator.options import SimulatorOptions
from imagegen_pipeline.simulator.server import running
from imagegen_pipeline_tests.integration.simulator.clients import (
    WAIT,
    Graph,
    SimulatorClient,
    eventually,
    graph,
    open_picture,
)

HEADERS = {"Authorization": "Bearer simulated-comfyui-token"}


def good_graph(**changes: Any) -> Graph:
    """The users' workflow, with the files that the simulated server has."""
    nodes = graph(**changes)
    nodes["11"]["inputs"] |= {
        "clip_name1": "t5xxl_fp8_e4m3fn.safetensors",
        "clip_name2": "clip_l.safetensors",
    }
    return nodes


def call(root: str, method: str, path: str, **more: Any) -> requests.Response:
    """One call with the token."""
    url = f"{root}/comfyui/{path}"
    return requests.request(method, url, headers=HEADERS, timeout=WAIT, **more)


def prompt(root: str, nodes: Graph, **more: Any) -> str:
    """Queue a graph; its id."""
    answer = call(root, "POST", "prompt", json={"prompt": nodes, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["node_errors"] == {}
    return str(answer.json()["prompt_id"])


def test_a_prompt_is_queued_run_and_viewed(simulated: SimulatorClient) -> None:
    """Its history has the file, and /view the picture of that size."""
    prompt_id = prompt(simulated.root, good_graph(), prompt_id="mine", client_id="me")
    assert prompt_id == "mine"
    entry = eventually(lambda: call(simulated.root, "GET", "history/mine").json().get("mine"))
    assert entry["status"]["status_str"] == "success"
    assert entry["prompt"][3] == {"client_id": "me"}
    (image,) = entry["outputs"]["9"]["images"]
    content = call(simulated.root, "GET", "view", params=image).content
    assert open_picture(content).size == (64, 96)
    assert simulated.stats()["comfyui"]["billed"] == 1


def test_one_prompt_runs_and_the_others_wait() -> None:
    """A waiting one is deleted, the running one is interrupted, and a restart forgets all."""
    with running(SimulatorOptions(latency=30)) as root:
        ids = [prompt(root, good_graph(seed=seed), prompt_id=f"p{seed}") for seed in range(3)]
        queue = eventually(lambda: (q := call(root, "GET", "queue").json())["queue_running"] and q)
        assert [entry[1] for entry in queue["queue_running"]] == ids[:1]
        assert [entry[1] for entry in queue["queue_pending"]] == ids[1:]
        call(root, "POST", "queue", json={"delete": [ids[0], ids[1]]})
        queue = call(root, "GET", "queue").json()
        assert [len(queue[name]) for name in ("queue_running", "queue_pending")] == [1, 1]
        call(root, "POST", "interrupt", json={"prompt_id": "another"})
        assert call(root, "GET", f"history/{ids[0]}").json() == {}
        call(root, "POST", "interrupt")
        entry = call(root, "GET", f"history/{ids[0]}").json()[ids[0]]
        assert entry["status"]["messages"][-1][0] == "execution_interrupted"
        requests.post(f"{root}/_sim/comfyui/restart", timeout=WAIT)
        assert call(root, "GET", "queue").json() == {"queue_running": [], "queue_pending": []}
        assert call(root, "GET", f"history/{ids[0]}").json() == {}


@pytest.mark.parametrize(
    ("node", "inputs", "kind", "name"),
    [
        ("12", {"unet_name": "mine"}, "value_not_in_list", "unet_name"),
        ("17", {"steps": 0}, "value_smaller_than_min", "steps"),
        ("27", {"width": 99_999}, "value_bigger_than_max", "width"),
        ("25", {"noise_seed": "x"}, "invalid_input_type", "noise_seed"),
        ("25", {"noise_seed": -1}, "value_smaller_than_min", "noise_seed"),
        ("6", {"clip": "no link"}, "bad_linked_input", "clip"),
    ],
)
def test_a_wrong_value_is_a_node_error(
    node: str, inputs: dict[str, Any], kind: str, name: str, simulated: SimulatorClient
) -> None:
    """400 with the error and, by node, the faulty input."""
    nodes = good_graph()
    nodes[node]["inputs"] |= inputs
    answer = call(simulated.root, "POST", "prompt", json={"prompt": nodes})
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"]["type"] == "prompt_outputs_failed_validation"
    (error,) = body["node_errors"][node]["errors"]
    assert (error["type"], error["extra_info"]["input_name"]) == (kind, name)
    assert body["node_errors"][node]["dependent_outputs"] == ["9"]
    assert simulated.stats()["comfyui"]["accepted"] == 0


def test_a_graph_that_is_none_is_refused(simulated: SimulatorClient) -> None:
    """An unknown class, a graph without output, and a body without a graph."""
    unknown = good_graph() | {"99": {"class_type": "Nobody", "inputs": {}}}
    for body, message in (
        ({"prompt": unknown}, "node Nobody does not exist"),
        ({"prompt": {}}, "Prompt has no outputs"),
        ({}, "No prompt provided"),
    ):
        answer = call(simulated.root, "POST", "prompt", json=body)
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]


def test_a_missing_input_is_named(simulated: SimulatorClient) -> None:
    """The error has ComfyUI's type and details."""
    nodes = good_graph()
    del nodes["6"]["inputs"]["text"]
    body = call(simulated.root, "POST", "prompt", json={"prompt": nodes}).json()
    (error,) = body["node_errors"]["6"]["errors"]
    assert (error["type"], error["details"]) == ("required_input_missing", "text")


def test_node_definitions_list_the_choices(simulated: SimulatorClient) -> None:
    """A loader lists its files, an unknown class is empty, and a missing token is 401."""
    info = call(simulated.root, "GET", "object_info/VAELoader").json()
    assert info["VAELoader"]["input"]["required"]["vae_name"][0] == ["ae.safetensors"]
    assert call(simulated.root, "GET", "object_info/Nobody").json() == {}
    assert requests.get(f"{simulated.root}/comfyui/queue", timeout=WAIT).status_code == 401
