"""Time-outs for clients that are slow to send a request's head or to read a response.

uvicorn (0.54 was tried) has none: ``timeout_keep_alive`` begins after a response, so a
connection that never sends a whole head stays open, and so does one whose client stops
reading. ``limit_concurrency`` answers 503 and keeps the connection. Slow bodies are
``BodyLimit``'s.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 1000
READ_SECONDS = 120.0
"""A client that reads nothing of a pending response for this long is disconnected."""


class TimeoutProtocol(H11Protocol):
    """uvicorn's HTTP protocol with a time-out for request heads and one for stalled readers."""

    head_seconds: ClassVar[float] = 10.0
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_head_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        else:  # the first bytes of another request
            self._start_head_timer()

    def on_response_complete(self) -> None:
        """See H11Protocol: part of the next request may have been received already."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._start_head_timer()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self._stop_read_timer()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None


def timeout_protocol(head_seconds: float) -> type[TimeoutProtocol]:
    """The protocol for clients that send a whole request head within ``head_seconds``."""
    return type("ConfiguredTimeoutProtocol", (TimeoutProtocol,), {"head_seconds": head_seconds})
