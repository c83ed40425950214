"""``imagegen base-image``: one actor's base image, with the HTTP response on stdout."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.app.base_image import BaseImageAnswer, BaseImageParams
    from imagegen_pipeline.cli.interruptible_pipeline import InterruptiblePipeline

_NEGATIVE = re.compile(r"-\d+")


class _NegativeNumbersCommand(click.Command):
    """Takes ``-1`` as a value. Everything else that begins with ``-`` is an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next((at for at, arg in enumerate(args) if _NEGATIVE.fullmatch(arg)), None)
        if first is not None and "--" not in args[:first]:
            args = [*args[:first], "--", *args[first:]]
        return super().parse_args(ctx, args)


@click.command(cls=_NegativeNumbersCommand, short_help="Generate the base image of one actor.")
@click.argument("actor")
@click.argument("description")
@click.argument("width", type=int, default=1024)
@click.argument("height", type=int, default=1536)
@click.argument("steps", type=int, default=25)
@click.argument("seed", type=int, default=-1)
def base_image(
    actor: str, description: str, width: int, height: int, steps: int, seed: int
) -> None:
    """Generate the base image of ACTOR (a folder name) from a DESCRIPTION.

    WIDTH and HEIGHT are pixels, multiples of 16; the defaults are 1024 and 1536. STEPS is 25 by
    default. SEED is -1 by default, which draws a random one.

    The image is stored at {actors}/ACTOR/base_image/ACTOR_base.png; the image that it replaces
    moves to history/. The same request again reuses the image at no cost.

    Prints the JSON that the HTTP endpoint returns, with the image in base64. An error is in its
    "error" field, and on stderr.

    \b
    imagegen base-image 0100_european_25_male \\
        "european 25 year old male with short brown hair" 1024 1536 25 -1
    """
    from imagegen_pipeline.app.base_image import BaseImageParams
    from imagegen_pipeline.cli.background_reporter import BackgroundReporter
    from imagegen_pipeline.cli.interruptible_pipeline import InterruptiblePipeline

    params = BaseImageParams(actor, description, width, height, steps, seed)
    pipeline = InterruptiblePipeline()
    try:
        with BackgroundReporter(pipeline) as dagster:
            answer = _answer(pipeline, params)
            _print_answer(answer)
            if answer.outcome is not None:
                dagster.report(answer.outcome)
    finally:
        pipeline.close()
    if answer.status_code != 200:
        raise click.exceptions.Exit(2 if answer.status_code == 400 else 1)


def _print_answer(answer: BaseImageAnswer) -> None:
    text = json.dumps(answer.body, ensure_ascii=False, indent=2) + "\n"
    click.echo(text.encode("utf-8", "backslashreplace"), nl=False)
    if answer.status_code != 200:
        click.echo(f"imagegen: {answer.body['error']}", err=True)


def _answer(pipeline: InterruptiblePipeline, params: BaseImageParams) -> BaseImageAnswer:
    from imagegen_pipeline.app.base_image import failed, generate_base_image
    from imagegen_pipeline.cli.signal_messages import interruptible
    from imagegen_pipeline.domain.errors import RequestRefusedError
    from imagegen_pipeline.legacy.logs import open_log

    open_log(pipeline.settings.log_dir)
    with interruptible(pipeline.stop):
        try:
            answer = generate_base_image(pipeline, params)
        except RequestRefusedError as error:
            return failed(400, params, error.sentence)
    outcome = answer.outcome
    if outcome is not None and pipeline.stopped and not outcome.ok:
        return failed(502, params, outcome.reason)
    return answer
