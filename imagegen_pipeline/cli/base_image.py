"""``imagegen base-image``: one actor's base image, with the HTTP answer on stdout."""

from __future__ import annotations

import json

import click


@click.command(context_settings={"ignore_unknown_options": True})
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
    a random one. Prints the JSON that the HTTP endpoint answers. The picture lands at
    {actors}/ACTOR/base_image/ACTOR_base.png; the one it replaces is kept in history/.

    \b
    imagegen base-image 0100_european_25_male \\
        "european 25 year old male with short brown hair" 1024 1536 25 -1
    """
    from imagegen_pipeline.base_images import BaseImageWish, failed, generate_base_image
    from imagegen_pipeline.defs.instance import open_instance
    from imagegen_pipeline.defs.reporting import RunlessReporter
    from imagegen_pipeline.domain.errors import RequestRefusedError
    from imagegen_pipeline.pipeline import Pipeline

    wish = BaseImageWish(actor, description, width, height, steps, seed)
    pipeline = Pipeline()
    try:
        try:
            answer = generate_base_image(pipeline, wish)
        except RequestRefusedError as error:
            answer = failed(400, wish, error.sentence)
        if answer.outcome is not None and answer.outcome.ok:
            instance = open_instance()
            if instance is not None:
                RunlessReporter(instance, pipeline).report(answer.outcome)
    finally:
        pipeline.close()
    click.echo(json.dumps(answer.body, ensure_ascii=False, indent=2))
    if answer.status_code != 200:
        raise click.exceptions.Exit(2 if answer.status_code == 400 else 1)
