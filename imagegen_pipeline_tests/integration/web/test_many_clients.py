"""Two hundred concurrent clients are answered, and slow ones delay no others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import requests

from imagegen_pipeline_tests.conftest import until
from imagegen_pipeline_tests.integration.web.conftest import ACTOR, PARAMS, Serve, Served
from imagegen_pipeline_tests.integration.web.test_job_routes import PATH, ended, generate, typed

CLIENTS = 200


def test_two_hundred_clients_at_once(server: Served) -> None:
    """Each reads cards, figures, a picture and its thumbnail; every answer is right."""
    server.make()
    (made,) = server.pipeline.ledger.gallery.history(ACTOR)
    paths = (
        "/api/pictures",
        "/api/totals",
        f"/pictures/{made.id}",
        f"/thumbnails/{made.id}.webp",
        "/",
    )

    def browse(number: int) -> list[int]:
        with requests.Session() as session:
            turn = number % len(paths)
            order = (*paths[turn:], *paths[:turn])
            return [session.get(server.url + path, timeout=60).status_code for path in order]

    with ThreadPoolExecutor(CLIENTS) as pool:
        codes = [code for found in pool.map(browse, range(CLIENTS)) for code in found]
    assert set(codes) == {200}
    assert len(codes) == CLIENTS * len(paths)


def test_waiting_clients_delay_no_others(serve_unfinished: Serve) -> None:
    """A hundred waiting POSTs hold no thread: another client is answered before any of them."""
    server = serve_unfinished()
    with ThreadPoolExecutor(100) as pool:
        waiting = [
            pool.submit(
                requests.post, server.url + PATH, json={**PARAMS, "actorName": f"a{n}"}, timeout=120
            )
            for n in range(100)
        ]
        until(lambda: server.running.app_state.job_manager.waiting_items > 50)
        assert server.get("/api/totals").ok
        assert not any(future.done() for future in waiting)
        threads = [t for t in threading.enumerate() if t.name.startswith("imagegen-job")]
        assert len(threads) <= server.pipeline.settings.concurrency
        server.running.stop()
        codes = {future.result().status_code for future in waiting}
    assert codes == {502}  # left to the next server


def test_clients_that_do_not_read_delay_no_others(server: Served) -> None:
    """While 45 clients leave their downloads unread, others get theirs."""
    keys = typed(server, 4)
    generate(server, "click-000001", keys, overrides={"width": 1024, "height": 1024})
    ended(server, "click-000001")
    made = [server.pipeline.ledger.gallery.history(key)[0].id for key in keys]
    href = server.post("/api/downloads", {"attempts": made}).json()["href"]
    unread = [requests.get(server.url + href, stream=True, timeout=30) for _ in range(45)]
    try:
        assert server.get("/api/totals").ok
        assert len(server.get(href).content) > 100_000
    finally:
        for answer in unread:
            answer.close()
