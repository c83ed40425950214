"""What a row of the matrix says, and the few fates that an item can have."""

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
"""The ways in which pictures come, as the table calls them."""
DUOMI, JOBS = ("duomi", "duomi-async"), ("duomi-async", "runpod")
ALL = ("duomi", "duomi-async", "runpod")
FOREVER = -1
IMPATIENT = {"IMAGEGEN_TIMEOUT_READ": "0.5", "IMAGEGEN_TIMEOUT_DOWNLOAD": "0.5"}

Batch = Literal["goes on", "stops", "never begins", "dies"]


@dataclass(frozen=True)
class End:
    """How the item comes out of one run: its outcome, the states of its attempts, oldest
    first, and how many pictures of it are billed by then.
    """

    status: str
    states: tuple[str, ...]
    bill: int
    kind: str | None = None


@dataclass(frozen=True)
class Fate:
    """What comes of the item in the run with the fault, and in the next one without it."""

    now: End
    then: End


def made(*states: str, bill: int = 1) -> Fate:
    """It has its picture, and the next run reuses it."""
    states = states or ("stored",)
    return Fate(End("made", states, bill), End("reused", states, bill))


def sent_again(*, bill: int) -> Fate:
    """No answer came, it was sent once more, and the ledger says so."""
    return made("unknown", "stored", bill=bill)


def written_off(kind: str, *, bill: int = 0) -> Fate:
    """It failed and nothing is left to fetch: the next run buys it anew."""
    return Fate(End("failed", ("failed",), bill, kind), End("made", ("failed", "stored"), bill + 1))


def left_open(kind: str, state: str, *, bill: int = 1) -> Fate:
    """It failed while its picture is at the service: the next run fetches it, unbilled."""
    return Fate(End("failed", (state,), bill, kind), End("made", ("stored",), max(bill, 1)))


def not_bought_again(kind: str, state: str, *, bill: int) -> Fate:
    """What was sent never gives a picture, and nobody can know that: nothing more is sent."""
    end = End("failed", (state,), bill, kind)
    return Fate(end, end)


def held(*states: str, bill: int, kind: str = "unknown") -> Fate:
    """It may have been billed: only a person has it sent again."""
    end = End("held", (*states, "held"), bill, kind)
    return Fate(end, end)


@dataclass(frozen=True)
class Row:
    """One fault and all that must come of it.

    ``faults`` are scripted in the simulator for the one item, each with its operation under
    ``at``. ``says`` stands in the outcome's reason or warnings; ``waits`` is the least
    longest wait in seconds; ``suffix`` the stored file's; ``hours`` pass before the next run.
    """

    name: str
    provider: str
    at: str
    fate: Fate
    faults: tuple[Mapping[str, Any], ...] = ()
    batch: Batch = "goes on"
    says: str = ""
    waits: float = 0.0
    suffix: str = ".png"
    quarantined: bool = False
    hours: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The row's name in pytest's words."""
        return slug(f"{self.provider} {self.at} {self.name}")


def slug(words: str) -> str:
    """A sentence as pytest shows it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()


def rows(
    providers: Iterable[str],
    at: str,
    name: str,
    fault: Mapping[str, Any] | tuple[Mapping[str, Any], ...],
    fate: Fate,
    **more: Any,
) -> list[Row]:
    """The same row for several services; a fault goes wrong ``at`` unless it says where."""
    several = fault if isinstance(fault, tuple) else (fault,)
    faults = tuple({"at": at, **one} for one in several)
    return [Row(name, provider, at, fate, faults, **more) for provider in providers]
