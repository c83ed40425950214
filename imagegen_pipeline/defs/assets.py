"""The assets: sources → prompts and actors → pictures → the table of results."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import dagster as dg
from pydantic import Field

from imagegen_pipeline.defs.partitions import ACTORS, PROMPTS, add_missing
from imagegen_pipeline.defs.reporting import (
    BASE_IMAGES,
    IMAGES,
    LISTED,
    RunlessReporter,
    approved_metadata,
)
from imagegen_pipeline.defs.resources import DuomiResource, PipelineResource, RunPodResource
from imagegen_pipeline.defs.running import (
    PartitionLog,
    done,
    intent_of,
    refresh_results,
    typed_failure,
)
from imagegen_pipeline.defs.versions import (
    ACTORS_ASSET,
    CODE_VERSION,
    PROMPTS_ASSET,
    source_event,
)
from imagegen_pipeline.domain.actors import Actor, description_warnings, size_warnings
from imagegen_pipeline.domain.parameters import PromptParameters
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.engine import Order
from imagegen_pipeline.pipeline import Found, Pipeline
from imagegen_pipeline.results import approved_rows, result_rows, write_results

ONE_RUN = dg.BackfillPolicy.single_run()
SOURCES, PICTURES, RESULTS_GROUP, APPROVED_GROUP = "sources", "pictures", "results", "approved"


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

    def asks_for_more(self) -> bool:
        """Whether something else is asked for than what the sources have."""
        return self.regenerate or self.parameters() != PromptParameters()

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
    with typed_failure():
        work = pipeline.get()
        prompts, actors = work.scan_prompts(), work.scan_actors()
    instance = context.instance
    new = add_missing(instance, PROMPTS, work.ledger.items.keys("prompt"))
    new += add_missing(instance, ACTORS, work.ledger.items.keys("actor"))
    reporter = RunlessReporter(instance, work)
    reporter.report_changes((*prompts.prompts, *actors.actors))
    reported = reporter.report_missed()
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
            "out of date": dg.MetadataValue.md(_key_list(work.out_of_date())),
            "problems": dg.MetadataValue.md(_problem_list((*prompts.problems, *actors.problems))),
        }
    )


def _key_list(keys: Sequence[str]) -> str:
    shown = [f"- `{key}`" for key in keys[:LISTED]]
    more = [f"- … and {len(keys) - LISTED} more"] if len(keys) > LISTED else []
    return "\n".join((*shown, *more)) or "none"


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
    with typed_failure():
        work = pipeline.get()
        _warn(context, work.scan_prompts())
        _log_things(context, work.prompts(_meant(context, config)))
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
    with typed_failure():
        work = pipeline.get()
        _warn(context, work.scan_actors())
        _log_things(context, work.actors(_meant(context, config)))
        yield done()


def _warn(context: dg.AssetExecutionContext, found: Found) -> None:
    for problem in found.problems:
        context.log.warning(problem.line)


def _log_things(context: dg.AssetExecutionContext, known: Mapping[str, Prompt | Actor]) -> None:
    """An event for each partition, with the text's digest as its data version.

    A key that no source has gets none: what is downstream says so.
    """
    for thing in known.values():
        context.log_event(source_event(thing))


@dg.asset(
    partitions_def=PROMPTS,
    backfill_policy=ONE_RUN,
    deps=[prompts],
    code_version=CODE_VERSION,
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
    with typed_failure():
        work = pipeline.get()
        work.use(duomi.client(work))
        found = work.scan_prompts()
        log = PartitionLog(context, work, IMAGES, PROMPTS_ASSET)
        known = work.prompts(_meant(context, config))
        _report_others(log, config, known, found.problems)
        if not config.asks_for_more():
            known = _without_typed_ones(log, known)
        order = _order(context, work, config)
        log.run(work.generate_images(known.values(), config.parameters(), order))
        yield from log.finish()


@dg.asset(
    partitions_def=ACTORS,
    backfill_policy=ONE_RUN,
    deps=[actors],
    code_version=CODE_VERSION,
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
    with typed_failure():
        work = pipeline.get()
        work.use(runpod.client(work))
        found = work.scan_actors()
        log = PartitionLog(context, work, BASE_IMAGES, ACTORS_ASSET)
        known = work.actors(_meant(context, config))
        _report_others(log, config, known, found.problems)
        asked = [config.apply(actor) for actor in known.values()]
        for actor in asked:
            _advise(context, actor)
        log.run(work.generate_base_images(asked, _order(context, work, config)))
        yield from log.finish()


def _meant(context: dg.AssetExecutionContext, config: KeysConfig) -> list[str]:
    return config.keys or list(context.partition_keys)


def _order(
    context: dg.AssetExecutionContext, work: Pipeline, config: ImagesConfig | BaseImagesConfig
) -> Order:
    return work.order(
        intent=intent_of(context),
        regenerate=config.regenerate,
        seed_given=config.seed is not None,
    )


def _advise(context: dg.AssetExecutionContext, actor: Actor) -> None:
    for line in description_warnings(actor.description) + size_warnings(actor.width, actor.height):
        context.log.warning(f"{actor.name}: {line}")


def _report_others(
    log: PartitionLog,
    config: KeysConfig,
    known: Mapping[str, Prompt | Actor],
    problems: Sequence[SourceProblem],
) -> None:
    """What the run covers and does not make: keys that are not meant, and absent items."""
    meant = _meant(log.context, config)
    log.pass_over([key for key in log.context.partition_keys if key not in set(meant)])
    unreadable = {problem.location: problem for problem in problems}
    absent = log.absent([key for key in meant if key not in known], unreadable)
    for outcome in absent:
        log.report(outcome)


def _without_typed_ones(log: PartitionLog, known: Mapping[str, Prompt]) -> dict[str, Prompt]:
    """The prompts of sources. A typed prompt has no source that could ask for another picture
    than the one it was typed for, so what it has is reported as it is.
    """
    typed = [key for key, prompt in known.items() if prompt.source == "single_prompt"]
    reported = set(log.pass_over(typed))
    return {key: prompt for key, prompt in known.items() if key not in reported}


@dg.asset(
    deps=[generated_images, actor_base_images],
    backfill_policy=ONE_RUN,
    group_name=RESULTS_GROUP,
    kinds={"python", "pandas", "parquet"},
)
def generation_results(pipeline: PipelineResource) -> dg.MaterializeResult[None]:
    """The table of what happened: one row an attempt, and what in the sources is unreadable."""
    with typed_failure():
        return dg.MaterializeResult(metadata=refresh_results(pipeline.get()))


@dg.asset(
    deps=[generated_images, actor_base_images],
    backfill_policy=ONE_RUN,
    group_name=APPROVED_GROUP,
    kinds={"python", "pandas", "parquet"},
)
def approved_pictures(pipeline: PipelineResource) -> dg.MaterializeResult[None]:
    """The current pictures that were approved in the gallery, as they are now: what training
    and whatever else comes after goes on with: depend on it, and select it with what follows
    as ``approved_pictures+``. The columns are those of ``generation_results``.
    """
    with typed_failure():
        work = pipeline.get()
        rows = approved_rows(result_rows(work.ledger))
        write_results(rows, work.approved_file)
        return dg.MaterializeResult(metadata=approved_metadata(rows, work.approved_file))


ASSETS = [
    *(source_scan, prompts, actors),
    *(generated_images, actor_base_images),
    *(generation_results, approved_pictures),
]
