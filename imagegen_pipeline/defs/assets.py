"""The assets: sources → prompts and actors → pictures → the table of results."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
from pydantic import Field

from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS, add_missing
from imagegen_pipeline.defs.reporting import BASE_IMAGES, IMAGES, RunlessReporter
from imagegen_pipeline.defs.resources import DuomiResource, PipelineResource, RunPodResource
from imagegen_pipeline.defs.running import PartitionLog, done, intent_of, refresh_results
from imagegen_pipeline.domain.actors import Actor, description_warnings, size_warnings
from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.generation import Outcome, Status
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.pipeline import Found

ONE_RUN = dg.BackfillPolicy.single_run()
SOURCES, PICTURES, RESULTS_GROUP = "sources", "pictures", "results"


class KeysConfig(dg.Config):
    """Which partitions of the run's range are meant."""

    keys: list[str] = Field(
        default_factory=list,
        description="Only these partitions of the run's range; empty means all of them. The "
        "others are passed over: what is made is reported as reused, nothing is bought.",
    )


class ImagesConfig(KeysConfig):
    """How pictures of prompts are made; what is left empty is the users' default."""

    regenerate: bool = Field(
        False, description="Make pictures anew that are there already: costs money, once a run."
    )
    model: str | None = Field(None, description="Duomi's model.")
    image_size: str | None = Field(None, description="WIDTHxHEIGHT in pixels, such as 1080x1920.")
    steps: int | None = Field(None, description="Inference steps, 1 to 100.")
    guidance: float | None = Field(None, description="Guidance scale, 0 to 20.")
    seed: int | None = Field(
        None, description="A seed for all; -1 draws one. A regenerate without it draws a new one."
    )
    negative_prompt: str | None = Field(None, description="What the pictures should not show.")

    def parameters(self) -> PromptParameters:
        """The users' defaults with what is set here."""
        names = ("model", "image_size", "steps", "guidance", "seed", "negative_prompt")
        given = {name: getattr(self, name) for name in names}
        return replace(PromptParameters(), **{k: v for k, v in given.items() if v is not None})


class BaseImagesConfig(KeysConfig):
    """How base images are made; what is left empty is the actor's own, or the default."""

    regenerate: bool = Field(
        False, description="Make base images anew that are there already: costs money, once a run."
    )
    width: int | None = Field(None, description="Pixels, in steps of 16.")
    height: int | None = Field(None, description="Pixels, in steps of 16.")
    steps: int | None = Field(None, description="Sampling steps.")
    seed: int | None = Field(
        None, description="A seed for all; -1 draws one. A regenerate without it draws a new one."
    )

    def apply(self, actor: Actor) -> Actor:
        """The actor with what is set here."""
        names = ("width", "height", "steps", "seed")
        given = {name: getattr(self, name) for name in names}
        return replace(actor, **{k: v for k, v in given.items() if v is not None})


@dg.asset(group_name=SOURCES, kinds={"python", "sqlite", "json"})
def source_scan(
    context: dg.AssetExecutionContext, pipeline: PipelineResource
) -> dg.MaterializeResult[None]:
    """Looks at the database, the JSON files and the actors' folders now, and registers what is
    there as partitions. Start here on an empty instance. Buys nothing.
    """
    work = pipeline.get()
    prompts, actors = work.scan_prompts(), work.scan_actors()
    instance = context.instance
    new = add_missing(instance, PROMPTS, work.ledger.items.keys("prompt"))
    new += add_missing(instance, ACTORS, work.ledger.items.keys("actor"))
    reported = RunlessReporter(instance, work).report_missed()
    for problem in (*prompts.problems, *actors.problems):
        context.log.warning(problem.line)
    return dg.MaterializeResult(
        metadata={
            "prompts": len(prompts.prompts),
            "actors": len(actors.actors),
            "partitions registered": len(new),
            "changed": len(prompts.change.changed) + len(actors.change.changed),
            "gone": len(prompts.change.gone) + len(actors.change.gone),
            "pictures reported": reported,
            "problems": dg.MetadataValue.md(_problem_list((*prompts.problems, *actors.problems))),
        }
    )


def _problem_list(problems: tuple[SourceProblem, ...]) -> str:
    return "\n".join(f"- {problem.line}" for problem in problems) or "none"


@dg.asset(
    partitions_def=PROMPTS,
    backfill_policy=ONE_RUN,
    group_name=SOURCES,
    kinds={"python"},
)
def prompts(
    context: dg.AssetExecutionContext, config: KeysConfig, pipeline: PipelineResource
) -> Iterator[dg.MaterializeResult[None]]:
    """A prompt as its source has it now: a row of the database, a JSON file, or a typed one."""
    work = pipeline.get()
    _warn(context, work.scan_prompts())
    known = work.prompts(context.partition_keys)
    _log_things(context, dict(known), config.keys)
    yield done()


@dg.asset(
    partitions_def=ACTORS,
    backfill_policy=ONE_RUN,
    group_name=SOURCES,
    kinds={"python"},
)
def actors(
    context: dg.AssetExecutionContext, config: KeysConfig, pipeline: PipelineResource
) -> Iterator[dg.MaterializeResult[None]]:
    """An actor as its ``actor.json`` describes it now."""
    work = pipeline.get()
    _warn(context, work.scan_actors())
    known = work.actors(context.partition_keys)
    _log_things(context, dict(known), config.keys)
    yield done()


def _warn(context: dg.AssetExecutionContext, found: Found) -> None:
    for problem in found.problems:
        context.log.warning(problem.line)


def _log_things(
    context: dg.AssetExecutionContext, known: dict[str, Prompt | Actor], only: list[str]
) -> None:
    """An event for each partition, with the text's digest as its data version."""
    for key in only or context.partition_keys:
        thing = known.get(key)
        if thing is None:
            continue  # what is downstream says that the source does not have it
        text = thing.text if isinstance(thing, Prompt) else thing.description
        event = dg.AssetMaterialization(
            context.asset_key,
            partition=key,
            metadata={
                "text": dg.MetadataValue.text(text),
                "location": dg.MetadataValue.text(thing.location),
                "characters": len(text),
            },
            tags={
                "dagster/data_version": thing.digest,
                "dagster/data_version_is_user_provided": "true",
            },
        )
        context.log_event(event)


@dg.asset(
    partitions_def=PROMPTS,
    backfill_policy=ONE_RUN,
    deps=[prompts],
    group_name=PICTURES,
    kinds={"python", "image"},
)
def generated_images(
    context: dg.AssetExecutionContext,
    config: ImagesConfig,
    pipeline: PipelineResource,
    duomi: DuomiResource,
) -> Iterator[dg.MaterializeResult[None]]:
    """A picture of each prompt, made by Duomi. What is made already is reused at no cost; a
    prompt that fails is red with its reason, and the others stand.
    """
    work = pipeline.get()
    work.use(duomi.client(work))
    log = PartitionLog(context, work, IMAGES)
    keys = config.keys or list(context.partition_keys)
    known = work.prompts(keys)
    _report_unknown(log, [key for key in keys if key not in known], "prompt")
    order = work.order(
        intent=intent_of(context),
        regenerate=config.regenerate,
        seed_given=config.seed is not None,
    )
    log.run(work.generate_images(known.values(), config.parameters(), order))
    yield from log.finish()


@dg.asset(
    partitions_def=ACTORS,
    backfill_policy=ONE_RUN,
    deps=[actors],
    group_name=PICTURES,
    kinds={"python", "image"},
)
def actor_base_images(
    context: dg.AssetExecutionContext,
    config: BaseImagesConfig,
    pipeline: PipelineResource,
    runpod: RunPodResource,
) -> Iterator[dg.MaterializeResult[None]]:
    """A full-body base portrait of each actor, made by FLUX in ComfyUI on RunPod."""
    work = pipeline.get()
    work.use(runpod.client(work))
    log = PartitionLog(context, work, BASE_IMAGES)
    keys = config.keys or list(context.partition_keys)
    known = {key: config.apply(actor) for key, actor in work.actors(keys).items()}
    _report_unknown(log, [key for key in keys if key not in known], "actor")
    for actor in known.values():
        advice = description_warnings(actor.description) + size_warnings(actor.width, actor.height)
        for line in advice:
            context.log.warning(f"{actor.name}: {line}")
    order = work.order(
        intent=intent_of(context),
        regenerate=config.regenerate,
        seed_given=config.seed is not None,
    )
    log.run(work.generate_base_images(known.values(), order))
    yield from log.finish()


def _report_unknown(log: PartitionLog, keys: list[str], noun: str) -> None:
    for key in keys:
        error = SourceError(
            f"There is no {noun} {key} in the ledger.",
            remedy="Materialize source_scan, or run `imagegen sync`, then try again.",
        )
        outcome = Outcome(
            key,
            Status.FAILED,
            error_kind=error.kind,
            error=str(error),
            remedy=error.remedy,
        )
        log.report(outcome)


@dg.asset(
    deps=[generated_images, actor_base_images],
    backfill_policy=ONE_RUN,
    group_name=RESULTS_GROUP,
    kinds={"python", "pandas", "parquet"},
)
def generation_results(pipeline: PipelineResource) -> dg.MaterializeResult[None]:
    """The table of what happened: one row an attempt, and what in the sources is unreadable."""
    return dg.MaterializeResult(metadata=refresh_results(pipeline.get()))


ASSETS = [source_scan, prompts, actors, generated_images, actor_base_images, generation_results]
