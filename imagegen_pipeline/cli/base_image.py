"""``imagegen base-image``: one actor's base image, with the HTTP answer on stdout."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.app.base_image import BaseImageAnswer, BaseImageParams
    from imagegen_pipeline.cli.interruptible_pipeline import InterruptiblePipeline

_NEGATIVE = re.compile(r"-\d+")


class _NegativesAreValues(click.Command):
    """``-1`` is a seed here, not an option; anything else that begins with ``-`` still is one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next((at for at, arg in enumerate(args) if _NEGATIVE.fullmatch(arg)), None)
        if first is not None and "--" not in args[:first]:
            args = [*args[:first], "--", *args[first:]]
        return super().parse_args(ctx, args)


@click.command(cls=_NegativesAreValues, short_help="Make the base image of one actor.")
@click.argument("actor")
@click.argument("description")
@click.argument("width", type=int, default=1024)
@click.argument("height", type=int, default=1536)
@click.argument("steps", type=int, default=25)
@click.argument("seed", type=int, default=-1)
def base_image(
    actor: str, description: str, width: int, height: int, steps: int, seed: int
) -> None:
    """Make the base image of ACTOR (a folder name) from a DESCRIPTION.

    WIDTH and HEIGHT are pixels in steps of 16 (1024 1536), STEPS are 25, and SEED is -1 for
    a random one. The picture lands at {actors}/ACTOR/base_image/ACTOR_base.png; the one it
    replaces is kept in history/. The same wish again reuses the picture at no cost.

    Prints the JSON that the HTTP endpoint answers, the picture in base64 with it. What went
    wrong stands in its "error", and on stderr.

    \b
    imagegen base-image 0100_european_25_male \\
        "european 25 year old male with short brown hair" 1024 1536 25 -1
    """
    from imagegen_pipeline.app.base_image import BaseImageParams
    from imagegen_pipeline.cli.interruptible_pipeline import InterruptiblePipeline

    params = BaseImageParams(actor, description, width, height, steps, seed)
    pipeline = InterruptiblePipeline()
    try:
        answer = _answer(pipeline, params)
    finally:
        pipeline.close()
    text = json.dumps(answer.body, ensure_ascii=False, indent=2) + "\n"
    click.echo(text.encode("utf-8", "backslashreplace"), nl=False)
    if answer.status_code != 200:
        click.echo(f"imagegen: {answer.body['error']}", err=True)
        raise click.exceptions.Exit(2 if answer.status_code == 400 else 1)


def _answer(pipeline: InterruptiblePipeline, params: BaseImageParams) -> BaseImageAnswer:
    from imagegen_pipeline.app.base_image import failed, generate_base_image
    from imagegen_pipeline.cli.signal_messages import interruptible
    from imagegen_pipeline.dagster_ext.reporter import DagsterReporter
    from imagegen_pipeline.domain.errors import RequestRefusedError
    from imagegen_pipeline.legacy.logs import open_log

    open_log(pipeline.settings.log_dir)
    with interruptible(pipeline.stop):
        try:
            answer = generate_base_image(pipeline, params)
        except RequestRefusedError as error:
            return failed(400, params, error.sentence)
    outcome = answer.outcome
    if outcome is None:
        return answer
    if pipeline.stopped and not outcome.ok:
        return failed(502, params, outcome.reason, outcome)
    with DagsterReporter(pipeline, partial(click.echo, err=True)) as dagster:
        dagster.report(outcome)
    return answer
