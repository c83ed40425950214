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
    help="Address to listen at. Addresses that other machines reach need IMAGEGEN_TOKEN.",
)
@click.option(
    "--port",
    metavar="P",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one. Set IMAGEGEN_GALLERY_URL for Dagster's links.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    help="A host name accepted beside the server's addresses, such as a proxy's. Repeatable.",
)
@click.option(
    "--max-waiting",
    metavar="N",
    default=500,
    show_default=True,
    type=click.IntRange(min=1),
    help="Images that may wait for a slot; more are refused with status 429.",
)
def serve(host: str, port: int, allowed_hosts: tuple[str, ...], max_waiting: int) -> None:
    """Serve the gallery, and the endpoint for base images, until Ctrl-C.

    The first line on stdout is the gallery's address; /docs there documents the API. Generations
    continue when the browser or program that requested them disconnects.

    \b
    imagegen serve
    curl -s localhost:8000/api/generate-base-image -H 'Content-Type: application/json' \\
      -d '{"actorName": "0100_european_25_male", "description": "european 25 year old male"}'

    To allow other machines: IMAGEGEN_TOKEN=$(openssl rand -hex 24) imagegen serve --host 0.0.0.0,
    then log in with the token, or send it as `Authorization: Bearer …`. Pages of other sites
    may call the API if IMAGEGEN_CORS names their origins.

    On Ctrl-C and SIGTERM the server sends nothing more and waits for open requests. Jobs that
    run at a provider stay there; the next start collects them.
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

        def print_address(url: str) -> None:
            click.echo(f"Gallery: {url}  API: {url}/docs")
            if pipeline.settings.simulator:
                click.echo("Using the local simulator: nothing is bought.", err=True)
            for line in _missing_keys(pipeline):
                click.echo(line, err=True)

        server = GalleryServer(pipeline, options, on_ready=print_address)
        with interruptible(server.stop) as interrupts:
            server.serve_until_stopped()
    finally:
        pipeline.close()
    if interrupts.first == signal.SIGINT:
        raise click.exceptions.Exit(128 + signal.SIGINT)  # as shells do


def _missing_keys(pipeline: Pipeline) -> list[str]:
    """A line for each kind of image that cannot be generated for lack of a key."""
    from imagegen_pipeline.domain.errors import SetupError

    lines = []
    kinds: tuple[tuple[str, ItemKind], ...] = (
        ("Images of prompts", "prompt"),
        ("Base images", "actor"),
    )
    for images, kind in kinds:
        try:
            pipeline.check_provider(kind)
        except SetupError as error:
            lines.append(f"{images} can be viewed, not generated: {error.sentence}")
    return lines
