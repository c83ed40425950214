"""``python -m imagegen_pipeline_tests.fuzz.chaos``: the long runs by hand, and their table."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import click

from imagegen_pipeline_tests.fuzz.chaos.harness import Plan, Run, run
from imagegen_pipeline_tests.fuzz.chaos.table import table
from imagegen_pipeline_tests.fuzz.chaos.variants import VARIANTS


@click.command()
@click.option("--variant", "names", multiple=True, type=click.Choice(list(VARIANTS)))
@click.option("--items", default=200, show_default=True, help="Items of each round.")
@click.option("--kills", default=100, show_default=True, help="Kills of each variant.")
@click.option("--seed", default=1, show_default=True, help="Seed of the random kill points.")
@click.option(
    "--table", "target", type=click.Path(path_type=Path), help="Where to write the table."
)
@click.option("--keep", type=click.Path(path_type=Path), help="A folder to leave everything in.")
def main(
    names: tuple[str, ...],
    items: int,
    kills: int,
    seed: int,
    target: Path | None,
    keep: Path | None,
) -> None:
    """Kill and restart a batch of each variant (by default all); exit 1 if a rule is broken."""
    runs: list[Run] = []
    for name in names or VARIANTS:
        done = _run(Plan(VARIANTS[name], items=items, kills=kills, seed=seed), keep)
        runs.append(done)
        click.echo(f"{name}: the kills fell on {dict(done.killed_in.most_common())}")
        click.echo(f"{name}: half-written hidden files left behind: {done.evidence.leftovers}")
        click.echo(done.report or f"{name}: all rules hold, {done.seconds:.0f} s")
        if target is not None:
            target.write_text(table(runs), encoding="utf-8")
    click.echo(table(runs))
    if any(done.report for done in runs):
        raise click.exceptions.Exit(1)


def _run(plan: Plan, keep: Path | None) -> Run:
    with contextlib.ExitStack() as stack:
        base = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return run(plan, base.absolute() / plan.variant.name, log=click.echo)


if __name__ == "__main__":
    main()
