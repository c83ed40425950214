"""``imagegen resolve``: list held items, and decide about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from imagegen_pipeline.ledger import HeldItem
    from imagegen_pipeline.pipeline import Pipeline


@click.command(short_help="List held items, or decide about one; sends nothing.")
@click.argument("key", required=False)
@click.option(
    "--resubmit",
    "decision",
    flag_value="resubmit",
    help="Send KEY again, although its image may have been billed already.",
)
@click.option(
    "--give-up",
    "decision",
    flag_value="give-up",
    help="Never send KEY again automatically; --regenerate and --allow-retry still do.",
)
@click.option(
    "--allow-retry",
    "decision",
    flag_value="allow-retry",
    help="Let KEY be sent again after it was given up or failed too often.",
)
def resolve(key: str | None, decision: str | None) -> None:
    """List the items that are held, or decide about KEY. Sends nothing, costs nothing.

    An item is held when its request was sent and no usable answer came. The image may have been
    billed, so the request is not sent again without your decision. Check the provider's own list
    of jobs first. After --resubmit, the next run that includes the item sends it again, and its
    old attempt is marked as a possible double charge.

    Schedules stop retrying an item after four failures in a row; --allow-retry lets them retry.
    Generating it by hand always works.

    \b
    imagegen resolve
    imagegen resolve db-17 --resubmit
    imagegen generate --source sqlite
    """
    from imagegen_pipeline.pipeline import Pipeline

    if key is None and decision is not None:
        raise click.UsageError(f"--{decision} needs the item's KEY.")
    pipeline = Pipeline()
    try:
        held = [one for one in pipeline.ledger.decisions.held() if key in (None, one.key)]
        if decision is None:
            _list(pipeline, held, key)
        else:
            _decide(pipeline, str(key), decision)
    finally:
        pipeline.close()


def _list(pipeline: Pipeline, held: list[HeldItem], key: str | None) -> None:
    from imagegen_pipeline.app.retry_eligibility import failed_items
    from imagegen_pipeline.cli.progress import plain

    final = [one for one in failed_items(pipeline).final if key in (None, one)]
    for item in held:
        click.echo(plain(f"{item.key} ({item.kind}): {item.error} {item.remedy}"))
    for one, last in pipeline.ledger.attempts.newest(final).items():
        click.echo(
            plain(
                f"{one} ({last.error_kind}): It failed again and again, at last so: {last.error} "
                f"Schedules leave it alone until imagegen resolve {one} --allow-retry."
            )
        )
    if not held and not final:
        click.echo(f"{key} is not held." if key else "Nothing is held.")


def _decide(pipeline: Pipeline, key: str, decision: str) -> None:
    from imagegen_pipeline.ledger import Decision

    pipeline.resolve(key, Decision(decision))
    messages = {
        "resubmit": "is generated again by the next run that asks for it; it may then have "
        "been billed twice.",
        "give-up": f"is given up; `imagegen resolve {key} --allow-retry` reverts that.",
        "allow-retry": "may be made again by the next run that asks for it.",
    }
    click.echo(f"{key} {messages[decision]}")
