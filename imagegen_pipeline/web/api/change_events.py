"""Notifies open pages of changes by server-sent events; one thread polls the ledger for all."""

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
MAX_LISTENERS = 200
KEEP_ALIVE_SECONDS = 15.0


class Listener:
    """One open page; its event is set when something changes or the server stops."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()

    def notify(self) -> None:
        """Set the event; called by the watcher's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.changed.set)


class ChangeWatcher:
    """Polls the ledger in one thread while there are listeners."""

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
        """Whether the server is stopping."""
        return self._ended.is_set()

    def subscribe(self, listener: Listener) -> bool:
        """Add a listener; False if there are too many."""
        with self._lock:
            if len(self._listeners) >= MAX_LISTENERS or self.closed:
                return False
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="imagegen-change-watcher", daemon=True
                )
                self._thread.start()
        return True

    def unsubscribe(self, listener: Listener) -> None:
        """Remove a listener."""
        with self._lock:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream."""
        self._ended.set()
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.notify()

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
                    _log.warning("The gallery cannot read changes: %s", error.sentence)
                change_seq, failing = self.change_seq, True
            if change_seq != self.change_seq:
                self.change_seq = change_seq
                for listener in listeners:
                    listener.notify()
            self._ended.wait(self._seconds)


router = APIRouter()
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An endless stream: `event: changed` with "
        '`data: {"change_seq": N}` whenever the gallery has changed.',
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/api/events",
    responses=_STREAM,
    response_class=StreamingResponse,
    summary="Changes as they happen (server-sent events).",
)
async def events(request: Request) -> Response:
    """One `changed` event at once, then one whenever the ledger has changed."""
    watcher: ChangeWatcher = request.app.state.app_state.watcher
    listener = Listener()
    if not watcher.subscribe(listener):
        return failure(429, "Too many pages are open. Close some.", headers={"retry-after": "30"})
    return StreamingResponse(
        _events(watcher, listener),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _events(watcher: ChangeWatcher, listener: Listener) -> AsyncIterator[bytes]:
    sent_seq = -1
    try:
        yield b"retry: 3000\n\n"
        while not watcher.closed:
            listener.changed.clear()
            if watcher.change_seq != sent_seq:
                sent_seq = watcher.change_seq
                yield f"event: changed\ndata: {json.dumps({'change_seq': sent_seq})}\n\n".encode()
            try:
                await asyncio.wait_for(listener.changed.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield b": still here\n\n"
    finally:
        watcher.unsubscribe(listener)
