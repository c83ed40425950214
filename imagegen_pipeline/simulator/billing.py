"""Counters of what a real provider would bill."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

Provider = Literal["duomi", "runpod", "comfyui"]
Ending = Literal["completed", "failed", "cancelled"]


@dataclass(slots=True)
class ProviderCounts:
    """One provider's jobs. ``in_flight`` are accepted and not ended, ``running`` hold a worker."""

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
    """What one prompt led to at one provider."""

    accepted: int = 0
    completed: int = 0
    billed: int = 0


@dataclass(slots=True)
class Billing:
    """Counts since the start or the last reset. Billed counts pictures, the rest jobs."""

    providers: dict[Provider, ProviderCounts] = field(
        default_factory=lambda: {name: ProviderCounts() for name in get_args(Provider)}
    )
    prompts: dict[tuple[Provider, str], PromptCounts] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    key_leaks: int = 0
    downloads: int = 0

    def accept(self, provider: Provider, prompt: str) -> None:
        """Count a job that was accepted."""
        counts = self.providers[provider]
        counts.accepted += 1
        counts.in_flight += 1
        counts.max_in_flight = max(counts.max_in_flight, counts.in_flight)
        self._prompt(provider, prompt).accepted += 1

    def start(self, provider: Provider) -> None:
        """Count a job that a worker has started."""
        counts = self.providers[provider]
        counts.running += 1
        counts.max_running = max(counts.max_running, counts.running)

    def leave(self, provider: Provider) -> None:
        """Count a job that a worker no longer runs, whatever its result."""
        self.providers[provider].running -= 1

    def end(self, provider: Provider, prompt: str, ending: Ending, *, pictures: int = 0) -> None:
        """Count a job that ended; ``pictures`` were made and are billed, collected or not."""
        counts = self.providers[provider]
        counts.in_flight -= 1
        counts.billed += pictures
        setattr(counts, ending, getattr(counts, ending) + 1)
        prompt_counts = self._prompt(provider, prompt)
        prompt_counts.billed += pictures
        prompt_counts.completed += ending == "completed"

    def as_json(self, *, prompts: bool = True) -> dict[str, object]:
        """The body of ``GET /_sim/stats``."""
        shown: dict[str, object] = {name: asdict(counts) for name, counts in self.providers.items()}
        shown["requests"] = dict(self.requests)
        shown["key_leaks"] = self.key_leaks
        shown["downloads"] = self.downloads
        if prompts:
            shown["by_prompt"] = [
                {"provider": provider, "prompt": prompt, **asdict(counts)}
                for (provider, prompt), counts in self.prompts.items()
            ]
        return shown

    def _prompt(self, provider: Provider, prompt: str) -> PromptCounts:
        return self.prompts.setdefault((provider, prompt), PromptCounts())
