"""Pictures made in a Dagster step, whatever asks for them: an asset's run, or a job."""

from collections.abc import Mapping, Sequence

import dagster as dg

from imagegen_pipeline.app.regenerate import BatchRequest
from imagegen_pipeline.dagster_ext.data_versions import ACTORS_ASSET, PROMPTS_ASSET
from imagegen_pipeline.dagster_ext.names import BASE_IMAGES, IMAGES
from imagegen_pipeline.dagster_ext.step_reporter import (
    StepContext,
    StepCounts,
    StepReporter,
    intent_of,
    own_partitions,
)
from imagegen_pipeline.defs.configs import (
    BaseImagesConfig,
    ImagesConfig,
    KeysConfig,
    PicturesConfig,
)
from imagegen_pipeline.domain.actors import Actor, description_warnings, size_warnings
from imagegen_pipeline.domain.errors import BudgetReachedError, DayLimitError, SetupError
from imagegen_pipeline.domain.prompts import Prompt, SourceProblem
from imagegen_pipeline.domain.requests import ItemKind
from imagegen_pipeline.engine import BatchOptions, ImageTask
from imagegen_pipeline.pipeline import Pipeline

ASSETS_OF: Mapping[ItemKind, tuple[dg.AssetKey, dg.AssetKey]] = {
    "prompt": (IMAGES, PROMPTS_ASSET),
    "actor": (BASE_IMAGES, ACTORS_ASSET),
}
"""For each kind of item the asset of its images, and the asset that they are made from."""
_FOR_LATER = (BudgetReachedError.kind, DayLimitError.kind)


def covered_keys(context: StepContext, config: KeysConfig) -> list[str]:
    """The run's own partitions, and those beyond them that its configuration names.

    Raises SetupError when there are neither.
    """
    keys = list(dict.fromkeys([*own_partitions(context), *config.keys]))
    if not keys:
        raise SetupError(
            "The run is about no partition.",
            remedy="Choose partitions, or name them as keys in the configuration.",
        )
    return keys


def materialize_images(context: StepContext, config: ImagesConfig, work: Pipeline) -> StepReporter:
    """Make the pictures of the prompts that a step is about; returns what it has reported.

    Raises what stops the whole step, such as MissingKeyError.
    """
    work.provider(work.settings.prompt_provider)
    keys = covered_keys(context, config)
    scan = work.sources.scan_keys(keys)
    log = StepReporter(context, work, IMAGES, PROMPTS_ASSET, keys, scan=scan)
    meant = _meant(log, config)
    known = log.present(meant, Prompt)
    _report_absent(log, meant, known, scan.problems)
    parameters = work.prompt_parameters(**config.parameters())
    if not config.regenerate and parameters == work.prompt_parameters():
        known = _without_typed_ones(log, known)
    order = _order(context, work, config)
    wanted = (work.request_builder.image(one, parameters) for one in known.values())
    asked = list(known.values())
    if config.limit is not None:
        asked = [known[key] for key in _within_limit(log, work, config.limit, order, list(wanted))]
    log.run(work.generate_images(asked, parameters, order))
    return log


def materialize_base_images(
    context: StepContext, config: BaseImagesConfig, work: Pipeline
) -> StepReporter:
    """Make the base images of the actors that a step is about, as ``materialize_images``."""
    work.provider(work.settings.actor_provider)
    keys = covered_keys(context, config)
    scan = work.sources.scan_keys(keys)
    log = StepReporter(context, work, BASE_IMAGES, ACTORS_ASSET, keys, scan=scan)
    meant = _meant(log, config)
    known = {key: config.apply(actor) for key, actor in log.present(meant, Actor).items()}
    _report_absent(log, meant, known, scan.problems)
    order = _order(context, work, config)
    wanted = (work.request_builder.base_image(actor) for actor in known.values())
    asked = list(known.values())
    if config.limit is not None:
        asked = [known[key] for key in _within_limit(log, work, config.limit, order, list(wanted))]
    for actor in asked:
        _advise(context, actor)
    log.run(work.generate_base_images(asked, order))
    return log


def _order(context: StepContext, work: Pipeline, config: PicturesConfig) -> BatchOptions:
    return work.order(
        intent=intent_of(context),
        regenerate=config.regenerate,
        seed_given=config.seed is not None,
    )


def _advise(context: StepContext, actor: Actor) -> None:
    for line in description_warnings(actor.description) + size_warnings(actor.width, actor.height):
        context.log.warning(f"{actor.name}: {line}")


def _meant(log: StepReporter, config: KeysConfig) -> list[str]:
    """The keys that are to be made; the others that the run covers are passed over."""
    if not config.keys:
        return log.keys
    meant = set(config.keys)
    log.pass_over([key for key in log.keys if key not in meant])
    return config.keys


def _report_absent(
    log: StepReporter,
    meant: Sequence[str],
    known: Mapping[str, Prompt | Actor],
    problems: Sequence[SourceProblem],
) -> None:
    unreadable = {problem.location: problem for problem in problems}
    for outcome in list(log.absent([key for key in meant if key not in known], unreadable)):
        log.report(outcome)


def _without_typed_ones(log: StepReporter, known: Mapping[str, Prompt]) -> dict[str, Prompt]:
    """The prompts of sources. A typed prompt has no source that could ask for another picture
    than the one it was typed for, so what it has is reported as it is.
    """
    typed = [key for key, prompt in known.items() if prompt.source == "single_prompt"]
    reported = set(log.pass_over(typed))
    return {key: prompt for key, prompt in known.items() if key not in reported}


def _within_limit(
    log: StepReporter,
    work: Pipeline,
    limit: int,
    order: BatchOptions,
    wanted: Sequence[ImageTask],
) -> list[str]:
    """The keys that are made in a run with a limit; the rest is passed over.

    What an earlier run of the same intent has bought counts, so that a re-execution of a run
    with a limit buys no more than was allowed.
    """
    keys = [one.key for one in wanted]
    fates = work.dry_run(wanted, regenerate=order.regenerate).fates
    own = work.ledger.attempts.of_run(order.intent)
    bought = {attempt.item_key for attempt in own if attempt.shared_from is None}
    to_buy = [key for key in keys if fates[key] == "make" and key not in bought]
    left_out = set(to_buy[max(limit - len(bought), 0) :])
    if left_out:
        log.context.log.info(f"The limit of {limit} leaves out {len(left_out)}.")
    log.pass_over([key for key in keys if key in left_out])
    return [key for key in keys if key not in left_out]


def materialize_requests(
    context: StepContext,
    work: Pipeline,
    orders: Sequence[BatchRequest],
) -> None:
    """Make what a job has planned. What a budget or a day's limit leaves over is left to the
    next time: it is no failure. Raises the failure of what failed, at the end.
    """
    tally = StepCounts()
    log = None
    for part in orders:
        asset, source = ASSETS_OF[part.kind]
        keys = [one.key for one in part.tasks]
        log = StepReporter(context, work, asset, source, keys, tally=tally)
        log.run(work.make(part.kind, part.provider, part.tasks, part.options))
    if log is None:
        context.log.info("There is nothing to make.")
        return
    left = [one for one in tally.failed if one.error_kind in _FOR_LATER]
    if left:
        context.log.warning(f"{len(left)} are left for another day: {left[0].reason}")
    tally.failed = [one for one in tally.failed if one not in left]
    log.refresh_table()
    log.raise_failures()
