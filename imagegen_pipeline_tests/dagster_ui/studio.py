"""What a test has of the running Dagster: a project with prompts, the services' books, the pages'
GraphQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import requests
from click.testing import CliRunner

from imagegen_pipeline.cli import imagegen
from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator
from imagegen_pipeline_tests.dagster_ui.graphql import Webserver

IMAGES, BASE_IMAGES, RESULTS = "generated_images", "actor_base_images", "generation_results"
SMALL_ONES: Mapping[str, object] = {"image_size": SMALL}


@dataclass(frozen=True)
class Studio:
    """A scratch project that Dagster runs on."""

    project: Project
    simulator: Simulator
    web: Webserver

    def write(
        self, story: str, numbers: Iterable[int], *, text: str = "{story}, number {n}"
    ) -> list[str]:
        """Prompts of a story as JSON files, for whoever looks there; returns their keys."""
        keys = []
        for n in numbers:
            path = self.project.write_json(f"{story} {n}", text.format(story=story, n=n))
            keys.append(json_key(path.stem))
        return keys

    def prompts(self, story: str, count: int) -> list[str]:
        """Prompts of a story, written and registered; returns their keys, in Dagster's order."""
        keys = self.write(story, range(count))
        self.sync()
        return keys

    def sync(self) -> None:
        """What a person does who does not want to wait for a tick."""
        done = CliRunner().invoke(imagegen, ["sync"], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    def make(self, keys: Sequence[str], **config: object) -> str:
        """Launch a run over these neighbours' pictures, small ones; returns its id."""
        return self.web.materialize(IMAGES, keys=keys, config={**SMALL_ONES, **config})

    def accepted(self, story: str) -> Counter[str]:
        """How many jobs a service took on for each prompt of a story."""
        return self._count(story, "accepted")

    def billed(self, story: str) -> Counter[str]:
        """How many pictures were billed for each prompt of a story."""
        return self._count(story, "billed")

    def sent(self) -> list[str]:
        """The items whose jobs are at their services now, and known by their ids."""
        with closing(self.project.pipeline()) as work:
            unfinished = work.ledger.attempts.unfinished()
        return [one.item_key for one in unfinished if one.state is State.SUBMITTED]

    def _count(self, story: str, what: str) -> Counter[str]:
        told = self.simulator.stats()["by_prompt"]
        return Counter({one["prompt"]: one[what] for one in told if story in one["prompt"]})

    def slow(self, match: str, *, seconds: float) -> None:
        """These prompts' pictures take so long from now on."""
        self._fault(match, fault="hang", seconds=seconds)

    def refuse(self, match: str) -> None:
        """The service refuses these prompts from now on."""
        self._fault(match, fault="status", status=400)

    def blank(self, match: str) -> None:
        """What is made of these prompts is blank from now on, as filtered pictures are."""
        self._fault(match, fault="blank")

    def _fault(self, match: str, **fault: object) -> None:
        self.simulator.fault(provider="duomi", operation="submit", match=match, times=-1, **fault)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        requests.delete(f"{self.simulator.url}/_sim/faults", timeout=10).raise_for_status()
