"""A row of the matrix, and the few results that an item can have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SHOWN = {
    "duomi": "Duomi",
    "duomi-b64": "Duomi with the picture in its answer",
    "duomi-async": "Duomi's tasks",
    "runpod": "RunPod",
    "runpod-url": "RunPod with URLs",
}
"""The delivery modes, as the table names them."""
DUOMI, JOBS = ("duomi", "duomi-async"), ("duomi-async", "runpod")
ALL = ("duomi", "duomi-async", "runpod")
FOREVER = -1
IMPATIENT = {"IMAGEGEN_TIMEOUT_READ": "0.5", "IMAGEGEN_TIMEOUT_DOWNLOAD": "0.5"}

Batch = Literal["goes on", "stops", "never begins", "dies"]


@dataclass(frozen=True)
class End:
    """The result of one run for the item: its status, the states of its attempts, oldest first,
    and the images of it that are billed by then.
    """

    status: str
    states: tuple[str, ...]
    bill: int
    kind: str | None = None


@dataclass(frozen=True)
class Fate:
    """The result for the item in the run with the fault and in the next one without it."""

    now: End
    then: End


def made(*states: str, bill: int = 1) -> Fate:
    """It has its image, and the next run reuses it."""
    states = states or ("stored",)
    return Fate(End("made", states, bill), End("reused", states, bill))


def sent_again(*, bill: int) -> Fate:
    """No answer came; it was sent once more, as a possible double charge."""
    return made("unknown", "stored", bill=bill)


def written_off(kind: str, *, bill: int = 0) -> Fate:
    """It failed and nothing is left to fetch: the next run buys it again."""
    return Fate(End("failed", ("failed",), bill, kind), End("made", ("failed", "stored"), bill + 1))


def left_open(kind: str, state: str, *, bill: int = 1) -> Fate:
    """It failed while its image is at the provider: the next run fetches it without a charge."""
    return Fate(End("failed", (state,), bill, kind), End("made", ("stored",), max(bill, 1)))


def not_bought_again(kind: str, state: str, *, bill: int) -> Fate:
    """The request never gives an image, which cannot be known: nothing more is sent."""
    end = End("failed", (state,), bill, kind)
    return Fate(end, end)


def held(*states: str, bill: int, kind: str = "unknown") -> Fate:
    """It may be billed: only a user sends it again."""
    end = End("held", (*states, "held"), bill, kind)
    return Fate(end, end)


@dataclass(frozen=True)
class Row:
    """One fault and its expected results.

    ``faults`` are scripted in the simulator for the one item, each with its operation under
    ``at``. ``text`` is part of the outcome's reason or warnings; ``waits`` is the least longest
    wait in seconds; ``suffix`` that of the stored file; ``hours`` pass before the next run.
    """

    name: str
    provider: str
    at: str
    fate: Fate
    faults: tuple[Mapping[str, Any], ...] = ()
    batch: Batch = "goes on"
    text: str = ""
    waits: float = 0.0
    suffix: str = ".png"
    quarantined: bool = False
    hours: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The row's id in pytest."""
        return slug(f"{self.provider} {self.at} {self.name}")


def slug(words: str) -> str:
    """A sentence as an id of pytest."""
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()


def rows(
    providers: Iterable[str],
    at: str,
    name: str,
    fault: Mapping[str, Any] | tuple[Mapping[str, Any], ...],
    fate: Fate,
    **more: Any,
) -> list[Row]:
    """The same row for several providers; a fault happens ``at`` unless it names an operation."""
    several = fault if isinstance(fault, tuple) else (fault,)
    faults = tuple({"at": at, **one} for one in several)
    return [Row(name, provider, at, fate, faults, **more) for provider in providers]
