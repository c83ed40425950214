"""Scripted faults: which request fails next, and how."""

from dataclasses import dataclass, field
from typing import Any

TRANSPORT_FAULTS = frozenset(
    {
        "status",
        "reset_before",
        "reset_after_work",
        "reset_midbody",
        "slow_drip",
        "hang",
        "html_200",
        "broken_json",
        "redirect",
        "code_in_200",
    }
)
"""The answer is lost, broken or replaced on its way."""

JOB_FAULTS = frozenset(
    {
        "job_failed",
        "job_cancelled",
        "job_timed_out",
        "expired",
        "unknown_status",
        "stuck_in_queue",
    }
)
"""The job fails, or never ends."""

OUTPUT_FAULTS = frozenset({"no_output", "error_in_completed", "empty_images", "broken_base64"})
"""The job ends, and is billed, without a usable output."""

PICTURE_FAULTS = frozenset(
    {"truncated_picture", "wrong_size", "wrong_format", "bomb", "blank", "expired_url"}
)
"""The job has an output whose picture is not the requested one."""

OUTCOME_FAULTS = JOB_FAULTS | OUTPUT_FAULTS | PICTURE_FAULTS

COMFYUI_JOB_FAULTS = PICTURE_FAULTS - {"expired_url"} | {
    "job_failed",
    "job_cancelled",
    "stuck_in_queue",
}
"""The prompt fails, is interrupted, never starts, or its file is damaged."""

POSSIBLE: dict[tuple[str, str], frozenset[str]] = {
    ("duomi", "submit"): TRANSPORT_FAULTS | OUTCOME_FAULTS,
    ("duomi", "status"): TRANSPORT_FAULTS | OUTCOME_FAULTS,
    ("runpod", "submit"): TRANSPORT_FAULTS | OUTCOME_FAULTS,
    ("runpod", "status"): TRANSPORT_FAULTS | OUTCOME_FAULTS,
    ("runpod", "cancel"): TRANSPORT_FAULTS | {"expired"},
    ("runpod", "health"): TRANSPORT_FAULTS,
    ("comfyui", "submit"): TRANSPORT_FAULTS | COMFYUI_JOB_FAULTS,
    ("comfyui", "status"): TRANSPORT_FAULTS,
    ("comfyui", "queue"): TRANSPORT_FAULTS,
    ("comfyui", "cancel"): TRANSPORT_FAULTS,
    ("comfyui", "view"): TRANSPORT_FAULTS | PICTURE_FAULTS - {"expired_url"},
    ("files", "download"): TRANSPORT_FAULTS | PICTURE_FAULTS | {"expired"},
}
"""The faults that each provider's operations know."""


@dataclass(slots=True)
class Fault:
    """One scripted fault. ``times`` -1: without end. ``after`` requests pass unchanged first."""

    provider: str
    operation: str
    name: str
    times: int = 1
    after: int = 0
    match: str | None = None
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def on_transport(self) -> bool:
        """Whether the answer is at fault, rather than the job."""
        return self.name in TRANSPORT_FAULTS

    def number(self, name: str, default: float) -> float:
        """The named parameter as a number."""
        return float(self.params.get(name, default))

    def text(self, name: str, default: str) -> str:
        """The named parameter as text."""
        return str(self.params.get(name, default))

    def as_json(self) -> dict[str, object]:
        """The fault as it was posted, with the remaining ``times`` and ``after``."""
        return {
            "provider": self.provider,
            "operation": self.operation,
            "fault": self.name,
            "times": self.times,
            "after": self.after,
            "match": self.match,
            **self.params,
        }


class FaultScript:
    """The pending faults, in the order in which they were posted."""

    def __init__(self) -> None:
        """Start with none."""
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Append a fault."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._waiting.clear()

    def as_json(self) -> list[dict[str, object]]:
        """All pending faults."""
        return [fault.as_json() for fault in self._waiting]

    def take(
        self, provider: str, operation: str, prompt: str | None, applicable: frozenset[str]
    ) -> Fault | None:
        """Take the first fault for this request, if there is one.

        A fault waits for a request that it can apply to (a broken output for a
        poll that finds the job done); a request that one fault takes is not seen
        by those behind it.
        """
        for fault in self._waiting:
            if (fault.provider, fault.operation) != (provider, operation):
                continue
            if fault.name not in applicable or not _matches(fault.match, prompt):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times > 0:
                fault.times -= 1
            if fault.times == 0:
                self._waiting.remove(fault)
            return fault
        return None


def _matches(wanted: str | None, prompt: str | None) -> bool:
    return wanted is None or (prompt is not None and wanted in prompt)
