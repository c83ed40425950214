"""Fills a project's ledger and store with pictures in every state, as if it had been used."""

from __future__ import annotations

import itertools
import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import insert, select, update

from imagegen_pipeline.domain.actors import Actor
from imagegen_pipeline.domain.errors import JobFailedError, OutcomeUnknownError, RequestRefusedError
from imagegen_pipeline.domain.parameters import DEFAULT_MODEL, PromptParameters
from imagegen_pipeline.domain.partition_keys import database_key, json_key
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Attempt, GenerationRequest
from imagegen_pipeline.ledger import Filter, SourceRecord, Verdict
from imagegen_pipeline.ledger.admission import AdmissionRules
from imagegen_pipeline.ledger.attempts import NewAttempt
from imagegen_pipeline.ledger.schema import attempts, items
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.storage.pictures import StoredPicture
from imagegen_pipeline_tests.conftest import SHARED
from imagegen_pipeline_tests.integration.web.drawing import landscape, portrait

MOST_BY_API = 300
"""More are copies of these: each of the ledger's own steps is flushed to the disk."""
MOST_FILES = 48
_STATES = ("done",) * 22 + ("approved",) * 9 + ("rejected",) * 2 + ("failed", "waiting", "waiting")
_FIRST = ("running", "done", "failed", "held", "approved", "rejected", "waiting", "done")
_MODELS = (DEFAULT_MODEL, DEFAULT_MODEL, "black-forest-labs/flux-schnell")
_SCENES = ("a lighthouse on a cliff", "a night market", "an orchard in bloom", "a fjord")
_LIGHTS = ("at dawn, soft mist", "under a violet storm", "in winter sun", "lit by lanterns")
_PEOPLE = (
    "25-year-old European man with short brown hair, a grey jumper and dark trousers",
    "34-year-old East Asian woman with long black hair in a linen shirt",
    "61-year-old West African man with a grey beard and a blue jacket",
    "19-year-old Latina woman with curly hair, denim jacket",
    "45-year-old South Asian woman with a green scarf and boots",
)
_SEED = 51515151


@dataclass(frozen=True)
class _Files:
    """The picture files that all items share, by kind."""

    scenes: list[StoredPicture]
    people: list[StoredPicture]

    def of(self, source_item: Prompt | Actor, number: int) -> StoredPicture:
        files = self.people if isinstance(source_item, Actor) else self.scenes
        return files[number % len(files)]


@dataclass(frozen=True)
class _Turn:
    """What one item is made from: its number, the dice, and whether it is small."""

    number: int
    dice: random.Random
    small: bool


def seed(pipeline: Pipeline, pictures: int, *, small: bool = False) -> list[str]:
    """Fill the ledger with so many items, and return their keys, as the gallery orders them.

    ``small``: quickly, for a test: few different pictures, and what a simulator is asked for
    later is small.
    """
    dice = random.Random(7)  # noqa: S311 - the same gallery every time
    by_api = min(pictures, 24 if small else MOST_BY_API)
    source_items = _source_items(pipeline, by_api)
    prompts = tuple(source_item for source_item in source_items if isinstance(source_item, Prompt))
    actors = tuple(source_item for source_item in source_items if isinstance(source_item, Actor))
    folder = str(pipeline.settings.prompt_json_dir)
    pipeline.ledger.items.record(SourceRecord("prompt", folder, [(p, None) for p in prompts]))
    roster = str(pipeline.settings.actors_dir)
    pipeline.ledger.items.record(SourceRecord("actor", roster, [(a, None) for a in actors]))
    files = _files(pipeline, min(6 if small else MOST_FILES, max(4, by_api)))
    states = [*_FIRST, *(dice.choice(_STATES) for _ in range(by_api))][:by_api]
    # The first are the newest: made last.
    for number, (source_item, state) in enumerate(
        zip(source_items[::-1], states[::-1], strict=True)
    ):
        _give(pipeline, source_item, state, files, _Turn(number, dice, small))
    _spread_over_time(pipeline)
    if pictures > by_api:
        _multiply(pipeline, pictures)
    return [key for key, _ in pipeline.ledger.gallery.marked(Filter())]


def _source_items(pipeline: Pipeline, count: int) -> list[Prompt | Actor]:
    """Prompts, and an actor now and then."""
    texts = _texts()
    found: list[Prompt | Actor] = []
    for number in range(count):
        if number % 6 == 3:
            found.append(_actor(pipeline, number // 6))
        else:
            stem, text = next(texts)
            found.append(_prompt(pipeline, number, stem, text))
    return found


def _prompt(pipeline: Pipeline, number: int, stem: str, text: str) -> Prompt:
    if number % 3 == 1:
        place = str(pipeline.settings.prompt_db)
        where = {"container": place, "location": f"{place}#{900 + number}", "row_id": 900 + number}
        return Prompt(key=database_key(900 + number), text=text, source="database", **where)
    folder = pipeline.settings.prompt_json_dir
    where = {"container": str(folder), "location": str(folder / f"{stem}.json")}
    return Prompt(key=json_key(stem), text=text, source="json", filename=f"{stem}.json", **where)


def _actor(pipeline: Pipeline, number: int) -> Actor:
    text = _PEOPLE[number % len(_PEOPLE)]
    folder = pipeline.settings.actors_dir
    name = f"{100 + number:04d}_{'_'.join(text.split()[1:3]).lower()}"
    where = {"container": str(folder), "location": str(folder / name / "actor.json")}
    return Actor(name=name, description=text, **where)


def _texts() -> Iterator[tuple[str, str]]:
    """File stems with their prompts: real ones where there are some, then made up ones."""
    for file in sorted((SHARED / "data" / "prompt_json").glob("*.json")):
        text = json.loads(file.read_text("utf-8")).get("image_prompt")
        if isinstance(text, str) and len(text) > 40 and not text.startswith("Here"):
            yield file.stem, text.replace("**", "").removeprefix("Prompt:").strip()
    for number in itertools.count():
        text = f"{_SCENES[number % 4]} {_LIGHTS[number // 4 % 4]}, wide angle, film grain"
        yield f"scene_{number}", text[:1].upper() + text[1:]


def _files(pipeline: Pipeline, count: int) -> _Files:
    store, folder = pipeline.store, pipeline.store.relative(pipeline.settings.output_dir)
    people = max(2, count // 5)
    return _Files(
        [store.keep(landscape(n), folder, f"scene_{n}", {}) for n in range(count - people)],
        [store.keep(portrait(n), folder, f"person_{n}", {}) for n in range(people)],
    )


def _request(pipeline: Pipeline, source_item: Prompt | Actor, turn: _Turn) -> GenerationRequest:
    if isinstance(source_item, Actor):
        asked = pipeline.base_image_request(source_item)
        return replace(asked, width=64, height=96) if turn.small else asked
    size = "64x64" if turn.small else "1080x1920"
    steps = (20, 20, 28, 35)[turn.number % 4]
    model = _MODELS[turn.number % 3]
    return PromptParameters(model=model, steps=steps, image_size=size).request(source_item)


def _give(
    pipeline: Pipeline, source_item: Prompt | Actor, state: str, files: _Files, turn: _Turn
) -> None:
    """Bring an item to a state, some of them by way of an older picture."""
    if state == "waiting":
        return
    number, dice = turn.number, turn.dice
    if number % 7 == 2 or (state in ("failed", "running") and number % 2):
        _store(
            pipeline, _sent(pipeline, source_item, turn), files.of(source_item, number + 5), dice
        )
    attempt = _sent(pipeline, source_item, turn)
    card_store = pipeline.ledger.attempts
    if state == "running":
        card_store.submitted(attempt, job_id=f"job-{attempt.id}", endpoint="simulated-endpoint")
    elif state == "failed":
        card_store.failed(attempt, _failure(number))
    elif state == "held":
        card_store.unknown(attempt, OutcomeUnknownError("No answer came within 120 s."))
        card_store.held(
            card_store.get([attempt.id])[0],
            error="No answer came within 120 s: the picture may have been made and billed.",
            remedy="Look at the service's list of jobs, then send it again or give it up.",
        )
    else:
        _store(pipeline, attempt, files.of(source_item, number), dice)
        if state != "done":
            pipeline.ledger.reviews.decide([attempt.id], Verdict(state))


def _failure(number: int) -> Exception:
    if number % 2:
        return RequestRefusedError(
            "Duomi refused the prompt: its filter calls it unsafe.", remedy="Change the text."
        )
    return JobFailedError("CUDA ran out of memory on the worker.", job_id="sim-17")


def _sent(pipeline: Pipeline, source_item: Prompt | Actor, turn: _Turn) -> Attempt:
    """An attempt that has left."""
    dice, request = turn.dice, _request(pipeline, source_item, turn)
    again = bool(pipeline.ledger.gallery.history(source_item.key))
    seed_used = dice.randrange(2**32) if again or request.seed < 0 else _SEED
    intent = str(uuid.UUID(int=dice.getrandbits(128))) if turn.number % 3 else "command-4f1c"
    attempt = pipeline.ledger.attempts.plan(
        NewAttempt(
            item_key=source_item.key,
            kind="actor" if isinstance(source_item, Actor) else "prompt",
            request=request,
            asked_fingerprint=request.fingerprint,
            seed=seed_used,
            intent=intent,
            regenerate=again,
            folder=pipeline.store.relative(pipeline.settings.output_dir),
            file_stem=f"{source_item.key}_20261121",
            simulated=pipeline.settings.simulator,
        ),
        on_disk=lambda _folder, _stem: False,
    )
    lease = pipeline.ledger.leases.acquire([f"seeding {attempt.id}"], "seeding")
    assert lease is not None
    moved = pipeline.ledger.attempts.start(
        attempt, AdmissionRules(lease), on_disk=lambda _folder, _stem: False
    )
    pipeline.ledger.leases.release(lease.owner)
    assert isinstance(moved, Attempt)
    return moved


def _store(
    pipeline: Pipeline, attempt: Attempt, picture: StoredPicture, dice: random.Random
) -> None:
    runpod = attempt.provider == "runpod"
    run_seconds = dice.uniform(8, 24) if runpod else dice.uniform(2, 6)
    cost = round(run_seconds * 0.00044, 4) if runpod else 0.0025
    pipeline.ledger.attempts.stored(
        attempt,
        path=picture.path,
        digest=picture.digest,
        width=attempt.request["width"],
        height=attempt.request["height"],
        bytes=picture.bytes,
        cost=cost,
        run_seconds=run_seconds,
        warnings=[],
    )


def _spread_over_time(pipeline: Pipeline) -> None:
    """Make it days of work: the one thing that cannot be told to the ledger is another time."""
    with pipeline.ledger._database.write() as connection:
        found = connection.execute(select(attempts.c.id).order_by(attempts.c.id.desc())).scalars()
        moment = time.time()
        for attempt_id in list(found):
            times = {"created_at": moment - 9, "submitted_at": moment - 8}
            row = update(attempts).where(attempts.c.id == attempt_id)
            connection.execute(row.values(**times))
            connection.execute(
                row.where(attempts.c.finished_at.is_not(None)).values(finished_at=moment)
            )
            moment -= 60 + (attempt_id * 7919 % 1700)


def _multiply(pipeline: Pipeline, pictures: int) -> None:
    """Copies of what is there, under keys and names of their own, until there are so many."""
    with pipeline.ledger._database.write() as connection:
        known = [dict(row._mapping) for row in connection.execute(select(items))]
        tries = [dict(row._mapping) for row in connection.execute(select(attempts))]
        by_item: dict[str, list[dict[str, object]]] = {}
        for row in tries:
            by_item.setdefault(str(row["item_key"]), []).append(row)
        next_id, more_items, more_attempts = max(row["id"] for row in tries) + 1, [], []
        for number in range(pictures - len(known)):
            item = dict(known[number % len(known)])
            old_key, item["key"] = item["key"], f"{item['key'][:150]}-{number // len(known) + 2}"
            item["position"] = item["sequence"] = item["change_seq"] = len(known) + number + 1
            for old in by_item.get(old_key, []):
                copy = {**old, "id": next_id, "item_key": item["key"]}
                copy["file_stem"] = f"{old['file_stem']}-{number}"
                for name in ("current_attempt", "last_attempt"):
                    item[name] = next_id if item[name] == old["id"] else item[name]
                more_attempts.append(copy)
                next_id += 1
            more_items.append(item)
        connection.execute(insert(items), more_items)
        connection.execute(insert(attempts), more_attempts)
