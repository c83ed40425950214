"""What the ledger's own steps take, with 10,000 to 1,000,000 attempts in it.

Each size is a ledger of its own in a temporary folder (1.3 GB for a million), of a year's attempts,
four of five at an item of its own, and is measured in a process of its own. A read is repeated for
items from all of the ledger and its median given; an attempt's writes are the three transactions
that every picture costs (a lease's two are not in it), each flushed to disk. The table of results
is brought up to date after ten verdicts, on the newest pictures and on ones from all of the
ledger. Nothing is asked of a service.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from sqlalchemy import create_engine, insert

from benchmarks.figures import Figure, Result, Series, run_script
from benchmarks.scratch import ROOT
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt
from imagegen_pipeline.domain.requests import Attempt
from imagegen_pipeline.ledger import Filter, Ledger, Verdict
from imagegen_pipeline.ledger.admission import AdmissionRules
from imagegen_pipeline.ledger.attempts import NewAttempt
from imagegen_pipeline.ledger.schema import attempts, items
from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.settings import Settings

SIZES = (10_000, 100_000, 1_000_000)
QUICK = (200, 400, 800)
CHANGES = 10
READS, ATTEMPTS = 200, 100
FIRST_REFRESH = "results written in full"
REFRESHES = {
    "full": FIRST_REFRESH,
    "nothing": "results, nothing new",
    "newest": "results, ten newest changed",
    "scattered": "results, ten scattered changed",
    "plots": "results, nothing new, with plots",
}
FLAT = (
    *("open an item", "an attempt's writes"),
    *(REFRESHES["nothing"], REFRESHES["newest"]),
)
MOST_GROWTH = 2.0
"""What is called flat: at most so many times as long, with a hundred times the attempts."""
SHORT = 100.0
"""Milliseconds: what is slower than so has a plot of its own."""
_CHUNK = 20_000
_YEAR = 365 * 86_400
_MODELS = {
    "duomi": ("stabilityai/stable-diffusion-xl-base-1.0", "black-forest-labs/FLUX.1-dev"),
    "runpod": ("flux1-dev-fp8",),
}
_WORDS = ("harbour", "dusk", "lantern", "misty", "cliff", "orchard", "violet", "storm", "fjord")
Milliseconds = dict[str, float]
T = TypeVar("T")


def measure(quick: bool) -> Figure:
    """Milliseconds of each step at three sizes."""
    sizes = QUICK if quick else SIZES
    found = {size: measure_size(size) for size in sizes}
    smallest, largest = min(sizes), max(sizes)
    first, last = found[smallest], found[largest]
    figure = Figure(
        "ledger", "Ledger", f"{largest:,} attempts in SQLite; each size in a process of its own."
    )
    figure.results = [
        Result(name, ms, "ms", detail=f"of {largest:,}; {first[name]:.3g} ms of {smallest:,}")
        for name, ms in last.items()
        if name != "MB"
    ]
    growth = f"{largest:,} beside {smallest:,}"
    figure.results += [
        Result(f"growth: {name}", last[name] / first[name], goal=MOST_GROWTH, detail=growth)
        for name in FLAT
    ]
    figure.results.append(Result("memory of a refresh", last["MB"], "MB"))
    flat = [name for name in last if name not in (*REFRESHES.values(), "MB")]
    figure.series = [
        _series("A step of the ledger", found, [name for name in flat if last[name] < SHORT]),
        _series("Slower steps", found, [name for name in flat if last[name] >= SHORT]),
        _series("The table of results, brought up to date", found, list(REFRESHES.values())[1:]),
        _series("The table of results, written in full", found, [FIRST_REFRESH]),
    ]
    figure.series = [one for one in figure.series if one.lines]
    figure.notes = [
        f"Reads are the median of {READS}, attempts of {ATTEMPTS}; unfinished ones, a page of the "
        "gallery and its totals of 20.",
        "A refresh is once, in a process of its own; `newest` and `scattered` name the pictures "
        "that had the ten verdicts.",
        "As flat counts what takes at most twice as long with a hundred times the attempts.",
    ]
    return figure


def _series(title: str, found: dict[int, Milliseconds], names: list[str]) -> Series:
    lines = {name: [(float(size), one[name]) for size, one in found.items()] for name in names}
    return Series(title, "attempts in the ledger", "ms", lines)


def measure_size(size: int) -> Milliseconds:
    """All steps with so many attempts; ``MB`` is the most memory that a refresh took."""
    with tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as temporary:
        folder = Path(temporary)
        _tell(size, "the ledger is filled")
        make_ledger(url_of(folder), size)
        found: Milliseconds = {}
        for name, label in REFRESHES.items():
            _tell(size, label)
            one = in_a_process(folder, size, name)
            found["MB"] = max(found.get("MB", 0.0), one.pop("MB"))
            found[label] = one["ms"]
        _tell(size, "items and attempts")
        return {**in_a_process(folder, size, "repositories"), **found}


def _tell(size: int, words: str) -> None:
    print(f"{size:,}: {words}", file=sys.stderr, flush=True)


def make_ledger(url: str, count: int) -> None:
    """A year of attempts, four of five at an item of its own."""
    Ledger(url).close()
    dice = random.Random(5)  # noqa: S311 - the same ledger every time
    engine = create_engine(url)
    present = -(-count * 4 // 5)
    with engine.begin() as connection:
        for rows in _chunks(_items(present, count)):
            connection.execute(insert(items), rows)
        for rows in _chunks(_attempts(count, present, dice)):
            connection.execute(insert(attempts), rows)
    engine.dispose()


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _CHUNK:
            yield part
            part = []
    if part:
        yield part


def _items(present: int, count: int) -> Iterator[dict[str, Any]]:
    for number in range(1, present + 1):
        again = number + present
        newest = again if again <= count else number
        yield {
            "key": f"db-{number}",
            "kind": "prompt",
            "source": "database",
            "container": "/data/llm_video_batch.db",
            "location": f"/data/llm_video_batch.db#{number}",
            "text": "a prompt",
            "digest": f"{number:064x}",
            "detail": {},
            **dict.fromkeys(("position", "sequence"), number),
            "revision": 1,
            **dict.fromkeys(("first_seen", "last_seen"), 0.0),
            "gone": False,
            "current_attempt": newest,
            "last_attempt": newest,
            "change_seq": number,
        }


def _attempts(count: int, present: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    began = time.time() - _YEAR
    for number in range(1, count + 1):
        provider = "runpod" if number % 9 == 0 else "duomi"
        model = dice.choice(_MODELS[provider])
        planned = began + _YEAR * number / count
        seconds = dice.lognormvariate(2.2 if provider == "duomi" else 3.6, 0.5)
        stored = dice.random() < 0.95
        prompt = " ".join(dice.choices(_WORDS, k=60))
        yield {
            "id": number,
            "item_key": f"db-{(number - 1) % present + 1}",
            "kind": "actor" if provider == "runpod" else "prompt",
            "provider": provider,
            "model": model,
            **dict.fromkeys(("fingerprint", "sent_fingerprint"), f"{number:064x}"),
            "request": {"prompt": prompt, "steps": 20, "guidance": 7.5, "negative_prompt": ""},
            "seed": "51515151",
            "state": "stored" if stored else "failed",
            "intent": f"run-{number // 500}",
            "regenerate": False,
            "simulated": True,
            "created_at": planned,
            "submitted_at": planned + 0.1,
            "finished_at": planned + seconds,
            "folder": "generated_images",
            "file_stem": f"db_{number}",
            "path": f"generated_images/db_{number}.png" if stored else None,
            "digest": f"{number:064x}" if stored else None,
            "width": 1080 if stored else None,
            "height": 1920 if stored else None,
            "cost": 0.012 if number % 3 else None,
            "run_seconds": seconds * 0.8,
            "error_kind": None if stored else "job_failed",
            "error": None if stored else "The job failed.",
            "warnings": [],
            "possible_double_charge": False,
            "reported": True,
        }


def change(ledger: Ledger, count: int, *, scattered: bool) -> None:
    """Ten verdicts: on the newest pictures, or on pictures from all of the ledger."""
    step = count // CHANGES if scattered else 1
    wanted = range(count, 0, -1) if not scattered else range(step // 2 + 1, count, step)
    changed = 0
    for number in wanted:
        (attempt,) = ledger.attempts.get([number])
        if attempt.state == "stored":
            verdict = Verdict.REJECTED if attempt.verdict == "approved" else Verdict.APPROVED
            changed += ledger.reviews.decide([number], verdict)
        if changed == CHANGES:
            return


def measure_repositories(pipeline: Pipeline, count: int) -> Milliseconds:
    """The ledger's steps: those that a picture, a page and a start of the program rest on."""
    ledger = pipeline.ledger
    dice = random.Random(7)  # noqa: S311 - the same items every time
    present = -(-count * 4 // 5)

    def some_key() -> str:
        return f"db-{dice.randint(1, present)}"

    attempts = [attempt_writes(pipeline, some_key()) for _ in range(min(ATTEMPTS, count // 10))]
    return {
        FLAT[0]: repeated(READS, lambda: ledger.items.get([some_key()])),
        "its current attempt": repeated(READS, lambda: ledger.attempts.current(some_key())),
        "its open attempts": repeated(READS, lambda: ledger.attempts.open(some_key())),
        "write a submit": median(one[0] for one in attempts),
        FLAT[1]: median(sum(one) for one in attempts),
        "unfinished": repeated(20, ledger.attempts.unfinished),
        "a page of the gallery": repeated(20, lambda: ledger.gallery.cards(Filter())),
        "the gallery's totals": repeated(20, ledger.gallery.totals),
    }


def repeated(times: int, piece: Callable[[], object]) -> float:
    """The median of its milliseconds, after once that counts for nothing."""
    return median([milliseconds(piece) for _ in range(times + 1)][1:])


def milliseconds(piece: Callable[[], object]) -> float:
    """What it takes."""
    began = time.perf_counter()
    piece()
    return 1e3 * (time.perf_counter() - began)


def attempt_writes(pipeline: Pipeline, key: str) -> list[float]:
    """An attempt from its sending to its picture, as the engine writes it; ms of each step."""
    ledger, attempts = pipeline.ledger, pipeline.ledger.attempts
    source_item = ledger.items.get([key])[key].source_item
    assert isinstance(source_item, Prompt)
    request = PromptParameters().request(source_item)
    plan = NewAttempt(
        item_key=key,
        kind="prompt",
        request=request,
        asked_fingerprint=request.fingerprint,
        seed=request.seed,
        intent="benchmark",
        regenerate=True,
        folder="generated_images",
        file_stem=f"{key}_benchmark",
        simulated=True,
    )
    lease = ledger.leases.acquire([key], "benchmark")
    assert lease is not None
    terms = AdmissionRules(lease)
    sent, took = _timed(lambda: attempts.start(plan, terms, on_disk=lambda _folder, _stem: False))
    assert isinstance(sent, Attempt)
    seconds = [took]
    done, took = _timed(lambda: attempts.completed(sent))
    seconds.append(took)
    facts: dict[str, Any] = {
        "path": f"generated_images/{key}_benchmark_{sent.id}.png",
        "digest": f"{sent.id:064x}",
    }
    facts |= {"width": 1080, "height": 1920, "bytes": 3_000_000, "cost": 0.0025, "warnings": []}
    _, took = _timed(lambda: attempts.stored(done, **facts))
    ledger.leases.release(lease.owner)
    return [*seconds, took]


def _timed(piece: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    result = piece()
    return result, 1e3 * (time.perf_counter() - began)


def refresh(pipeline: Pipeline, count: int, name: str) -> Milliseconds:
    """Bring the table of results up to date, after ten changes if the step's name asks for them."""
    import pyarrow.parquet  # noqa: F401 - an import is not what is measured

    from imagegen_pipeline.dagster_ext.results_metadata import refresh_results
    from imagegen_pipeline.results.dataset import refresh_dataset
    from imagegen_pipeline.results.statistics import read_statistics

    if name in ("newest", "scattered"):
        change(pipeline.ledger, count, scattered=name == "scattered")
    if name == "plots":
        took = milliseconds(lambda: refresh_results(pipeline))
    else:
        began = time.perf_counter()
        refresh_dataset(pipeline.ledger, pipeline.results_file)
        statistics = read_statistics(pipeline.ledger, time.time())
        took = 1e3 * (time.perf_counter() - began)
        assert statistics.rows == count, statistics.rows
    return {"ms": took, "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def step(folder: Path, count: int, name: str) -> Milliseconds:
    """One step, in this process."""
    settings = Settings(base_data_dir=folder, ledger_address=url_of(folder))
    with closing(Pipeline(settings)) as pipeline:
        if name == "repositories":
            return measure_repositories(pipeline, count)
        return refresh(pipeline, count, name)


def in_a_process(folder: Path, count: int, name: str) -> Milliseconds:
    """One step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ledger", "--step", name, str(folder), str(count)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return dict(json.loads(done.stdout))


def url_of(folder: Path) -> str:
    """The ledger's address."""
    return f"sqlite:///{folder / 'imagegen.db'}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        _, _, wanted, where, attempts_there = sys.argv
        print(json.dumps(step(Path(where), int(attempts_there), wanted)))
    else:
        run_script(measure)
