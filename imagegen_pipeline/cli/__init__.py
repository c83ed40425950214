"""The ``imagegen`` command. Exit codes: 0 all good, 1 some items failed, 2 wrong use or set-up.

Only click is imported here. Each command imports what it needs when it runs, so that ``--help``
is fast.
"""

from __future__ import annotations

import atexit
import errno
import gc
from typing import IO, Any

import click

from imagegen_pipeline.cli.backup import backup
from imagegen_pipeline.cli.base_image import base_image
from imagegen_pipeline.cli.clean_up import clean_up
from imagegen_pipeline.cli.collect import collect
from imagegen_pipeline.cli.env import env
from imagegen_pipeline.cli.generate import generate
from imagegen_pipeline.cli.models import models
from imagegen_pipeline.cli.resolve import resolve
from imagegen_pipeline.cli.restore import restore
from imagegen_pipeline.cli.results import results
from imagegen_pipeline.cli.serve import serve
from imagegen_pipeline.cli.sync import sync
from imagegen_pipeline.domain.errors import ImagegenError
from imagegen_pipeline.simulator.command import simulate

EPILOG = """
A first picture, at no cost, on the local simulator:

    IMAGEGEN_SIMULATOR=1 imagegen generate --source prompt --prompt "a lighthouse at dusk"

Exit codes: 0 all good, 1 some items failed, 2 wrong use or set-up.
"""


class _SetupRefusal(click.ClickException):
    """An error of this package, shown as one line; exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"imagegen: {self.message}", file=file, err=file is None)


class _Imagegen(click.Group):
    """Shows errors of this package and of the operating system as one line; exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except ImagegenError as error:
            raise _SetupRefusal(error.sentence) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the output's reader is gone: click exits silently
                raise
            raise _SetupRefusal(_system_sentence(error)) from error


def _system_sentence(error: OSError) -> str:
    what = f"{error.filename}: " if error.filename else ""
    return f"{what}{error.strerror or error}. Free space or repair permissions, then run again."


@click.group(
    cls=_Imagegen,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\n" + EPILOG.strip().replace("\n\n", "\n\n\b\n"),
)
@click.version_option(package_name="imagegen-pipeline", prog_name="imagegen")
def imagegen() -> None:
    """Generate images with paid providers: none is lost, and none is paid for twice.

    Prompts come from a SQLite database, from JSON files or from the command line; base images of
    actors from a description. An image that exists already is reused at no cost.
    """


simulate.short_help = "Run a local server that simulates all providers, at no cost."
for command in (
    generate,
    base_image,
    collect,
    resolve,
    sync,
    models,
    results,
    serve,
    clean_up,
    backup,
    restore,
    simulate,
    env,
):
    imagegen.add_command(command)


def main() -> None:
    """The command's entry point; exits with its code."""
    # Python's last garbage collections take half a second once Dagster is imported.
    atexit.register(gc.freeze)
    imagegen()
