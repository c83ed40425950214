"""Many clients at once: each asks for what a browser asks for, as fast as it is answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import psutil

PATIENCE_SECONDS = 60.0


@dataclass
class Tally:
    """What the clients got: seconds of each kind of request, and what was no 200."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(map(len, self.seconds.values()))

    def quantile(self, kind: str, share: float) -> float:
        """Milliseconds in which so large a share of the requests of a kind was answered."""
        taken = sorted(self.seconds[kind])
        return 1000 * taken[min(len(taken) - 1, int(share * len(taken)))]


@dataclass
class Memory:
    """A process's resident memory, looked at each second, in MB."""

    pid: int
    seen: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Look once."""
        self.seen.append(psutil.Process(self.pid).memory_info().rss / 2**20)

    async def watch(self, until: float) -> None:
        """Look each second until a moment of the monotonic clock."""
        while time.monotonic() < until:
            self.look()
            await asyncio.sleep(1)


def crowd(
    url: str, attempts: list[int], *, pid: int, clients: int, seconds: float
) -> tuple[Tally, Memory]:
    """Let ``clients`` browse for ``seconds``; returns what they got and the server's memory."""
    tally, memory = Tally(), Memory(pid)
    asyncio.run(_crowd(url, attempts, tally, memory, clients, time.monotonic() + seconds))
    return tally, memory


async def _crowd(
    url: str, attempts: list[int], tally: Tally, memory: Memory, clients: int, until: float
) -> None:
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, limits=limits) as client:
        await asyncio.gather(
            memory.watch(until),
            *(_client(client, number, attempts, tally, until) for number in range(clients)),
        )


async def _client(
    client: httpx.AsyncClient, number: int, attempts: list[int], tally: Tally, until: float
) -> None:
    dice = random.Random(number)  # noqa: S311 - the same crowd every time
    while time.monotonic() < until:
        kind, path = _something(dice, attempts)
        began = time.perf_counter()
        try:
            answer = await client.get(path)
        except httpx.HTTPError as error:
            tally.errors[f"{kind}: {type(error).__name__}"] += 1
            continue
        tally.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        if answer.status_code != 200:
            tally.errors[f"{kind}: {answer.status_code}"] += 1


def _something(dice: random.Random, attempts: list[int]) -> tuple[str, str]:
    """What a person with the gallery open asks for: mostly thumbnails, now and then a page."""
    draw = dice.random()
    if draw < 0.60:
        return "thumbnail", f"/thumbnails/{dice.choice(attempts)}.webp"
    if draw < 0.75:
        return "cards", f"/cards?offset={60 * dice.randrange(160)}&limit=60"
    if draw < 0.82:
        return "search", "/api/pictures?text=light&limit=60"
    if draw < 0.90:
        return "picture file", f"/pictures/{dice.choice(attempts)}"
    if draw < 0.95:
        return "totals", "/api/totals"
    return "first page", "/"
