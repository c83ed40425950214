"""How many pictures of a service are asked for at once, by all jobs of the server together.

A batch is given its places when it begins and keeps them, so that it runs under one breaker
and one stop. A large one leaves some to the single pictures that a person waits for; those
leave the rest to it once it waits. Otherwise first come, first served.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_FOR_SINGLES = 2


@dataclass(eq=False, slots=True)
class Reservation:
    """So many items that wait for places; ``start`` is called with how many they have got."""

    items: int
    start: Callable[[int], None]

    @property
    def is_single(self) -> bool:
        """Whether it is one picture."""
        return self.items == 1


class SlotPool:
    """The places of one service."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept = _FOR_SINGLES if count > _FOR_SINGLES + 1 else min(1, count - 1)
        self._lock = threading.Lock()
        self._waiting: deque[Reservation] = deque()
        self._given: dict[Reservation, int] = {}

    @property
    def waiting_items(self) -> int:
        """How many items wait whose turn has not come."""
        with self._lock:
            return sum(ticket.items for ticket in self._waiting)

    def ask(self, ticket: Reservation) -> None:
        """Start the ticket now, or when others have given places back."""
        with self._lock:
            self._waiting.append(ticket)
            begun = self._deal()
        _start(begun)

    def give_back(self, ticket: Reservation) -> None:
        """The ticket's work is done: its places are free."""
        with self._lock:
            self._given.pop(ticket, None)
            begun = self._deal()
        _start(begun)

    def withdraw(self, ticket: Reservation) -> bool:
        """Take a ticket out of the queue; False when its turn has come already."""
        with self._lock:
            if ticket not in self._waiting:
                return False
            self._waiting.remove(ticket)
            begun = self._deal()
        _start(begun)
        return True

    def _deal(self) -> list[tuple[Reservation, int]]:
        begun: list[tuple[Reservation, int]] = []
        large_waits = False
        for ticket in list(self._waiting):
            places = 0 if large_waits and not ticket.is_single else self._free(ticket, large_waits)
            if places < 1:
                large_waits = large_waits or not ticket.is_single
                continue
            self._waiting.remove(ticket)
            self._given[ticket] = places
            begun.append((ticket, places))
        return begun

    def _free(self, ticket: Reservation, large_waits: bool) -> int:
        singles = sum(places for one, places in self._given.items() if one.is_single)
        large = sum(self._given.values()) - singles
        free = self._count - singles - large
        if ticket.is_single:
            return min(1, free) if not large_waits or singles < self._kept else 0
        return min(ticket.items, free, self._count - large - max(self._kept, singles))


def _start(begun: list[tuple[Reservation, int]]) -> None:
    for ticket, places in begun:
        ticket.start(places)
