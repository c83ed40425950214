"""Reads posted faults, and refuses those that would have no effect."""

from typing import Any

from imagegen_pipeline.simulator.faults import POSSIBLE, Fault

_OWN_FIELDS = frozenset({"provider", "operation", "fault", "times", "after", "match"})

PARAMS: dict[str, frozenset[str]] = {
    "status": frozenset({"status", "body", "headers", "content_type", "code", "message", "work"}),
    "slow_drip": frozenset({"seconds_per_byte", "chunk"}),
    "hang": frozenset({"seconds", "work"}),
    "html_200": frozenset({"work"}),
    "broken_json": frozenset({"work"}),
    "redirect": frozenset({"location", "status", "work"}),
    "code_in_200": frozenset({"form", "work"}),
    "job_failed": frozenset({"error", "form", "state"}),
    "unknown_status": frozenset({"status", "state"}),
    "error_in_completed": frozenset({"form"}),
    "wrong_size": frozenset({"width", "height"}),
    "wrong_format": frozenset({"format"}),
}
"""The parameters of each fault that has any."""

_REQUIRED = {"status": "status", "redirect": "location"}

_CHOICES: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("duomi", "code_in_200"): ("form", ("code", "error")),
    ("runpod", "code_in_200"): ("form", ("code", "error")),
    ("duomi", "error_in_completed"): ("form", ("error", "code")),
    ("runpod", "error_in_completed"): (
        "form",
        ("status_error", "success_no_images", "error_details"),
    ),
    ("duomi", "job_failed"): ("state", ("failed", "error")),
    ("runpod", "job_failed"): ("form", ("plain", "json")),
    ("duomi", "wrong_format"): ("format", ("jpeg", "webp")),
    ("runpod", "wrong_format"): ("format", ("jpeg", "webp")),
    ("comfyui", "wrong_format"): ("format", ("jpeg", "webp")),
    ("files", "wrong_format"): ("format", ("jpeg", "webp")),
}


class FaultRefusedError(ValueError):
    """A fault that cannot be scripted; the text lists those that can."""


def read_fault(posted: object) -> Fault:
    """One posted fault; raises FaultRefusedError, which lists the choices."""
    if not isinstance(posted, dict):
        raise FaultRefusedError("a fault is an object with provider, operation and fault")
    provider, operation = str(posted.get("provider")), str(posted.get("operation"))
    if (provider, operation) not in POSSIBLE:
        known = ", ".join("/".join(pair) for pair in POSSIBLE)
        raise FaultRefusedError(f"there is no {provider}/{operation}; there are {known}")
    name = str(posted.get("fault"))
    if name not in POSSIBLE[provider, operation]:
        known = ", ".join(sorted(POSSIBLE[provider, operation]))
        raise FaultRefusedError(f"{provider}/{operation} has no fault {name!r}; it has {known}")
    params = {key: value for key, value in posted.items() if key not in _OWN_FIELDS}
    _check_params(provider, name, params)
    match = posted.get("match")
    return Fault(
        provider=provider,
        operation=operation,
        name=name,
        times=_whole(posted, "times", 1),
        after=_whole(posted, "after", 0),
        match=None if match is None else str(match),
        params=params,
    )


def _check_params(provider: str, name: str, params: dict[str, Any]) -> None:
    allowed = PARAMS.get(name, frozenset())
    if unknown := sorted(params.keys() - allowed):
        known = ", ".join(sorted(allowed)) or "none"
        raise FaultRefusedError(f"{name!r} has no parameter {unknown[0]!r}; it has {known}")
    required = _REQUIRED.get(name)
    if required is not None and required not in params:
        raise FaultRefusedError(f"{name!r} needs {required!r}")
    if name in ("status", "redirect") and not 200 <= _whole(params, "status", 302) < 600:
        raise FaultRefusedError("'status' is an HTTP status from 200 to 599")
    if not isinstance(params.get("headers", {}), dict):
        raise FaultRefusedError("'headers' is an object")
    field, choices = _CHOICES.get((provider, name), ("", ()))
    if field in params and params[field] not in choices:
        raise FaultRefusedError(f"{field!r} is one of {', '.join(choices)}")
    for number in ("seconds", "seconds_per_byte", "chunk", "width", "height"):
        value = params.get(number, 1)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise FaultRefusedError(f"{number!r} is a number, not negative")


def _whole(posted: dict[str, Any], name: str, default: int) -> int:
    value = posted.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise FaultRefusedError(f"{name!r} is a whole number")
    return value
