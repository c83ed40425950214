"""How long the table of results takes: written anew, and brought up to date after ten changes.

    python benchmarks/results_refresh.py 1000 100000 1000000

Makes a ledger of each size in a temporary folder (about 1.3 GB for a million attempts), measures
each step in a process of its own, and prints a table in Markdown. Nothing is asked of a service.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert

from imagegen_pipeline.ledger import Ledger, Verdict
from imagegen_pipeline.ledger.schema import attempts, items

SIZES = (1_000, 100_000, 1_000_000)
CHANGES = 10
_CHUNK = 20_000
_YEAR = 365 * 86_400
_MODELS = {
    "duomi": ("stabilityai/stable-diffusion-xl-base-1.0", "black-forest-labs/FLUX.1-dev"),
    "runpod": ("flux1-dev-fp8",),
}
_WORDS = ("harbour", "dusk", "lantern", "misty", "cliff", "orchard", "violet", "storm", "fjord")


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
            "touched": number,
        }


def _attempts(count: int, present: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    began = time.time() - _YEAR
    for number in range(1, count + 1):
        service = "runpod" if number % 9 == 0 else "duomi"
        model = dice.choice(_MODELS[service])
        planned = began + _YEAR * number / count
        seconds = dice.lognormvariate(2.2 if service == "duomi" else 3.6, 0.5)
        stored = dice.random() < 0.95
        prompt = " ".join(dice.choices(_WORDS, k=60))
        yield {
            "id": number,
            "item_key": f"db-{(number - 1) % present + 1}",
            "service": service,
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


def step(name: str, folder: Path, count: int) -> dict[str, float]:
    """One measured step, in this process: seconds, and the most memory so far in MB."""
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.results import refresh_results
    from imagegen_pipeline.settings import Settings

    settings = Settings(base_data_dir=folder, ledger_address=url_of(folder))
    pipeline = Pipeline(settings)
    if name in ("newest", "scattered"):
        change(pipeline.ledger, count, scattered=name == "scattered")
    began = time.perf_counter()
    if name == "plots":
        from imagegen_pipeline.defs.results_metadata import refresh_results as with_plots

        began = time.perf_counter()
        with_plots(pipeline)
    else:
        statistics = refresh_results(pipeline.ledger, pipeline.results_file)
        assert statistics.rows == count, statistics.rows
    seconds = time.perf_counter() - began
    pipeline.close()
    return {"s": seconds, "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def url_of(folder: Path) -> str:
    """The ledger's address."""
    return f"sqlite:///{folder / 'imagegen.db'}"


def measure(folder: Path, count: int, name: str) -> dict[str, float]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, str(count), "--step", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--step")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step(given.step, given.folder, given.sizes[0])))
        return
    steps = ("anew", "nothing", "newest", "scattered", "plots")
    heads = ("attempts", "written anew", "nothing new", "ten newest changed")
    heads += ("ten scattered changed", "nothing new, with plots", "files")
    print(f"| {' | '.join(heads)} |\n|{' ---: |' * len(heads)}", flush=True)
    for count in given.sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            make_ledger(url_of(folder), count)
            cells = [measure(folder, count, name) for name in steps]
            files = sum(file.stat().st_size for file in folder.glob("*.parquet/*")) / 2**20
            told = [f"{cell['s']:.2f} s, {cell['MB']:.0f} MB" for cell in cells]
            print(f"| {count:,} | {' | '.join(told)} | {files:.1f} MB |", flush=True)


if __name__ == "__main__":
    main()
