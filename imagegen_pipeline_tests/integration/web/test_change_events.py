"""Server-sent events: open pages are notified of changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from imagegen_pipeline.web.api import change_events
from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.integration.web.conftest import Serve, Served


@contextmanager
def listening(server: Served) -> Iterator[list[dict[str, int]]]:
    """The events that a page receives while the block runs."""
    received: list[dict[str, int]] = []
    answer = requests.get(f"{server.url}/api/events", stream=True, timeout=30)
    assert answer.headers["content-type"].startswith("text/event-stream")

    def receive() -> None:
        try:
            lines = (line for line in answer.iter_lines() if line.startswith(b"data: "))
            for line in lines:
                received.append(json.loads(line[6:]))  # noqa: PERF401 - received one by one
        except (requests.RequestException, AttributeError):
            return  # the test has closed it

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        answer.close()
        thread.join(10)


def test_a_page_is_notified_of_a_change(server: Served) -> None:
    """One event at once, and one after each change, with a number that grows."""
    with listening(server) as received:
        until(lambda: received)
        before = received[-1]["change_seq"]
        server.make()
        until(lambda: received[-1]["change_seq"] > before, seconds=5)
    assert [one["change_seq"] for one in received] == sorted(one["change_seq"] for one in received)


def test_one_thread_polls_for_all_pages(server: Served) -> None:
    """All pages share one polling thread, which ends with the last page."""

    def watchers() -> int:
        return sum(thread.name == "imagegen-change-watcher" for thread in threading.enumerate())

    assert watchers() == 0
    with listening(server), listening(server), listening(server) as received:
        until(lambda: received)
        assert watchers() == 1
    until(lambda: watchers() == 0)


def test_too_many_pages_are_refused(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with Retry-After past the limit; a page that closes makes room."""
    monkeypatch.setattr(change_events, "MAX_LISTENERS", 1)
    with listening(server) as received:
        until(lambda: received)
        refused = server.get("/api/events")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
    until(lambda: requests.get(f"{server.url}/api/events", stream=True, timeout=5).ok)


def test_a_silent_stream_is_kept_alive(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment is sent regularly, so that proxies keep the stream open."""
    monkeypatch.setattr(change_events, "KEEP_ALIVE_SECONDS", 0.1)
    with requests.get(f"{server.url}/api/events", stream=True, timeout=10) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(b":")) == b": still here"


def test_a_server_with_listeners_stops(serve: Serve) -> None:
    """The server ends the streams; it does not wait for the pages to close them."""
    server = serve()
    with listening(server) as received:
        until(lambda: received)
        server.stop()
        assert "gallery" not in [thread.name for thread in threading.enumerate()]
