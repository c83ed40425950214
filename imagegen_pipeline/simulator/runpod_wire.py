"""RunPod's job bodies and worker outputs on the wire."""

import json
from typing import Any

from imagegen_pipeline.simulator.faults import Fault
from imagegen_pipeline.simulator.worker_pool import Job, State

STATUSES: dict[State, str] = {
    "queued": "IN_QUEUE",
    "running": "IN_PROGRESS",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "timed_out": "TIMED_OUT",
}
"""RunPod's names of a job's states. [D]"""

_FORCED = {
    "job_failed": "FAILED",
    "job_cancelled": "CANCELLED",
    "job_timed_out": "TIMED_OUT",
    "stuck_in_queue": "IN_QUEUE",
}

OUTPUT_ERRORS: dict[str, dict[str, Any]] = {
    "status_error": {"status": "error", "message": "Workflow execution failed"},
    "success_no_images": {"status": "success_no_images", "images": []},
    "error_details": {
        "error": "Job processing failed",
        "details": ["Node 13 produced no outputs."],
    },
}
"""Failures reported as COMPLETED, by the fault's ``form``. [C]"""

WORKER_ID = "simulated-worker"


def status_of(job: Job, scripted: Fault | None) -> str:
    """The job's status, as a fault of this one poll or of the job leaves it."""
    for fault in (scripted, job.fault):
        if fault is not None and fault.name == "unknown_status":
            return fault.text("status", "PAUSED")
    if scripted is not None:
        return _FORCED.get(scripted.name, STATUSES[job.state])
    return STATUSES[job.state]


def job_body(job: Job, scripted: Fault | None) -> dict[str, Any]:
    """All of a job's body but its output; times in milliseconds. [D]"""
    status = status_of(job, scripted)
    body: dict[str, Any] = {"id": job.id, "status": status}
    if status == "IN_PROGRESS":
        body |= {"delayTime": job.delay_ms, "workerId": WORKER_ID}
    if status in ("COMPLETED", "FAILED"):
        body |= {
            "delayTime": job.delay_ms,
            "executionTime": job.execution_ms,
            "workerId": WORKER_ID,
        }
    if status == "FAILED":
        body["error"] = _error_text(job, scripted)
    if job.retries:
        body["retries"] = job.retries
    return body


def _error_text(job: Job, scripted: Fault | None) -> str:
    fault = scripted if scripted is not None else job.fault
    if fault is None or fault.name != "job_failed":
        return job.refusal or "job failed"
    text = fault.text("error", "job timed out after 1 retries")
    return error_as_json(text) if fault.text("form", "plain") == "json" else text


def error_as_json(message: str) -> str:
    """A worker's exception as RunPod passes it on: a JSON string inside the JSON. [M]"""
    return json.dumps(
        {
            "error_type": "<class 'ValueError'>",
            "error_message": message,
            "error_traceback": f"Traceback (most recent call last):\nValueError: {message}\n",
            "hostname": f"{WORKER_ID}-host",
            "worker_id": WORKER_ID,
            "runpod_version": "1.7.13",
        }
    )


def shaped_output(shape: str, pictures: list[str], encoding: str) -> dict[str, Any]:
    """The pictures as the workers seen in the wild put them under ``output``. [C]"""
    if shape == "plain":
        return {"images": pictures}
    if shape == "job_results":
        return {"job_results": {"images": pictures}}
    if shape == "nested":
        return {"output": {"images": pictures}}
    if shape == "message":
        return {"message": pictures[0], "status": "success"}
    if shape in ("image", "image_url"):
        return {shape: pictures[0]}
    kind = "s3_url" if encoding == "url" else "base64"
    return {
        "images": [
            {"filename": f"ComfyUI_{index:05}_.png", "type": kind, "data": picture}
            for index, picture in enumerate(pictures, start=1)
        ]
    }
