"""A scratch project with items: prompts as JSON files, actors as folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagegen_pipeline_tests.conftest import make_project
from imagegen_pipeline_tests.fuzz.chaos.variants import Variant

SHARED_EVERY = 10
"""Every n-th prompt repeats the text of the one before it, so that they share one bill."""


@dataclass(frozen=True, slots=True)
class SourceItem:
    """A prompt or an actor. ``mark`` is in its prompt and in no other, except those that share its
    bill; ``location`` is its file.
    """

    location: str
    mark: str


@dataclass(frozen=True, slots=True)
class Round:
    """The items of one batch, in a folder of their own."""

    folder: Path
    source_items: tuple[SourceItem, ...]


@dataclass(frozen=True, slots=True)
class Scratch:
    """A project's folder and the environment of its workers."""

    root: Path
    variant: Variant
    environment: Mapping[str, str]

    @property
    def results(self) -> Path:
        """The data folder of simulated results."""
        return self.root / "data" / "simulated"

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.results / "imagegen.db"

    @property
    def pictures(self) -> Path:
        """The folder of all images."""
        name = "actors" if self.variant.provider == "runpod" else "generated_images"
        return self.results / name

    def write_round(self, number: int, count: int) -> Round:
        """Write ``count`` new items."""
        folder = self.root / "items" / f"round-{number}"
        write = _write_actor if self.variant.provider == "runpod" else _write_prompt
        source_items = tuple(write(folder, number, place) for place in range(count))
        return Round(folder, source_items)


def make_scratch(root: Path, variant: Variant, simulator: str) -> Scratch:
    """A project in ``root`` that uses the simulator at that address."""
    root.mkdir(parents=True, exist_ok=True)
    environment = {"IMAGEGEN_SIMULATOR": simulator, **variant.environment}
    made = make_project(root, environment)
    return Scratch(made.root, variant, made.environment)


def _write_prompt(folder: Path, number: int, place: int) -> SourceItem:
    repeats = place % SHARED_EVERY == SHARED_EVERY - 1
    mark = f"boat {number}-{place - repeats}."
    file = folder / f"boat {number} {place}.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"image_prompt": f"a red {mark}"}), encoding="utf-8")
    return SourceItem(str(file), mark)


def _write_actor(folder: Path, number: int, place: int) -> SourceItem:
    mark = f"scarf {number}-{place}."
    file = folder / f"{number:02}{place:04}_sailor" / "actor.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    facts = {"description": f"an old sailor with {mark}", "width": 64, "height": 96}
    file.write_text(json.dumps(facts), encoding="utf-8")
    return SourceItem(str(file), mark)
