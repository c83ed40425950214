"""Connections that cost more than they bring: closed.

A client may be slow to begin (its request's head), or to read what it asked for; each would
hold a connection for ever. A slow body is the guard's.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 1000
READ_SECONDS = 120.0


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, with an end to its patience."""

    head_seconds: ClassVar[float] = 10.0
    most_connections: ClassVar[int] = MOST_CONNECTIONS
    _head: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        self._head = self.loop.call_later(self.head_seconds, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_head()
        self._stop_reading()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head()
        elif self._head is None:  # the first bytes of a further request
            self._head = self.loop.call_later(self.head_seconds, self.transport.abort)

    def on_response_complete(self) -> None:
        """See H11Protocol: a further request may have begun behind the one that was answered."""
        super().on_response_complete()
        waits_for_head = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        if waits_for_head and self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self._stop_reading()

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


def patient_protocol(head_seconds: float) -> type[PatientProtocol]:
    """The protocol for clients that send a whole head in ``head_seconds``."""
    return type("Patient", (PatientProtocol,), {"head_seconds": head_seconds})
