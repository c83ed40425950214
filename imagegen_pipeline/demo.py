"""A demonstration on the local simulator with the project's sample data: ``make demo``.

Runs the usual commands, each in its own process, and prints their results. It costs nothing. A
second run reuses all images.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import requests

from imagegen_pipeline.pipeline import Pipeline
from imagegen_pipeline.results.dataset import refresh_dataset
from imagegen_pipeline.results.statistics import read_statistics
from imagegen_pipeline.settings import load_settings

BIN = Path(sys.executable).parent
DAGSTER = ("dagster", "asset", "materialize", "-m", "imagegen_pipeline.definitions")


def main() -> int:
    """Run the demo; returns the exit code."""
    os.environ["IMAGEGEN_SIMULATOR"] = os.environ.get("IMAGEGEN_SIMULATOR") or "1"
    settings = load_settings()
    os.chdir(settings.root)
    pipeline = Pipeline(settings)
    simulator = pipeline.simulator_address
    print(f"The local simulator at {simulator} replaces all providers: nothing is bought.\n")
    _run("1. Scan the sources and register their items", "imagegen", "sync")
    prompts, actors = pipeline.ledger.items.keys("prompt"), pipeline.ledger.items.keys("actor")
    _run(
        f"2. Generate an image for each of the {len(prompts)} prompts, in one run",
        *DAGSTER,
        *("--select", "prompts,generated_images,generation_results"),
        *("--partition-range", f"{prompts[0]}...{prompts[-1]}"),
    )
    _run(
        f"3. Generate a base image for each of the {len(actors)} actors, in one run",
        *DAGSTER,
        *("--select", "actors,actor_base_images,generation_results"),
        *("--partition-range", f"{actors[0]}...{actors[-1]}"),
    )
    _run("4. Repeat: every image is reused", "imagegen", "generate", "--source", "json")
    _print_summary(pipeline, simulator)
    return 0


def _run(title: str, *command: str) -> None:
    print(f"{title}\n   $ {shlex.join(command)}", flush=True)
    process = subprocess.run(  # noqa: S603 - the project's own commands
        [str(BIN / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if process.returncode != 0:
        print(process.stdout + process.stderr)
        print(f"The command failed with exit code {process.returncode}.")
        sys.exit(1)
    for line in process.stdout.splitlines()[-6:]:
        print(f"   {line}")
    print()


def _print_summary(pipeline: Pipeline, simulator: str) -> None:
    settings = pipeline.settings
    refresh_dataset(pipeline.ledger, pipeline.results_file)
    counts = read_statistics(pipeline.ledger, time.time()).states
    bills = requests.get(f"{simulator}/_sim/stats", params={"prompts": "0"}, timeout=10).json()
    stored = counts.get("stored", 0)
    others = ", ".join(f"{n} {state}" for state, n in counts.items() if state != "stored")
    print(f"Stored: {stored} images{f' (and {others})' if others else ''}.")
    for provider in (settings.prompt_provider, settings.actor_provider):
        print(f"      {provider} would have billed {bills[provider]['billed']} since it started.")
    print(f"Pictures:    {settings.output_dir.relative_to(settings.root)}")
    print(f"Base images: {settings.base_images_dir.relative_to(settings.root)}/*/base_image")
    print(f"Results:     {pipeline.results_file.relative_to(settings.root)}")
    print("\nOpen the gallery:  IMAGEGEN_SIMULATOR=1 make serve then http://127.0.0.1:8000")
    print("Open the UI with:  IMAGEGEN_SIMULATOR=1 make dev   then http://127.0.0.1:3000")
    pipeline.close()


if __name__ == "__main__":
    sys.exit(main())
