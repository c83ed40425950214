"""``imagegen models``: the models of the chosen provider that answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.requests import Outcome
    from imagegen_pipeline.pipeline import Pipeline

TEST_PROMPT = "a red apple on a white table"
TEST_SIZE = "1024x1024"


@click.command(short_help="Find which models answer, by buying test images.")
@click.option("--yes", is_flag=True, help="Do not ask before buying.")
@click.option(
    "--all",
    "try_all",
    is_flag=True,
    help="Try every model instead of stopping at the first that answers.",
)
def models(*, yes: bool, try_all: bool) -> None:
    """Find which models answer, by buying a small image of each until one does.

    Prints the cost and asks before buying. Stops at the first model that answers, unless --all is
    given. Exit code 1 means that none answered.
    """
    from imagegen_pipeline.cli.interruptible_pipeline import InterruptiblePipeline
    from imagegen_pipeline.cli.signal_messages import interruptible
    from imagegen_pipeline.domain.errors import SetupError
    from imagegen_pipeline.legacy.logs import open_log
    from imagegen_pipeline.providers.registry import registry

    pipeline = InterruptiblePipeline()
    answered = 0
    try:
        provider = registry().get(pipeline.settings.prompt_provider)
        known = provider.capabilities.models
        if not known:
            raise SetupError(f"{provider.title} has no list of models to try.")
        pipeline.provider(provider.name)
        _state_cost(pipeline, known, try_all=try_all)
        if not yes:
            click.confirm("Continue?", abort=True, err=True)
        open_log(pipeline.settings.log_dir)
        with interruptible(pipeline.stop):
            for model in known:
                outcome = _try(pipeline, model)
                answered += outcome.ok
                click.echo(f"{model}: {_verdict(outcome)}")
                if pipeline.stopped or (outcome.ok and not try_all):
                    break
    finally:
        pipeline.close()
    if pipeline.stopped or not answered:
        raise click.exceptions.Exit(1)


def _verdict(outcome: Outcome) -> str:
    from imagegen_pipeline.cli.progress import plain

    if not outcome.ok:
        return plain(f"no: {outcome.reason}")
    seconds = outcome.attempt.seconds if outcome.attempt else None
    return f"answers ({seconds or 0:.1f} s)"


def _state_cost(pipeline: Pipeline, known: tuple[str, ...], *, try_all: bool) -> None:
    from imagegen_pipeline.sources.typed_prompts import typed_prompt

    prompt = typed_prompt(TEST_PROMPT)
    prices = [
        pipeline.engine_context.prices.cost(
            pipeline.prompt_parameters(model=model, image_size=TEST_SIZE).request(prompt), None
        )
        for model in known
    ]
    if any(price is None for price in prices):
        cost = "their price is unknown (set IMAGEGEN_PRICES)"
    else:
        cost = f"at most {sum(price or 0 for price in prices):g}"
    count = "one image of each model" if try_all else "one image of each until one answers"
    click.echo(f"This buys {count}, {TEST_SIZE}: up to {len(known)} images, {cost}.", err=True)


def _try(pipeline: Pipeline, model: str) -> Outcome:
    from imagegen_pipeline.sources.typed_prompts import typed_prompt

    prompt = typed_prompt(TEST_PROMPT)
    pipeline.register(prompt)
    # A reused image would not show that the model answers now.
    order = pipeline.order(regenerate=True, seed_given=True)
    parameters = pipeline.prompt_parameters(model=model, image_size=TEST_SIZE)
    (outcome,) = tuple(pipeline.generate_images([prompt], parameters, order))
    return outcome
