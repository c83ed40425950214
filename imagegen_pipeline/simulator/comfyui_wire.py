"""ComfyUI's bodies on the wire: refusals, history entries, the queue, node definitions. [D]"""

import time
from typing import Any

from imagegen_pipeline.simulator.comfy_graph import REQUIRED, Check, Graph, is_link, upstream
from imagegen_pipeline.simulator.worker_pool import Job

MODELS: dict[str, dict[str, list[str]]] = {
    "UNETLoader": {"unet_name": ["flux1-dev-fp8.safetensors", "flux1-schnell.safetensors"]},
    "DualCLIPLoader": {
        "clip_name1": ["clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors"],
        "clip_name2": ["clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors"],
    },
    "VAELoader": {"vae_name": ["ae.safetensors"]},
}
"""The model files that the simulated server has, by loader and input."""

_TYPES = {
    "Value not in list": "value_not_in_list",
    "Failed to convert": "invalid_input_type",
}
_Refusal = tuple[dict[str, Any], dict[str, Any] | list[Any]]


def object_info(class_type: str) -> dict[str, Any]:
    """The body of ``GET /object_info/{class}``: empty for an unknown class."""
    if class_type not in REQUIRED:
        return {}
    required: dict[str, Any] = {}
    for name, check in REQUIRED[class_type].items():
        choices = MODELS.get(class_type, {}).get(name)
        if choices is not None:
            required[name] = [choices, {}]
        else:
            required[name] = ["MODEL" if isinstance(check, str) else "STRING", {}]
    facts = {"input": {"required": required}, "name": class_type, "output_node": False}
    return {class_type: facts}


def refusal(graph: object) -> _Refusal | None:
    """The ``error`` and ``node_errors`` of a graph that is refused; None for a good one."""
    if not isinstance(graph, dict) or not graph:
        return _error("prompt_no_outputs", "Prompt has no outputs"), []
    for node_id, node in graph.items():
        if not isinstance(node, dict) or "class_type" not in node:
            message = "Cannot execute because a node is missing the class_type property."
            return _error("invalid_prompt", message, f"Node ID '#{node_id}'"), []
        if node["class_type"] not in REQUIRED:
            message = f"Cannot execute because node {node['class_type']} does not exist."
            return _error("invalid_prompt", message, f"Node ID '#{node_id}'"), []
    outputs = [node_id for node_id, node in graph.items() if node["class_type"] == "SaveImage"]
    if not outputs:
        return _error("prompt_no_outputs", "Prompt has no outputs"), []
    node_errors: dict[str, Any] = {}
    for output in outputs:
        for node_id in upstream(graph, output):
            errors = _node_errors(graph, node_id)
            if errors:
                entry = {"errors": errors, "class_type": graph[node_id]["class_type"]}
                node_errors[node_id] = entry | {"dependent_outputs": [output]}
    if not node_errors:
        return None
    return _error("prompt_outputs_failed_validation", "Prompt outputs failed validation"), (
        node_errors
    )


def _error(kind: str, message: str, details: str = "") -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def _node_errors(graph: Graph, node_id: str) -> list[dict[str, Any]]:
    node = graph[node_id]
    errors = []
    for name, check in REQUIRED[node["class_type"]].items():
        if name not in node["inputs"]:
            error = _error("required_input_missing", "Required input is missing", name)
            errors.append(error | {"extra_info": {"input_name": name}})
            continue
        value = node["inputs"][name]
        found = _input_error(node["class_type"], name, value, check)
        if found is not None:
            errors.append(found)
    return errors


def _input_error(
    class_type: str,
    name: str,
    value: Any,  # noqa: ANN401 - any JSON value
    check: Check | str,
) -> dict[str, Any] | None:
    info: dict[str, Any] = {"input_name": name, "received_value": value}
    if isinstance(check, str) or is_link(value):
        if isinstance(check, str) and is_link(value):
            return None
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return _error("bad_linked_input", message, name) | {"extra_info": info}
    choices = MODELS.get(class_type, {}).get(name)
    if choices is not None and value not in choices:
        details = f"{name}: {value!r} not in {choices}"
        info["input_config"] = [choices, {}]
        return _error("value_not_in_list", "Value not in list", details) | {"extra_info": info}
    complaint = check(value)
    if complaint is None:
        return None
    kind = next((kind for start, kind in _TYPES.items() if complaint.startswith(start)), None)
    if kind is None:
        kind = "value_smaller_than_min" if "smaller" in complaint else "value_bigger_than_max"
    return _error(kind, complaint, name) | {"extra_info": info}


def queue_entry(job: Job, number: int, client_id: str | None) -> list[Any]:
    """A prompt in ``/queue``: number, id, graph, extra data, outputs."""
    extra = {} if client_id is None else {"client_id": client_id}
    return [number, job.id, {}, extra, ["9"]]


def history_entry(job: Job, number: int, client_id: str | None, files: list[str]) -> dict[str, Any]:
    """A prompt that has ended, in ``/history``."""
    offset = time.time() - time.monotonic()
    start = round(1000 * (offset + (job.started_at or 0.0)))
    end = round(1000 * (offset + (job.ended_at or 0.0)))
    messages: list[list[Any]] = [
        ["execution_start", {"prompt_id": job.id, "timestamp": start}],
    ]
    about = {"prompt_id": job.id, "timestamp": end}
    if job.state == "completed":
        messages.append(["execution_success", about])
    elif job.state == "cancelled" or (job.fault is not None and job.fault.name == "job_cancelled"):
        messages.append(["execution_interrupted", about | {"node_id": "13", "executed": []}])
    else:
        text = (
            "Allocation on device" if job.fault is None else job.fault.text("error", "CUDA error")
        )
        node = {"node_id": "13", "node_type": "SamplerCustomAdvanced"}
        error = {"exception_message": text, "exception_type": "RuntimeError", "traceback": []}
        messages.append(["execution_error", about | node | error])
    succeeded = job.state == "completed"
    images = [{"filename": name, "subfolder": "", "type": "output"} for name in files]
    return {
        "prompt": queue_entry(job, number, client_id),
        "outputs": {"9": {"images": images}} if succeeded else {},
        "status": {
            "status_str": "success" if succeeded else "error",
            "completed": succeeded,
            "messages": messages,
        },
        "meta": {},
    }
