"""Open pages hear of changes; listening costs little and ends with the page and the server."""

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
    """What a page hears while the block runs."""
    heard: list[dict[str, int]] = []
    answer = requests.get(f"{server.url}/api/events", stream=True, timeout=30)
    assert answer.headers["content-type"].startswith("text/event-stream")

    def hear() -> None:
        try:
            lines = (line for line in answer.iter_lines() if line.startswith(b"data: "))
            for line in lines:
                heard.append(json.loads(line[6:]))  # noqa: PERF401 - heard one by one
        except (requests.RequestException, AttributeError):
            return  # the test has closed it

    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        answer.close()
        thread.join(10)


def test_a_page_hears_of_a_change_within_a_second(server: Served) -> None:
    """One event at once, and one after each change, with a number that grows."""
    with listening(server) as heard:
        until(lambda: heard)
        before = heard[-1]["change_seq"]
        server.make()
        until(lambda: heard[-1]["change_seq"] > before, seconds=5)
    assert [one["change_seq"] for one in heard] == sorted(one["change_seq"] for one in heard)


def test_one_thread_watches_for_all_pages_and_ends_with_them(server: Served) -> None:
    """Many pages, one look at the ledger; when the last has gone, nobody looks any more."""

    def watchers() -> int:
        return sum(thread.name == "imagegen-change-watcher" for thread in threading.enumerate())

    assert watchers() == 0
    with listening(server), listening(server), listening(server) as heard:
        until(lambda: heard)
        assert watchers() == 1
    until(lambda: watchers() == 0)


def test_too_many_pages_are_told_so(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with Retry-After past the limit; a page that closes makes room."""
    monkeypatch.setattr(change_events, "MAX_LISTENERS", 1)
    with listening(server) as heard:
        until(lambda: heard)
        refused = server.get("/api/events")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
    until(lambda: requests.get(f"{server.url}/api/events", stream=True, timeout=5).ok)


def test_a_silent_stream_is_kept_alive(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment now and then, so that nothing between takes the stream for dead."""
    monkeypatch.setattr(change_events, "KEEP_ALIVE_SECONDS", 0.1)
    with requests.get(f"{server.url}/api/events", stream=True, timeout=10) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(b":")) == b": still here"


def test_a_server_with_listeners_stops(serve: Serve) -> None:
    """The server ends the streams; it does not wait for the pages to close them."""
    server = serve()
    with listening(server) as heard:
        until(lambda: heard)
        server.stop()
        assert "gallery" not in [thread.name for thread in threading.enumerate()]
