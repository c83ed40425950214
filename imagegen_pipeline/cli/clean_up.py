"""``imagegen clean-up``: what is old or left over goes; nothing that is wanted does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagegen_pipeline.dagster_ext.old_runs import OldRuns
    from imagegen_pipeline.maintenance.plan import CleanUpPlan
    from imagegen_pipeline.pipeline import Pipeline

_SHOWN = 5
"""Files that are named of each part, unless all are asked for."""


def _days(_ctx: click.Context, param: click.Parameter, value: str) -> float | None:
    """A number of days, or ``never``."""
    if value.strip().lower() == "never":
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a number of days nor 'never'.", param=param
        ) from None


def _age(name: str, default: str, what: str) -> Callable[..., click.Command]:
    return click.option(
        f"--{name}",
        default=default,
        show_default=True,
        metavar="DAYS",
        callback=_days,
        help=f"{what} 'never' leaves them alone.",
    )


@click.command(short_help="Clean up old logs, leftovers and, if asked, old pictures.")
@click.option("--dry-run", is_flag=True, help="Only say what would go, and why.")
@click.option("--yes", is_flag=True, help="Do not ask before it begins.")
@click.option("--all", "show_all", is_flag=True, help="Name every file, not only the first few.")
@_age("logs", "90", "JSON logs, and pieces of the running log, that are older go.")
@_age("quarantine", "90", "Bytes that came in place of a picture, and are older, go.")
@_age("orphans", "7", "Sidecars, previews and notes that nothing needs, and are older, go.")
@_age("spares", "1", "Half-written files of processes that died, and are older, go.")
@_age(
    "pictures",
    "never",
    "Pictures that are older, neither current nor approved, are moved into a ZIP; they come back "
    "when they are asked for.",
)
@click.option(
    "--strays",
    is_flag=True,
    help="Move pictures of this program that no attempt of the ledger names into a ZIP, too. "
    "Not after a restore, and not if two ledgers share a folder.",
)
@_age(
    "dagster",
    "never",
    "What steps printed, and runs that nothing rests on any more, go from Dagster's own records "
    "when they are older.",
)
def clean_up(
    *,
    dry_run: bool,
    yes: bool,
    show_all: bool,
    strays: bool,
    dagster: float | None,
    **ages: float | None,
) -> None:
    """Clean up what is old or left over: first it says what would go and why, then it asks.

    A picture that is current or approved is never touched, and no whole picture is deleted:
    older ones are moved into {data}/archive/pictures-….zip, if --pictures says so. Files that
    are not this program's are never touched. Exit code 1 means that something could not be
    done; the rest was.

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
    with closing(pipeline), _OldRuns(dagster) as runs:
        plan = plan_clean_up(pipeline, RetentionPolicy(strays=strays, **ages))
        _show(plan, show_all=show_all)
        runs.show()
        if dry_run or not (plan.goings or runs):
            return
        if not yes:
            click.confirm("Go on?", abort=True, err=True)
        is_whole = _carry_out(pipeline, plan)
        runs.delete()
    if not is_whole:
        raise click.exceptions.Exit(1)


def _show(plan: CleanUpPlan, *, show_all: bool) -> None:
    from imagegen_pipeline.cli.file_progress import megabytes
    from imagegen_pipeline.cli.progress import count, plain

    for (part, deed), found in plan.sums().items():
        click.echo(f"{part}: {deed} {count(found.files, 'file')}, {megabytes(found.bytes)}")
        some = [one for one in plan.goings if (one.part, one.deed) == (part, deed)]
        for going in some if show_all else some[:_SHOWN]:
            click.echo(plain(f"  {going.file} ({going.why})"))
        if len(some) > _SHOWN and not show_all:
            click.echo(f"  … and {len(some) - _SHOWN} more; --all names them.")
    if plan.not_ours:
        click.echo(f"not ours, left alone: {count(len(plan.not_ours), 'file')}")
        for file in plan.not_ours if show_all else plan.not_ours[:_SHOWN]:
            click.echo(plain(f"  {file}"))
    for note in plan.notes:
        click.echo(plain(f"note: {note}"))
    if not plan.goings:
        click.echo("Nothing of the pipeline's is to be cleaned up.")


def _carry_out(pipeline: Pipeline, plan: CleanUpPlan) -> bool:
    """Do it; returns whether nothing resisted."""
    from imagegen_pipeline.cli.file_progress import FileProgress, megabytes
    from imagegen_pipeline.cli.progress import count, plain
    from imagegen_pipeline.maintenance.clean_up import carry_out

    done = kept = failed = freed = 0
    with FileProgress("file", len(plan.goings)) as steps:
        for one in carry_out(pipeline, plan):
            steps.next()
            if one.error:
                failed += 1
                steps.say(plain(f"failed: {one.error}"))
            elif one.kept:
                kept += 1
                steps.say(plain(f"left: {one.going.file}, since {one.kept}"))
            else:
                done, freed = done + 1, freed + one.going.bytes
    click.echo(
        f"Done with {count(done, 'file')}, {megabytes(freed)}; {kept} left, {failed} failed."
    )
    return failed == 0


class _OldRuns:
    """What Dagster's own records have that is old; Dagster is imported only if it is asked for."""

    def __init__(self, days: float | None) -> None:
        self._days = days
        self._instance: Any = None
        self._found: OldRuns | None = None

    def __enter__(self) -> _OldRuns:
        if self._days is not None:
            from imagegen_pipeline.cli.dagster_instance import open_records

            self._instance = open_records()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._instance is not None:
            self._instance.dispose()

    def __bool__(self) -> bool:
        return bool(self._found)

    def show(self) -> None:
        """Find what is old, and say what would go."""
        if self._days is not None:
            from imagegen_pipeline.dagster_ext.old_runs import plan_old_runs

            self._found = plan_old_runs(self._instance, self._days)
            click.echo(self._found.sentence)

    def delete(self) -> None:
        """Delete it."""
        if self._found:
            from imagegen_pipeline.cli.file_progress import FileProgress
            from imagegen_pipeline.cli.progress import count
            from imagegen_pipeline.dagster_ext.old_runs import delete_old_runs

            with FileProgress("run", len(self._found.runs)) as steps:
                deleted = delete_old_runs(self._instance, self._found, each=steps.next)
            click.echo(f"Deleted {count(deleted, 'run')} from Dagster's records.")
