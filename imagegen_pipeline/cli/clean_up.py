"""``imagegen clean-up``: remove or archive old files that nothing needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagegen_pipeline.dagster_ext.old_runs import OldRuns
    from imagegen_pipeline.maintenance.plan import CleanUpPlan
    from imagegen_pipeline.pipeline import Pipeline

_MAX_NAMED = 5
"""Files of each part that are named without --all."""


def _parse_days(_ctx: click.Context, param: click.Parameter, value: str) -> float | None:
    """A number of days, or None for ``never``."""
    if value.strip().lower() == "never":
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a number of days nor 'never'.", param=param
        ) from None


def _age_option(name: str, default: str, text: str) -> Callable[..., click.Command]:
    return click.option(
        f"--{name}",
        default=default,
        show_default=True,
        metavar="DAYS",
        callback=_parse_days,
        help=f"{text} 'never' keeps them.",
    )


@click.command(short_help="Remove old logs and leftovers; archive old images on request.")
@click.option("--dry-run", is_flag=True, help="Only print the plan.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--all", "show_all", is_flag=True, help="Name every file, not only the first few.")
@_age_option("logs", "90", "Age from which JSON logs and rotated logs are deleted.")
@_age_option("quarantine", "90", "Age from which bytes that are not a usable image are deleted.")
@_age_option("orphans", "7", "Age from which unneeded sidecars, previews and notes are deleted.")
@_age_option("temp-files", "1", "Age from which half-written files of dead processes are deleted.")
@_age_option(
    "pictures",
    "never",
    "Age from which images that are neither current nor approved are moved into a ZIP; they are "
    "extracted when they are needed.",
)
@click.option(
    "--untracked",
    is_flag=True,
    help="Also move images of this program that no attempt of the ledger names into a ZIP. Do not "
    "use it after a restore, or if two ledgers share a folder.",
)
@_age_option(
    "dagster",
    "never",
    "Age from which the output of steps, and runs that nothing needs, are deleted from Dagster's "
    "own records.",
)
def clean_up(
    *,
    dry_run: bool,
    yes: bool,
    show_all: bool,
    untracked: bool,
    dagster: float | None,
    **ages: float | None,
) -> None:
    """Clean up old files: print the plan with reasons, ask for confirmation, carry it out.

    Current and approved images are never touched, and no whole image is deleted: with --pictures,
    older ones are moved into {data}/archive/pictures-….zip. Files that do not belong to this
    program are never touched. Exit code 1 means that some actions failed; the others were carried
    out.

    \b
    imagegen clean-up --dry-run
    imagegen clean-up --logs 30 --yes
    imagegen clean-up --pictures 180
    """
    from contextlib import closing

    from imagegen_pipeline.maintenance.clean_up import plan_clean_up
    from imagegen_pipeline.maintenance.plan import RetentionPolicy
    from imagegen_pipeline.pipeline import Pipeline

    pipeline = Pipeline()
    with closing(pipeline), _OldRunsCleanUp(dagster) as runs:
        plan = plan_clean_up(pipeline, RetentionPolicy(untracked=untracked, **ages))
        _print_plan(plan, show_all=show_all)
        runs.print_plan()
        if dry_run or not (plan.actions or runs):
            return
        if not yes:
            click.confirm("Continue?", abort=True, err=True)
        succeeded = _carry_out(pipeline, plan)
        runs.delete()
    if not succeeded:
        raise click.exceptions.Exit(1)


def _print_plan(plan: CleanUpPlan, *, show_all: bool) -> None:
    from imagegen_pipeline.cli.file_progress import format_size
    from imagegen_pipeline.cli.progress import count, plain

    for (part, kind), totals in plan.totals().items():
        click.echo(f"{part}: {kind} {count(totals.files, 'file')}, {format_size(totals.bytes)}")
        actions = [one for one in plan.actions if (one.part, one.type) == (part, kind)]
        for action in actions if show_all else actions[:_MAX_NAMED]:
            click.echo(plain(f"  {action.file} ({action.reason})"))
        if len(actions) > _MAX_NAMED and not show_all:
            click.echo(f"  … and {len(actions) - _MAX_NAMED} more; --all names them.")
    if plan.not_ours:
        click.echo(f"not ours, kept: {count(len(plan.not_ours), 'file')}")
        for file in plan.not_ours if show_all else plan.not_ours[:_MAX_NAMED]:
            click.echo(plain(f"  {file}"))
    for note in plan.notes:
        click.echo(plain(f"note: {note}"))
    if not plan.actions:
        click.echo("The pipeline has nothing to clean up.")


def _carry_out(pipeline: Pipeline, plan: CleanUpPlan) -> bool:
    """Carry out the plan and print the result; returns whether no action failed."""
    from imagegen_pipeline.cli.file_progress import FileProgress, format_size
    from imagegen_pipeline.cli.progress import count, plain
    from imagegen_pipeline.maintenance.clean_up import carry_out

    done = skipped = failed = size = 0
    with FileProgress("file", len(plan.actions)) as progress:
        for result in carry_out(pipeline, plan):
            progress.advance()
            if result.error:
                failed += 1
                progress.print(plain(f"failed: {result.error}"))
            elif result.skipped:
                skipped += 1
                progress.print(plain(f"skipped: {result.action.file}: {result.skipped}"))
            else:
                done, size = done + 1, size + result.action.bytes
    click.echo(
        f"Cleaned up {count(done, 'file')}, {format_size(size)}; {skipped} skipped, "
        f"{failed} failed."
    )
    return failed == 0


class _OldRunsCleanUp:
    """The clean-up of Dagster's own records; Dagster is imported only if ``days`` are given."""

    def __init__(self, days: float | None) -> None:
        self._days = days
        self._instance: Any = None
        self._plan: OldRuns | None = None

    def __enter__(self) -> _OldRunsCleanUp:
        if self._days is not None:
            from imagegen_pipeline.cli.dagster_instance import open_records

            self._instance = open_records()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._instance is not None:
            self._instance.dispose()

    def __bool__(self) -> bool:
        return bool(self._plan)

    def print_plan(self) -> None:
        """Plan the deletion and print it."""
        if self._days is not None:
            from imagegen_pipeline.dagster_ext.old_runs import plan_old_runs

            self._plan = plan_old_runs(self._instance, self._days)
            click.echo(self._plan.sentence)

    def delete(self) -> None:
        """Carry out the plan."""
        if self._plan:
            from imagegen_pipeline.cli.file_progress import FileProgress
            from imagegen_pipeline.cli.progress import count
            from imagegen_pipeline.dagster_ext.old_runs import delete_old_runs

            with FileProgress("run", len(self._plan.runs)) as progress:
                deleted = delete_old_runs(self._instance, self._plan, each=progress.advance)
            click.echo(f"Deleted {count(deleted, 'run')} from Dagster's records.")
