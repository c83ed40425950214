"""Faults of an accepted job and of its image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagegen_pipeline_tests.integration.fault_matrix.rows import (
    ALL,
    FOREVER,
    JOBS,
    End,
    Fate,
    Row,
    held,
    left_open,
    made,
    not_bought_again,
    rows,
    written_off,
)

SYNC, TASKS, RUNPOD = ("duomi",), ("duomi-async",), ("runpod",)
INSIDE, BY_URL = ("duomi-b64", "runpod"), ("duomi", "duomi-async", "runpod-url")
QUEUE = {"IMAGEGEN_TIMEOUT_QUEUE": "300"}
STUCK = {"at": "submit", "fault": "stuck_in_queue"}
SMALL = {"fault": "wrong_size", "width": 32, "height": 48}

Line = tuple[tuple[str, ...], str, Mapping[str, Any], Fate, Mapping[str, Any]]
"""Providers, the row's name, its fault, its expected result, and further checks."""


def job_rows() -> list[Row]:
    """All rows of this module. The faults are given to the simulator with the submit."""
    found: list[Row] = []
    for at, lines in (
        ("picture", _pictures()),
        ("answer", _outputs()),
        ("job", _ends()),
        ("job", _queue()),
        ("picture", _expired_urls()),
    ):
        for providers, name, fault, fate, more in lines:
            found += rows(providers, at, name, {"at": "submit", **fault}, fate, **more)
    return [*found, *_other_urls(), *_cancels()]


def _pictures() -> list[Line]:
    rebought = written_off("not_a_picture", bill=1)
    fetched = not_bought_again("not_a_picture", "completed", bill=1)
    later = Fate(fetched.now, End("made", ("failed", "stored"), 2))
    broken = {"quarantined": True, "text": "quarantine"}
    jpeg = {"fault": "wrong_format", "format": "jpeg"}
    webp = {"fault": "wrong_format", "format": "webp"}
    half, bomb = {"fault": "truncated_picture"}, {"fault": "bomb"}
    is_half, is_bomb = "The picture is truncated", "The picture is a decompression bomb"
    return [
        (INSIDE, f"{is_half}.", half, rebought, broken),
        (BY_URL, f"{is_half}.", half, fetched, broken),
        (SYNC, f"{is_half}; an hour passes.", half, later, {**broken, "hours": 1.1}),
        (INSIDE, f"{is_bomb}.", bomb, rebought, broken),
        (BY_URL, f"{is_bomb}.", bomb, fetched, broken),
        (ALL, "The picture has another size.", SMALL, made(), {"text": "32x48"}),
        (ALL, "The picture is blank.", {"fault": "blank"}, made(), {}),
        (ALL, "The picture is JPEG.", jpeg, made(), {"suffix": ".jpg"}),
        (ALL, "The picture is WebP.", webp, made(), {"suffix": ".webp"}),
    ]


def _outputs() -> list[Line]:
    unknown = held(bill=1, kind="bad_answer")
    unread = not_bought_again("bad_answer", "submitted", bill=1)
    billed = written_off("job_failed", bill=1)
    refused = written_off("bad_request", bill=1)
    empty, base64 = {"fault": "empty_images"}, {"fault": "broken_base64"}
    none, error = {"fault": "no_output"}, {"fault": "error_in_completed"}
    no_output, no_list = "The job is COMPLETED without output.", "The list of pictures is empty."
    inside = "The job is COMPLETED with an error inside"
    lines: list[Line] = [
        (SYNC, no_list, empty, unknown, {}),
        (TASKS, no_list, empty, unread, {}),
        (RUNPOD, no_list, empty, billed, {"text": "no picture"}),
        (SYNC, "There is no list of pictures.", none, unknown, {}),
        (TASKS, no_output, none, unread, {}),
        (RUNPOD, no_output, none, billed, {"text": "without output"}),
        (
            SYNC,
            "The picture is broken base64.",
            base64,
            unknown,
            {"text": "base64", "quarantined": True},
        ),
        (
            JOBS,
            "The picture is broken base64.",
            base64,
            unread,
            {"text": "base64", "quarantined": True},
        ),
        (SYNC, "An error comes with 200, after the work.", error, refused, {"text": "submitted"}),
        (TASKS, f"{inside}.", error, unread, {"text": "could not be submitted"}),
    ]
    for form, text in (
        ("status_error", "Workflow execution failed"),
        ("success_no_images", "success_no_images"),
        ("error_details", "Job processing failed"),
    ):
        name, fault = f"{inside} ({form}).", {**error, "form": form}
        lines.append((RUNPOD, name, fault, billed, {"text": text}))
    return lines


def _ends() -> list[Line]:
    failed = {"fault": "job_failed", "error": "out of memory"}
    in_json, in_error = {**failed, "form": "json"}, {**failed, "state": "error"}
    as_json = "The job is FAILED with a worker's JSON as its error."
    as_state, memory = "The job ends in the state error.", {"text": "out of memory"}
    refused = "The service says that it could not make the picture."
    late = {"fault": "job_timed_out"}
    wrong, unbilled = written_off("bad_request"), written_off("job_failed")
    odd = not_bought_again("bad_answer", "submitted", bill=1)
    name_it = {"text": "unknown"}
    lost, gone = "The finished job is 404", {"fault": "expired"}
    later = Fate(odd.now, End("made", ("expired", "stored"), 2))
    return [
        (SYNC, refused, {"fault": "job_failed"}, wrong, {"text": "could not be generated"}),
        (JOBS, "The job is FAILED.", failed, unbilled, memory),
        (TASKS, as_state, in_error, unbilled, memory),
        (RUNPOD, as_json, in_json, unbilled, {"text": ": out of memory."}),
        (JOBS, "The job is CANCELLED.", {"fault": "job_cancelled"}, unbilled, {}),
        (TASKS, "The job is TIMED_OUT.", late, unbilled, {}),
        (RUNPOD, "The job is TIMED_OUT.", late, written_off("job_timeout"), {}),
        (JOBS, f"{lost}.", gone, odd, {"text": "no longer has"}),
        (JOBS, f"{lost}; an hour passes.", gone, later, {"hours": 1.1}),
        (JOBS, "The job has an unknown status.", {"fault": "unknown_status"}, odd, name_it),
    ]


def _queue() -> list[Line]:
    stuck = "The job is stuck in the queue"
    cancelled = written_off("job_timeout")
    goes_on = not_bought_again("job_timeout", "submitted", bill=0)
    return [
        (RUNPOD, f"{stuck}.", STUCK, cancelled, {"text": "inQueue", "settings": QUEUE}),
        (
            *(TASKS, f"{stuck}, and cannot be cancelled.", STUCK, goes_on),
            {"text": "queue", "settings": QUEUE},
        ),
    ]


def _cancels() -> list[Row]:
    def broken(at: str, name: str, text: str, fate: Fate, **fault: Any) -> list[Row]:
        faults = (STUCK, {"at": at, **fault, "times": FOREVER})
        name = f"The job is stuck in the queue, and {name}."
        return rows(RUNPOD, at, name, faults, fate, text=text, settings=QUEUE)

    goes_on = Fate(
        End("failed", ("submitted",), 0, "job_timeout"), End("made", ("failed", "stored"), 1)
    )
    refused, mute = "cancelling it is answered with 500", "the service's health is 502"
    cannot, cancelled = "could not be cancelled", written_off("job_timeout")
    return [
        *broken("cancel", refused, cannot, goes_on, fault="status", status=500),
        *broken("cancel", "cancelling it is reset", cannot, goes_on, fault="reset_before"),
        *broken("health", mute, "waited in the queue", cancelled, fault="status", status=502),
    ]


def _expired_urls() -> list[Line]:
    gone, name = {"fault": "expired_url"}, "The picture's URL has expired when it comes"
    now = not_bought_again("download", "completed", bill=1)
    later = Fate(now.now, End("made", ("expired", "stored"), 2))
    return [
        (ALL, f"{name}.", gone, now, {"text": "403"}),
        (SYNC, f"{name}; an hour passes.", gone, later, {"hours": 1.1}),
    ]


def _other_urls() -> list[Row]:
    name = "The picture's URL has expired when it comes; the job gives another."
    once = left_open("download", "completed")
    return rows(JOBS, "status", name, {"fault": "expired_url"}, once, text="403")
