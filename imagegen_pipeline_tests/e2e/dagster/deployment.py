"""A running Dagster on a scratch project with the simulator, as tests use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from click.testing import CliRunner

from imagegen_pipeline.cli import imagegen
from imagegen_pipeline.domain.partition_keys import json_key
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline_tests.conftest import SMALL, Project, Simulator
from imagegen_pipeline_tests.e2e.dagster.webserver_client import WebserverClient

IMAGES, BASE_IMAGES, RESULTS = "generated_images", "actor_base_images", "generation_results"
SMALL_IMAGES: Mapping[str, object] = {"image_size": SMALL}


@dataclass(frozen=True)
class Deployment:
    """A scratch project, its simulator, and its webserver.

    Prompts belong to a group, by whose name a test tells its own from those of other tests.
    """

    project: Project
    simulator: Simulator
    web: WebserverClient

    def write(
        self, group: str, numbers: Iterable[int], *, text: str = "{group}, number {n}"
    ) -> list[str]:
        """Write prompts of a group as JSON files; returns their keys."""
        keys = []
        for n in numbers:
            path = self.project.write_json(f"{group} {n}", text.format(group=group, n=n))
            keys.append(json_key(path.stem))
        return keys

    def prompts(self, group: str, count: int) -> list[str]:
        """Write and register prompts of a group; returns their keys in Dagster's order."""
        keys = self.write(group, range(count))
        self.sync()
        return keys

    def sync(self) -> None:
        """Run ``imagegen sync``, without waiting for a tick."""
        done = CliRunner().invoke(imagegen, ["sync"], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    def materialize_images(self, keys: Sequence[str], **config: object) -> str:
        """Launch a run over the small images of these adjacent keys; returns its id."""
        return self.web.materialize(IMAGES, keys=keys, config={**SMALL_IMAGES, **config})

    def accepted(self, group: str) -> Counter[str]:
        """How many jobs a provider accepted for each prompt of a group."""
        return self._count(group, "accepted")

    def billed(self, group: str) -> Counter[str]:
        """How many images were billed for each prompt of a group."""
        return self._count(group, "billed")

    def submitted(self) -> list[str]:
        """The items whose jobs are submitted and have an id."""
        with closing(self.project.pipeline()) as pipeline:
            unfinished = pipeline.ledger.attempts.unfinished()
        return [one.item_key for one in unfinished if one.state is State.SUBMITTED]

    def _count(self, group: str, field: str) -> Counter[str]:
        prompts = self.simulator.stats()["by_prompt"]
        return Counter({one["prompt"]: one[field] for one in prompts if group in one["prompt"]})

    def hang(self, match: str) -> None:
        """The provider does not answer requests for these prompts until the faults are cleared."""
        self._fault(match, fault="hang", seconds=600)

    def refuse(self, match: str) -> None:
        """The provider refuses these prompts from now on."""
        self._fault(match, fault="status", status=400)

    def blank(self, match: str) -> None:
        """The images of these prompts are blank from now on, as filtered images are."""
        self._fault(match, fault="blank")

    def _fault(self, match: str, **fault: object) -> None:
        self.simulator.fault(provider="duomi", operation="submit", match=match, times=-1, **fault)

    def clear_faults(self) -> None:
        """Remove all faults; requests that hang are answered."""
        self.simulator.clear_faults()
