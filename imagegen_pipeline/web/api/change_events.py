"""Tells open pages that something has changed: one look at the ledger for all of them."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.web.api.responses import failure

_log = logging.getLogger(__name__)
MOST_LISTENERS = 200
KEEP_ALIVE_SECONDS = 15.0


class Listener:
    """One open page: woken, in its event loop, when there is news or an end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.woken = asyncio.Event()

    def wake(self) -> None:
        """Called by the watcher's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.woken.set)


class Watcher:
    """One thread for the whole server, while anybody listens."""

    def __init__(self, last_change_seq: Callable[[], int], *, seconds: float) -> None:
        self._last_change_seq = last_change_seq
        self._seconds = seconds
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self.change_seq = 0

    @property
    def closed(self) -> bool:
        """Whether the server ends."""
        return self._ended.is_set()

    def join(self, listener: Listener) -> bool:
        """Listen from now on; False when too many do."""
        with self._lock:
            if len(self._listeners) >= MOST_LISTENERS or self.closed:
                return False
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="imagegen-watcher", daemon=True
                )
                self._thread.start()
        return True

    def leave(self, listener: Listener) -> None:
        """Listen no more."""
        with self._lock:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream."""
        self._ended.set()
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.wake()

    def _watch(self) -> None:
        failing = False
        while not self._ended.is_set():
            with self._lock:
                listeners = list(self._listeners)
                if not listeners:
                    self._thread = None
                    return
            try:
                change_seq, failing = self._last_change_seq(), False
            except ImagegenError as error:
                if not failing:
                    _log.warning("The gallery cannot see what changes: %s", error.sentence)
                change_seq, failing = self.change_seq, True
            if change_seq != self.change_seq:
                self.change_seq = change_seq
                for listener in listeners:
                    listener.wake()
            self._ended.wait(self._seconds)


router = APIRouter()
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A stream that does not end by itself. `event: changed` with "
        '`data: {"change_seq": N}` whenever anything in the gallery has changed.',
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/api/events",
    responses=_STREAM,
    response_class=StreamingResponse,
    summary="Hear of changes as they happen (server-sent events).",
)
async def events(request: Request) -> Response:
    """One `changed` event at once, then one whenever the ledger has changed."""
    watcher: Watcher = request.app.state.gallery.watcher
    listener = Listener()
    if not watcher.join(listener):
        return failure(
            429, "Too many pages listen already. Close some.", headers={"retry-after": "30"}
        )
    return StreamingResponse(
        _events(watcher, listener),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _events(watcher: Watcher, listener: Listener) -> AsyncIterator[bytes]:
    told = -1
    try:
        yield b"retry: 3000\n\n"
        while not watcher.closed:
            listener.woken.clear()
            if watcher.change_seq != told:
                told = watcher.change_seq
                yield f"event: changed\ndata: {json.dumps({'change_seq': told})}\n\n".encode()
            try:
                await asyncio.wait_for(listener.woken.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
    finally:
        watcher.leave(listener)
