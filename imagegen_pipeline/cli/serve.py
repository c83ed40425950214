"""``imagegen serve``: the HTTP endpoint and the gallery."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.domain.requests import ItemKind
    from imagegen_pipeline.pipeline import Pipeline


@click.command(short_help="Serve the HTTP endpoint and the gallery.")
@click.option(
    "--host",
    metavar="H",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at. Any but this machine's own wants IMAGEGEN_TOKEN to be set.",
)
@click.option(
    "--port",
    metavar="P",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one. Dagster's links lead to IMAGEGEN_GALLERY_URL.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    help="A name that the server goes by beside its addresses, such as a proxy's. Repeat it.",
)
@click.option(
    "--max-waiting",
    metavar="N",
    default=500,
    show_default=True,
    type=click.IntRange(min=1),
    help="Pictures that may wait for their turn; one more is answered with 429.",
)
def serve(host: str, port: int, allowed_hosts: tuple[str, ...], max_waiting: int) -> None:
    """Serve the gallery, and the endpoint for base images, until Ctrl-C.

    The first line on stdout is the gallery's address; /docs there describes the API. Pictures
    that a browser or a program asks for are made to their end, whether or not it waits.

    \b
    imagegen serve
    curl -s localhost:8000/api/generate-base-image -H 'Content-Type: application/json' \\
      -d '{"actorName": "0100_european_25_male", "description": "european 25 year old male"}'

    From other machines: IMAGEGEN_TOKEN=$(openssl rand -hex 24) imagegen serve --host 0.0.0.0,
    then log in with the token, or send it as `Authorization: Bearer …`. Pages of other sites
    may call the API when IMAGEGEN_CORS names their origins.

    Ctrl-C and SIGTERM: nothing more is sent, answers under way are waited for, and a job at a
    service is left there, where the next start collects it.
    """
    from imagegen_pipeline.cli.signal_messages import interruptible
    from imagegen_pipeline.pipeline import Pipeline
    from imagegen_pipeline.web.options import ServeOptions
    from imagegen_pipeline.web.server import GalleryServer

    pipeline = Pipeline()
    try:
        options = ServeOptions.of(
            pipeline.settings,
            host=host,
            port=port,
            allowed_hosts=allowed_hosts,
            max_waiting=max_waiting,
        )

        def say(url: str) -> None:
            click.echo(f"Gallery: {url}  API: {url}/docs")
            if pipeline.settings.simulator:
                click.echo("On the local simulator: nothing is bought.", err=True)
            for line in _cannot_make(pipeline):
                click.echo(line, err=True)

        server = GalleryServer(pipeline, options, on_ready=say)
        with interruptible(server.stop) as interrupts:
            server.answer()
    finally:
        pipeline.close()
    if interrupts.first == signal.SIGINT:
        raise click.exceptions.Exit(128 + signal.SIGINT)  # as a shell knows Ctrl-C


def _cannot_make(pipeline: Pipeline) -> list[str]:
    """What can only be looked at, since a live key is missing."""
    from imagegen_pipeline.domain.errors import SetupError

    lines = []
    kinds: tuple[tuple[str, ItemKind], ...] = (
        ("Pictures of prompts", "prompt"),
        ("Base images", "actor"),
    )
    for what, kind in kinds:
        try:
            pipeline.check_provider(kind)
        except SetupError as error:
            lines.append(f"{what} can be looked at, not made: {error.sentence}")
    return lines
