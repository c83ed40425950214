"""``imagegen generate``: pictures from prompts."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.generation import Outcome
    from imagegen_pipeline.domain.parameters import PromptParameters
    from imagegen_pipeline.domain.prompts import Prompt
    from imagegen_pipeline.pipeline import Found, Pipeline


@click.command(epilog="What is made already, with the same parameters, is reused at no cost.")
@click.option(
    "--source",
    type=click.Choice(["sqlite", "json", "prompt"]),
    required=True,
    help="Where the prompts are: the database, the folder of JSON files, or --prompt.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N, in source order.")
@click.option(
    "--delay",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="At least S seconds between two submits; reused pictures do not wait.",
)
@click.option(
    "--input-dir",
    type=click.Path(path_type=Path),
    help="The folder of JSON files, instead of IMAGEGEN_PROMPT_JSON_DIR.",
)
@click.option("--prompt", "text", help="The text of a single picture, with --source prompt.")
@click.option(
    "--api-key",
    help="Duomi's key for this call. Better set DUOMI_API_KEY: other users can see arguments.",
)
@click.option("--model", help="Duomi's model; `imagegen models` finds which answer.")
@click.option("--image-size", metavar="WxH", help="Pixels; the default is 1080x1920.")
@click.option("--steps", type=int, help="Inference steps, 1 to 100; the default is 20.")
@click.option("--guidance", type=float, help="Guidance scale, 0 to 20; the default is 7.5.")
@click.option("--seed", type=int, help="The default is 51515151; -1 draws one for each picture.")
@click.option("--negative-prompt", help="What the pictures should not show.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 512),
    help="Pictures in flight at once, instead of IMAGEGEN_CONCURRENCY (8).",
)
@click.option(
    "--regenerate",
    is_flag=True,
    help="Make pictures anew that are there already. Costs money; draws new seeds unless --seed.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be made, reused and spent; send nothing."
)
def generate(source: str, text: str | None, input_dir: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Generate pictures from prompts, many at once."""
    if (source == "prompt") != (text is not None):
        raise click.UsageError(
            "--prompt TEXT goes with --source prompt, and --source prompt with it."
        )
    if input_dir is not None and source != "json":
        raise click.UsageError("--input-dir goes with --source json.")
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    try:
        found = _find(pipeline, source, text, input_dir)
        _run(pipeline, found, source, options)
    finally:
        pipeline.close()


def _find(pipeline: Pipeline, source: str, text: str | None, input_dir: Path | None) -> Found:
    from imagegen_pipeline.domain.errors import SetupError, SourceError
    from imagegen_pipeline.pipeline import Found
    from imagegen_pipeline.sources.typed_prompts import typed_prompt

    if source == "prompt":
        try:
            prompt = typed_prompt(text or "")
        except SourceError as error:
            raise SetupError(str(error), remedy=error.remedy) from None
        pipeline.register(prompt)
        return Found(prompts=(prompt,))
    found = pipeline.scan_prompts(
        database=source == "sqlite",
        json_files=source == "json",
        json_dir=input_dir.absolute() if input_dir else None,
    )
    for problem in found.problems:
        click.echo(f"unreadable {problem.line}", err=True)
    if not found.prompts:
        raise click.exceptions.Exit(_say_nothing_found(found, source))
    return found


def _say_nothing_found(found: Found, source: str) -> int:
    if not found.problems:
        click.echo(f"imagegen: there are no prompts to read (--source {source}).", err=True)
    return 2 if found.unreadable else (1 if found.problems else 0)


def _parameters(options: dict[str, Any]) -> PromptParameters:
    from dataclasses import replace

    from imagegen_pipeline.domain.parameters import PromptParameters

    names = ("model", "image_size", "steps", "guidance", "seed", "negative_prompt")
    given = {name: options[name] for name in names if options[name] is not None}
    return replace(PromptParameters(), **given)


def _run(pipeline: Pipeline, found: Found, source: str, options: dict[str, Any]) -> None:
    from imagegen_pipeline.cli.progress import run_batch
    from imagegen_pipeline.generation_log import open_log

    prompts = found.prompts[: options["limit"]]
    parameters = _parameters(options)
    order = pipeline.order(
        concurrency=options["concurrency"],
        delay=options["delay"],
        regenerate=options["regenerate"],
        seed_given=options["seed"] is not None,
    )
    if options["dry_run"]:
        _dry_run(pipeline, prompts, parameters, regenerate=options["regenerate"])
        return
    if options["api_key"]:
        pipeline.use(pipeline.duomi_client(options["api_key"]))
    open_log(pipeline.settings.log_dir)
    outcomes: dict[str, Outcome] = {}
    batch = pipeline.generate_images(prompts, parameters, order)
    tell_dagster = _dagster(pipeline)

    def each(outcome: Outcome) -> None:
        outcomes[outcome.item_key] = outcome
        tell_dagster(outcome)

    interrupted = run_batch(batch, len(prompts), each)
    problems = found.problems if options["limit"] is None else ()
    _finish(pipeline, prompts, outcomes, [_problem(p, source) for p in problems], interrupted)


def _problem(problem: Any, source: str) -> dict[str, Any]:  # noqa: ANN401 - a SourceProblem
    from imagegen_pipeline.generation_log import problem_result

    return problem_result(problem, "database" if source == "sqlite" else source)


def _dagster(pipeline: Pipeline) -> Any:  # noqa: ANN401 - a function of one outcome
    """What tells the project's Dagster instance of each picture, when there is one."""
    from imagegen_pipeline.defs.instance import open_instance
    from imagegen_pipeline.defs.reporting import RunlessReporter

    instance = open_instance()
    if instance is None:
        return lambda _outcome: False
    report = RunlessReporter(instance, pipeline).report
    silent = False

    def tell(outcome: Outcome) -> None:
        nonlocal silent
        if silent:
            return
        try:
            report(outcome)
        except Exception as error:  # noqa: BLE001 - whatever ails Dagster must cost no picture
            silent = True
            click.echo(
                f"Dagster cannot be told ({type(error).__name__}: {error}). The pictures are "
                "kept; run `imagegen sync` when it works again.",
                err=True,
            )

    return tell


def _finish(
    pipeline: Pipeline,
    prompts: tuple[Prompt, ...],
    outcomes: dict[str, Outcome],
    unreadable: list[dict[str, Any]],
    interrupted: bool,
) -> None:
    from imagegen_pipeline.cli.progress import count_line
    from imagegen_pipeline.generation_log import user_result, write_results_log

    results = [user_result(p, outcomes[p.key]) for p in prompts if p.key in outcomes]
    results += unreadable
    log = write_results_log(results, pipeline.settings.log_dir, time.time())
    counts = Counter(result["status"] for result in results)
    click.echo(f"{count_line(counts)}. {_cost_line(list(outcomes.values()))}")
    click.echo(f"pictures: {pipeline.settings.output_dir}")
    click.echo(f"results:  {log}")
    if pipeline.settings.simulator:
        click.echo("The simulator made these: nothing was bought.")
    if interrupted or not all(result["success"] for result in results):
        raise click.exceptions.Exit(1)


def _cost_line(outcomes: list[Outcome]) -> str:
    known = sum(outcome.cost or 0.0 for outcome in outcomes)
    unknown = sum(outcome.ok and outcome.cost is None for outcome in outcomes)
    line = f"Cost {known:g}"
    if unknown:
        line += f", and {unknown} pictures of unknown price (set IMAGEGEN_PRICES)"
    return line + "."


def _dry_run(
    pipeline: Pipeline,
    prompts: tuple[Prompt, ...],
    parameters: PromptParameters,
    *,
    regenerate: bool,
) -> None:
    forecast = pipeline.foresee_images(prompts, parameters, regenerate=regenerate)
    for key, fate in forecast.fates.items():
        click.echo(f"{fate} {key}", err=True)
    counts = Counter(forecast.fates.values())
    click.echo(", ".join(f"{n} to {fate}" for fate, n in counts.items()) + ".")
    if forecast.cost is None:
        click.echo("The price is not known: set IMAGEGEN_PRICES to have it said here.")
    else:
        click.echo(f"Cost: {forecast.cost:g}.")
