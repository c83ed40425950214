"""The ``imagegen`` command. Exit codes: 0 all good, 1 some items failed, 2 wrong use or set-up.

Only click is imported here: each command imports what it needs when it runs, so that
``--help`` answers at once.
"""

from __future__ import annotations

import sys

import click

from imagegen_pipeline.cli.base_image import base_image
from imagegen_pipeline.cli.environment import env
from imagegen_pipeline.cli.generate import generate
from imagegen_pipeline.cli.models import models
from imagegen_pipeline.cli.results import results
from imagegen_pipeline.cli.sync import sync
from imagegen_pipeline.simulator.command import simulate

EPILOG = """
A first picture, at no cost, on the local simulator:

    IMAGEGEN_SIMULATOR=1 imagegen generate --source prompt --prompt "a lighthouse at dusk"

Exit codes: 0 all good, 1 some items failed, 2 wrong use or set-up.
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\n" + EPILOG.strip().replace("\n\n", "\n\n\b\n"),
)
@click.version_option(package_name="imagegen-pipeline", prog_name="imagegen")
def imagegen() -> None:
    """Pictures by the hundred from paid services: never lost, never paid for twice.

    Prompts come from a SQLite database, from JSON files or from the command line; base
    images of actors from a description. What is made already is reused at no cost.
    """


for command in (generate, base_image, sync, models, results, simulate, env):
    imagegen.add_command(command)


def main() -> None:
    """The command's entry: typed errors become one line and exit code 2."""
    from imagegen_pipeline.domain.errors import ImagegenError

    try:
        imagegen.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ImagegenError as error:
        click.echo(f"imagegen: {error.sentence}", err=True)
        sys.exit(2)
