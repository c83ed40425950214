"""Limits how many images all jobs of the server request from one provider at the same time.

A batch gets its slots when it starts and keeps them, so that it runs under one breaker and one
stop. A large batch leaves some slots free for single images, which a person is waiting for;
once a large batch waits, single images use only those. Otherwise first come, first served.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_SLOTS_FOR_SINGLES = 2


@dataclass(eq=False, slots=True)
class Reservation:
    """A number of items that wait for slots; ``start`` is called with the number granted."""

    items: int
    start: Callable[[int], None]

    @property
    def is_single(self) -> bool:
        """Whether it is for one image."""
        return self.items == 1


class SlotPool:
    """The slots of one provider. Safe from many threads."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._for_singles = (
            _SLOTS_FOR_SINGLES if count > _SLOTS_FOR_SINGLES + 1 else min(1, count - 1)
        )
        self._lock = threading.Lock()
        self._waiting: deque[Reservation] = deque()
        self._granted: dict[Reservation, int] = {}

    @property
    def waiting_items(self) -> int:
        """The number of items in reservations that have not started."""
        with self._lock:
            return sum(reservation.items for reservation in self._waiting)

    def reserve(self, reservation: Reservation) -> None:
        """Start the reservation now, or as soon as slots are free."""
        with self._lock:
            self._waiting.append(reservation)
            granted = self._grant()
        _start(granted)

    def release(self, reservation: Reservation) -> None:
        """Free the slots of a reservation whose work has ended."""
        with self._lock:
            self._granted.pop(reservation, None)
            granted = self._grant()
        _start(granted)

    def withdraw(self, reservation: Reservation) -> bool:
        """Remove a waiting reservation from the queue; False if it has started."""
        with self._lock:
            if reservation not in self._waiting:
                return False
            self._waiting.remove(reservation)
            granted = self._grant()
        _start(granted)
        return True

    def _grant(self) -> list[tuple[Reservation, int]]:
        granted: list[tuple[Reservation, int]] = []
        large_waits = False
        for reservation in list(self._waiting):
            is_behind = large_waits and not reservation.is_single
            slots = 0 if is_behind else self._free_for(reservation, large_waits)
            if slots < 1:
                large_waits = large_waits or not reservation.is_single
                continue
            self._waiting.remove(reservation)
            self._granted[reservation] = slots
            granted.append((reservation, slots))
        return granted

    def _free_for(self, reservation: Reservation, large_waits: bool) -> int:
        singles = sum(slots for one, slots in self._granted.items() if one.is_single)
        large = sum(self._granted.values()) - singles
        free = self._count - singles - large
        if reservation.is_single:
            return min(1, free) if not large_waits or singles < self._for_singles else 0
        return min(reservation.items, free, self._count - large - max(self._for_singles, singles))


def _start(granted: list[tuple[Reservation, int]]) -> None:
    for reservation, slots in granted:
        reservation.start(slots)
