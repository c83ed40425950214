"""Prompts, source records and plans to write into a ledger."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, event

from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import Attempt, GenerationRequest
from imagegen_pipeline.ledger import Ledger, SourceRecord
from imagegen_pipeline.ledger.admission import AdmissionRules
from imagegen_pipeline.ledger.attempts import NewAttempt

FOLDER = "/prompts"


def prompt(key: str, text: str = "a boat", **facts: Any) -> Prompt:
    """A prompt of a JSON file."""
    given = {"container": FOLDER, "location": f"{FOLDER}/{key}.json", "filename": f"{key}.json"}
    return Prompt(key=key, text=text, source="json", **{**given, **facts})


def scan(*prompts: Prompt, container: str = FOLDER, **facts: Any) -> SourceRecord:
    """A record of these prompts."""
    return SourceRecord("prompt", container, [(one, None) for one in prompts], **facts)


def problem(location: str, message: str = "It is broken.", container: str = FOLDER) -> Any:
    """Something that could not be read."""
    return SourceProblem(container, location, message, "Repair it.")


def request(text: str = "a boat", seed: int = 5) -> GenerationRequest:
    """A small request."""
    return GenerationRequest("duomi", "sdxl", text, 64, 64, 20, 7.5, seed)


def nothing_on_disk(_folder: str, _stem: str) -> bool:
    """No file has a name that the ledger does not know."""
    return False


def plan(ledger: Ledger, key: str = "a", *, taken: tuple[str, ...] = (), **facts: Any) -> Attempt:
    """A planned attempt; ``taken`` are the names of files that lie on disk already."""
    asked = facts.pop("request", request())
    shared_from = facts.pop("shared_from", None)
    given = {"seed": 5, "intent": "test", "regenerate": False, "folder": "pictures"}
    given |= {"file_stem": "boat", "simulated": True}
    whole = NewAttempt(
        item_key=key,
        kind="prompt",
        request=asked,
        asked_fingerprint=asked.fingerprint,
        **{**given, **facts},
    )
    return ledger.attempts.plan(
        whole, on_disk=lambda _folder, stem: stem in taken, shared_from=shared_from
    )


def submitting(ledger: Ledger, attempt: Attempt, **terms: Any) -> Attempt:
    """Say that a request is about to leave, as a process of its own that ends at once."""
    name = uuid.uuid4().hex
    lease = ledger.leases.acquire([f"item:{attempt.item_key} {name}"], f"process {name}")
    assert lease is not None
    moved = ledger.attempts.start(attempt, AdmissionRules(lease, **terms), on_disk=nothing_on_disk)
    ledger.leases.release(lease.owner)
    assert isinstance(moved, Attempt), moved
    return moved


def store(ledger: Ledger, attempt: Attempt, digest: str = "0" * 64) -> Attempt:
    """Bring a planned attempt to its stored picture."""
    gallery = ledger.attempts
    gallery.completed(submitting(ledger, attempt), result_url="https://x.example/y.png", cost=0.5)
    return gallery.stored(
        attempt, path=f"pictures/{attempt.file_stem}.png", digest=digest, warnings=[]
    )


def read_whole(asking: Callable[[], object]) -> list[str]:
    """Where SQLite goes through all attempts or items to answer what is asked."""
    found: list[str] = []

    def explain(
        connection: Connection, _cursor: Any, statement: str, values: Any, *_more: Any
    ) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            cursor = connection.connection.cursor()
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            steps = [step for *_, step in cursor.fetchall()]
            found.extend(step for step in steps if step.startswith(("SCAN attempts", "SCAN items")))

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        asking()
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    return found
