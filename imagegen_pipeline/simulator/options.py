"""Options of a simulator."""

from dataclasses import dataclass
from pathlib import Path

DUOMI_ANSWERS = ("images:url", "images:b64_json", "data:url", "data:b64_json")
"""List name and field of Duomi's two documented answer shapes. [D]"""

RUNPOD_OUTPUTS = (
    "images",
    "images:data_uri",
    "images:url",
    "plain",
    "plain:data_uri",
    "plain:url",
    "job_results",
    "job_results:data_uri",
    "job_results:url",
    "nested",
    "nested:data_uri",
    "nested:url",
    "message",
    "message:data_uri",
    "message:url",
    "image",
    "image:data_uri",
    "image:url",
    "image_url",
)
"""Shape of a RunPod worker's ``output``, and the encoding of each image (default: base64)."""

ANY_ENDPOINT = "*"


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """How the simulated providers behave when no fault is scripted; times are in seconds."""

    latency: float = 0.05
    """Time to make one picture."""
    capacity: int = 64
    """Jobs that run at once at Duomi and at RunPod; the rest wait. ComfyUI runs one."""
    cold_start: float = 0.0
    """Time from the first RunPod job until the first worker is up."""
    retention: float = 1800.0
    """How long a finished RunPod job or Duomi task can be asked for."""
    url_ttl: float = 3600.0
    """How long a picture's URL works."""
    duomi_answer: str = "images:url"
    """One of `DUOMI_ANSWERS`."""
    runpod_output: str = "images"
    """One of `RUNPOD_OUTPUTS`."""
    rate_limit: int | None = None
    """Submits a minute and provider before a 429; None: no limit."""
    platform_limits: bool = True
    """Keep to RunPod's documented requests in ten seconds (1000 runs, 100 cancels, ...)."""
    strict_sizes: bool = False
    """Refuse the Duomi sizes that are not in the documented list."""
    pictures: Path | None = None
    """A folder of PNG files to answer with, each for its own size; None: all are drawn."""
    duomi_key: str = "simulated-duomi-key"
    runpod_key: str = "simulated-runpod-key"
    runpod_endpoint: str = "simulated-endpoint"
    """The only endpoint that exists; ``*``: all do."""

    comfyui_token: str = "simulated-comfyui-token"  # noqa: S105 - it opens nothing else
    comfyui_own_ids: bool = True
    """Take the prompt_id that a client chooses, as newer ComfyUI servers do."""

    def __post_init__(self) -> None:
        """Raises ValueError, which lists the choices, for an unknown one."""
        if self.duomi_answer not in DUOMI_ANSWERS:
            raise ValueError(f"duomi_answer is one of {', '.join(DUOMI_ANSWERS)}")
        if self.runpod_output not in RUNPOD_OUTPUTS:
            raise ValueError(f"runpod_output is one of {', '.join(RUNPOD_OUTPUTS)}")
        if self.capacity < 1:
            raise ValueError("capacity is at least 1")
        if self.rate_limit is not None and self.rate_limit < 1:
            raise ValueError("rate_limit is at least 1, or none")
        if min(self.latency, self.cold_start, self.retention, self.url_ttl) < 0:
            raise ValueError("times are not negative")
