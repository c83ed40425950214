"""What a real service would have on its books."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Literal

Service = Literal["duomi", "runpod"]
Ending = Literal["completed", "failed", "cancelled"]


@dataclass(slots=True)
class ServiceCounts:
    """One service's jobs. ``in_flight`` are accepted and not ended, ``running`` hold a worker."""

    accepted: int = 0
    completed: int = 0
    billed: int = 0
    failed: int = 0
    cancelled: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    running: int = 0
    max_running: int = 0


@dataclass(slots=True)
class PromptCounts:
    """What one prompt led to at one service."""

    accepted: int = 0
    completed: int = 0
    billed: int = 0


@dataclass(slots=True)
class Billing:
    """Counts since the start or the last reset. Billed counts pictures, the rest jobs."""

    services: dict[Service, ServiceCounts] = field(
        default_factory=lambda: {"duomi": ServiceCounts(), "runpod": ServiceCounts()}
    )
    prompts: dict[tuple[Service, str], PromptCounts] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    key_leaks: int = 0
    downloads: int = 0

    def accept(self, service: Service, prompt: str) -> None:
        """A job was taken on."""
        counts = self.services[service]
        counts.accepted += 1
        counts.in_flight += 1
        counts.max_in_flight = max(counts.max_in_flight, counts.in_flight)
        self._prompt(service, prompt).accepted += 1

    def start(self, service: Service) -> None:
        """A worker began a job."""
        counts = self.services[service]
        counts.running += 1
        counts.max_running = max(counts.max_running, counts.running)

    def leave(self, service: Service) -> None:
        """A worker put a job down, whatever came of it."""
        self.services[service].running -= 1

    def end(self, service: Service, prompt: str, ending: Ending, *, pictures: int = 0) -> None:
        """A job ended; ``pictures`` were made and are billed, whether or not anybody gets them."""
        counts = self.services[service]
        counts.in_flight -= 1
        counts.billed += pictures
        setattr(counts, ending, getattr(counts, ending) + 1)
        prompt_counts = self._prompt(service, prompt)
        prompt_counts.billed += pictures
        prompt_counts.completed += ending == "completed"

    def as_json(self, *, prompts: bool = True) -> dict[str, object]:
        """The body of ``GET /_sim/stats``."""
        shown: dict[str, object] = {name: asdict(counts) for name, counts in self.services.items()}
        shown["requests"] = dict(self.requests)
        shown["key_leaks"] = self.key_leaks
        shown["downloads"] = self.downloads
        if prompts:
            shown["by_prompt"] = [
                {"service": service, "prompt": prompt, **asdict(counts)}
                for (service, prompt), counts in self.prompts.items()
            ]
        return shown

    def _prompt(self, service: Service, prompt: str) -> PromptCounts:
        return self.prompts.setdefault((service, prompt), PromptCounts())
