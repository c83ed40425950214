"""``imagegen generate``: images from prompts."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagegen_pipeline.cli import param_types

if TYPE_CHECKING:
    from imagegen_pipeline.domain.parameters import PromptParameters
    from imagegen_pipeline.domain.prompts import Prompt
    from imagegen_pipeline.domain.requests import Outcome
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.sources.scanner import ScanResult


@click.command(short_help="Generate images from prompts, many at once.")
@click.option(
    "--source",
    type=click.Choice(["sqlite", "json", "prompt"]),
    required=True,
    help="Where to read prompts: the SQLite database, the folder of JSON files, or --prompt.",
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Only the first N items, in source order.",
)
@click.option(
    "--delay",
    metavar="S",
    type=click.FloatRange(0, param_types.LONGEST_DELAY),
    callback=param_types.finite,
    default=0.0,
    show_default=True,
    help="Least number of seconds between two submits. Reused images do not wait.",
)
@click.option(
    "--input-dir",
    metavar="D",
    type=click.Path(path_type=Path),
    help="Folder of JSON files, instead of IMAGEGEN_PROMPT_JSON_DIR.",
)
@click.option("--prompt", "text", help="Text of a single prompt; needs --source prompt.")
@click.option(
    "--api-key",
    metavar="KEY",
    callback=param_types.key,
    help="The provider's key for this call. Better set its variable, such as DUOMI_API_KEY: other "
    "users can see arguments.",
)
@click.option(
    "--model",
    metavar="M",
    callback=param_types.word,
    help="The provider's model; `imagegen models` finds which answer.",
)
@click.option(
    "--image-size",
    metavar="WxH",
    callback=param_types.size,
    help="Width and height in pixels; the default is 1080x1920.",
)
@click.option(
    "--steps",
    metavar="N",
    type=int,
    callback=param_types.steps,
    help="Inference steps; Duomi's default is 20.",
)
@click.option(
    "--guidance",
    metavar="G",
    type=float,
    callback=param_types.guidance,
    help="Guidance scale; Duomi's default is 7.5.",
)
@click.option(
    "--seed",
    metavar="N",
    type=int,
    callback=param_types.seed,
    help="Random seed; Duomi's default is 51515151. -1 draws a new one for each image.",
)
@click.option(
    "--negative-prompt",
    metavar="T",
    callback=param_types.text_or_blank,
    help="What the images should not show.",
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, 512),
    help="Requests in flight at once, instead of IMAGEGEN_CONCURRENCY (8).",
)
@click.option(
    "--regenerate",
    is_flag=True,
    help="Generate a new image for each item. Costs money; draws new seeds unless --seed is given.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would be generated, reused and spent; send nothing."
)
def generate(source: str, text: str | None, input_dir: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Generate images from prompts, many at once.

    An image that exists already, with the same parameters, is reused at no cost. If a batch was
    stopped or failed in part, run the same command again: it continues with the missing images.
    (Except with --regenerate: each command buys new images.)

    \b
    imagegen generate --source sqlite --limit 5 --dry-run
    imagegen generate --source json --input-dir prompts --steps 30 --guidance 10
    imagegen generate --source prompt --prompt "a lighthouse at dusk" --seed -1

    Progress goes to stderr. The counts, the cost, and the folders of images and results go to
    stdout.
    """
    _check_usage(source, text, input_dir)
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    try:
        if not options["dry_run"]:
            _open_client(pipeline, options["api_key"])
        scan = _scan(pipeline, source, text, input_dir, record=not options["dry_run"])
        failed = (_dry_run if options["dry_run"] else _generate)(pipeline, scan, source, options)
    finally:
        pipeline.close()
    if failed:
        raise click.exceptions.Exit(1)


def _check_usage(source: str, text: str | None, input_dir: Path | None) -> None:
    if source == "prompt" and text is None:
        raise click.UsageError("--source prompt needs the text: add --prompt TEXT.")
    if source != "prompt" and text is not None:
        raise click.UsageError(f"--prompt works with --source prompt, not with {source}.")
    if source != "json" and input_dir is not None:
        raise click.UsageError(f"--input-dir works with --source json, not with {source}.")


def _open_client(pipeline: Pipeline, api_key: str | None) -> None:
    """Open the client first, so that a missing key is reported before the sources are read."""
    if api_key is not None:
        pipeline.use_key(pipeline.settings.prompt_provider, api_key)
    pipeline.provider(pipeline.settings.prompt_provider)


def _scan(
    pipeline: Pipeline, source: str, text: str | None, input_dir: Path | None, *, record: bool
) -> ScanResult:
    """Read the prompts. Exits when there are none."""
    from imagegen_pipeline.cli.source_messages import print_problems

    if source == "prompt":
        return _typed(pipeline, text or "", record=record)
    scan = pipeline.scan_prompts(
        database=source == "sqlite",
        json_files=source == "json",
        json_dir=input_dir.expanduser().absolute() if input_dir else None,
        record=record,
    )
    scan = replace(scan, problems=print_problems(scan))
    if not scan.prompts:
        if not scan.problems:
            click.echo(f"imagegen: there are no prompts to read (--source {source}).", err=True)
        raise click.exceptions.Exit(2 if scan.unreadable else (1 if scan.problems else 0))
    return scan


def _typed(pipeline: Pipeline, text: str, *, record: bool) -> ScanResult:
    from imagegen_pipeline.domain.errors import SetupError, SourceError
    from imagegen_pipeline.sources.scanner import ScanResult
    from imagegen_pipeline.sources.typed_prompts import typed_prompt

    try:
        prompt = typed_prompt(text)
    except SourceError as error:
        raise SetupError(str(error), remedy=error.remedy) from None
    if record:
        pipeline.register(prompt)
    return ScanResult((prompt,))


def _parameters(pipeline: Pipeline, options: dict[str, Any]) -> PromptParameters:
    names = ("model", "image_size", "steps", "guidance", "seed", "negative_prompt")
    given = {name: options[name] for name in names if options[name] is not None}
    return pipeline.prompt_parameters(**given)


def _generate(pipeline: Pipeline, scan: ScanResult, source: str, options: dict[str, Any]) -> bool:
    """Run the batch and print its summary; returns whether anything failed."""
    from imagegen_pipeline.cli.background_reporter import BackgroundReporter
    from imagegen_pipeline.cli.progress import run_batch
    from imagegen_pipeline.legacy.logs import open_log

    prompts = scan.prompts[: options["limit"]]
    problems = scan.problems if options["limit"] is None else ()
    order = pipeline.order(
        concurrency=options["concurrency"],
        delay=options["delay"],
        regenerate=options["regenerate"],
        seed_given=options["seed"] is not None,
    )
    open_log(pipeline.settings.log_dir)
    outcomes: dict[str, Outcome] = {}
    batch = pipeline.generate_images(prompts, _parameters(pipeline, options), order)
    with BackgroundReporter(pipeline) as dagster:

        def finished(outcome: Outcome) -> None:
            outcomes[outcome.item_key] = outcome
            dagster.report(outcome)

        interrupted = run_batch(batch, len(prompts), finished)
        unreadable = [_problem(one, source) for one in problems]
        return _print_summary(pipeline, prompts, outcomes, unreadable) or interrupted


def _problem(problem: Any, source: str) -> dict[str, Any]:  # noqa: ANN401 - a SourceProblem
    from imagegen_pipeline.legacy.logs import problem_result

    return problem_result(problem, "database" if source == "sqlite" else source)


def _print_summary(
    pipeline: Pipeline,
    prompts: tuple[Prompt, ...],
    outcomes: dict[str, Outcome],
    unreadable: list[dict[str, Any]],
) -> bool:
    """Write the results log and print the summary; returns whether anything failed."""
    from imagegen_pipeline.cli.progress import count_line
    from imagegen_pipeline.legacy.logs import user_result, write_results_log

    results = [user_result(p, outcomes[p.key]) for p in prompts if p.key in outcomes]
    results += unreadable
    log = write_results_log(results, pipeline.settings.log_dir, time.time())
    counts = Counter(result["status"] for result in results)
    click.echo(f"{count_line(counts)}. {_cost_line(list(outcomes.values()))}")
    click.echo(f"pictures: {pipeline.settings.output_dir}")
    click.echo(f"results:  {log}")
    if pipeline.settings.simulator:
        click.echo("On the local simulator: nothing was bought.")
    return not all(result["success"] for result in results)


def _cost_line(outcomes: list[Outcome]) -> str:
    from imagegen_pipeline.cli.progress import count

    known = sum(outcome.cost or 0.0 for outcome in outcomes)
    unpriced = sum(outcome.ok and outcome.cost is None for outcome in outcomes)
    unsure = sum(not outcome.ok and outcome.cost is None for outcome in outcomes)
    parts = [f"Cost {known:g}"]
    if unpriced:
        parts.append(f"and {count(unpriced, 'picture')} of unknown price (set IMAGEGEN_PRICES)")
    if unsure:
        parts.append(f"and {count(unsure, 'request')} without a picture that may be billed")
    return ", ".join(parts) + "."


def _dry_run(pipeline: Pipeline, scan: ScanResult, _source: str, options: dict[str, Any]) -> bool:
    """Print what the batch would do and cost; returns whether a prompt cannot be read."""
    prompts = scan.prompts[: options["limit"]]
    forecast = pipeline.dry_run_images(
        prompts, _parameters(pipeline, options), regenerate=options["regenerate"]
    )
    for key, fate in forecast.fates.items():
        click.echo(f"{fate} {key}")
    counts = Counter(forecast.fates.values())
    click.echo(", ".join(f"{n} to {fate}" for fate, n in counts.items()) + ".")
    if forecast.cost is None:
        click.echo("The price is unknown: set IMAGEGEN_PRICES to see the cost here.")
    else:
        click.echo(f"Cost: {forecast.cost:g}.")
    _print_budget(pipeline, forecast.reserve)
    return bool(scan.problems) and options["limit"] is None


def _print_budget(pipeline: Pipeline, reserve: float | None) -> None:
    budget = pipeline.settings.budget
    left = {}
    if budget.run is not None:
        left["run"] = budget.run
    if budget.day is not None:
        left["day"] = max(0.0, budget.day - pipeline.ledger.attempts.spent_today())
    for scope, money in left.items():
        stops = reserve is not None and reserve > money
        ending = "; the batch stops there." if stops else "."
        click.echo(f"The {scope}'s budget has {money:g} left{ending}")
    if left and reserve is None:
        click.echo("With a budget, a request without a known price is not sent.")
