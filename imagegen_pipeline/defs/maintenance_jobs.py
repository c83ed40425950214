"""Jobs that keep the house: clean-up, with a dry run by default, and backup."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from imagegen_pipeline.defs.resources import PipelineResource
from imagegen_pipeline.domain.errors import SetupError, StoreError

if TYPE_CHECKING:
    from imagegen_pipeline.maintenance.backup import BackupReport
    from imagegen_pipeline.maintenance.plan import CleanUpPlan, RetentionPolicy
    from imagegen_pipeline.pipeline import Pipeline

FREE = {"cost": "free"}
_LISTED = 50
_TOLD_EVERY = 1000
"""Files of a backup between two lines of its log."""
_DAYS = "0 leaves them alone."


class CleanUpConfig(dg.Config):
    """How old, in days, what is cleaned up must be; and whether it is only looked at."""

    dry_run: bool = Field(
        True, description="Only say what would go, and why. Switch it off to have it done."
    )
    logs: float = Field(90, ge=0, description=f"JSON logs and pieces of the running log. {_DAYS}")
    quarantine: float = Field(
        90, ge=0, description=f"Bytes that came in place of a picture. {_DAYS}"
    )
    orphans: float = Field(
        7, ge=0, description=f"Sidecars, previews and notes that nothing needs. {_DAYS}"
    )
    spares: float = Field(
        1, ge=0, description=f"Half-written files of processes that died. {_DAYS}"
    )
    pictures: float = Field(
        0,
        ge=0,
        description="Pictures that are neither current nor approved: moved into a ZIP, and back "
        f"when they are asked for. {_DAYS}",
    )
    strays: bool = Field(
        False,
        description="Move pictures of this program that no attempt names into a ZIP too. Not after "
        "a restore, and not if two ledgers share a folder.",
    )
    dagster_runs: float = Field(
        0,
        ge=0,
        description="What steps printed, and runs that nothing rests on any more, in Dagster's own "
        f"records; at least 7. {_DAYS}",
    )

    def rules(self) -> "RetentionPolicy":
        """The ages as the clean-up takes them."""
        from imagegen_pipeline.maintenance.plan import RetentionPolicy

        names = ("logs", "quarantine", "orphans", "spares", "pictures")
        ages = {name: getattr(self, name) or None for name in names}
        return RetentionPolicy(strays=self.strays, **ages)


class BackupConfig(dg.Config):
    """Where a backup goes, and how many stay."""

    folder: str = Field(
        "", description="The folder of backups, on another disk best; empty: IMAGEGEN_BACKUP_DIR."
    )
    keep: int = Field(7, ge=1, description="How many backups stay; older ones are removed.")
    sources: bool = Field(True, description="Back up prompts and actors too.")


@dg.op(tags=FREE, description="Cleans up what is old or left over, or says what it would do.")
def clean_up_op(
    context: dg.OpExecutionContext, config: CleanUpConfig, pipeline: PipelineResource
) -> None:
    """Clean up by a plan, which the run's metadata shows; with ``dry_run`` nothing else is done."""
    from imagegen_pipeline.dagster_ext.old_runs import delete_old_runs, plan_old_runs
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.maintenance.clean_up import plan_clean_up

    with typed_failure():
        work = pipeline.get()
        plan = plan_clean_up(work, config.rules())
        metadata = _plan_metadata(plan)
        runs = plan_old_runs(context.instance, config.dagster_runs) if config.dagster_runs else None
        if runs is not None:
            metadata["Dagster's runs"] = dg.MetadataValue.text(runs.sentence)
        for note in plan.notes:
            context.log.warning(note)
        failed: list[str] = []
        if not config.dry_run:
            failed = _carried_out(context, work, plan)
            if runs is not None:
                deleted = delete_old_runs(context.instance, runs)
                metadata["runs deleted"] = dg.MetadataValue.int(deleted)
        metadata["dry run"] = dg.MetadataValue.bool(config.dry_run)
        context.add_output_metadata(metadata)
        if failed:
            raise StoreError(f"{len(failed)} files resisted; the first: {failed[0]}", remedy="")


def _plan_metadata(plan: "CleanUpPlan") -> dict[str, dg.MetadataValue]:
    lines = ["| what | deed | files | MB |", "| --- | --- | ---: | ---: |"]
    lines += [
        f"| {part} | {deed} | {found.files} | {found.bytes / 2**20:.1f} |"
        for (part, deed), found in plan.sums().items()
    ]
    files = [f"- `{going.file}`: {going.deed}, {going.why}" for going in plan.goings[:_LISTED]]
    if len(plan.goings) > _LISTED:
        files.append(f"- … and {len(plan.goings) - _LISTED} more")
    return {
        "plan": dg.MetadataValue.md("\n".join(lines) if plan.goings else "nothing"),
        "files": dg.MetadataValue.md("\n".join(files) or "none"),
        "not ours, left alone": dg.MetadataValue.int(len(plan.not_ours)),
        "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in plan.notes) or "none"),
    }


def _carried_out(
    context: dg.OpExecutionContext, work: "Pipeline", plan: "CleanUpPlan"
) -> list[str]:
    """Do it; returns what failed."""
    from imagegen_pipeline.maintenance.clean_up import carry_out

    failed: list[str] = []
    done = freed = 0
    for one in carry_out(work, plan):
        if one.error:
            failed.append(one.error)
            context.log.error(one.error)
        elif one.kept:
            context.log.info(f"Left: {one.going.file}, since {one.kept}.")
        else:
            done, freed = done + 1, freed + one.going.bytes
    context.log.info(f"Done with {done} files, {freed / 2**20:.1f} MB; {len(failed)} failed.")
    return failed


@dg.op(tags=FREE, description="Backs up pictures, ledger and results.")
def backup_op(
    context: dg.OpExecutionContext, config: BackupConfig, pipeline: PipelineResource
) -> None:
    """Back everything up into a new folder; what has not changed takes no room."""
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.maintenance.backup import back_up

    with typed_failure():
        work = pipeline.get()
        folder = Path(config.folder) if config.folder else work.settings.backup_dir
        if folder is None:
            raise SetupError(
                "No folder is named for the backup.",
                remedy="Set IMAGEGEN_BACKUP_DIR, or name one in the run's configuration.",
            )

        def tell(done: int, total: int) -> None:
            if done % _TOLD_EVERY == 0:
                context.log.info(f"{done} of {total} files.")

        folder = work.settings.root / folder
        report = back_up(work, folder, keep=config.keep, sources=config.sources, tell=tell)
        context.add_output_metadata(_backup_metadata(report))
        for line in report.missing[:_LISTED]:
            context.log.warning(f"On no disk: {line}")
        if report.unread:
            raise StoreError(
                f"{len(report.unread)} files could not be read, and are not in the backup; the "
                f"first: {report.unread[0]}",
                remedy="Repair their permissions, then run this again.",
            )


def _backup_metadata(report: "BackupReport") -> dict[str, dg.MetadataValue]:
    return {
        "backup": dg.MetadataValue.path(str(report.folder)),
        "pictures": dg.MetadataValue.int(report.pictures),
        "files copied": dg.MetadataValue.int(report.copied),
        "MB copied": dg.MetadataValue.float(round(report.copied_bytes / 2**20, 1)),
        "files as in the backup before": dg.MetadataValue.int(report.linked),
        "pictures on no disk": dg.MetadataValue.int(len(report.missing)),
        "older backups removed": dg.MetadataValue.int(len(report.removed)),
    }


@dg.job(
    tags=FREE,
    description="Old logs, quarantine, leftovers; old pictures and Dagster's own old runs if asked "
    "for. By default a dry run, which only says what would go. Never touches what is current, "
    "approved, or not this program's.",
)
def clean_up() -> None:
    """Cleans up, or says what it would do."""
    clean_up_op()


@dg.job(
    tags=FREE,
    description="Pictures, ledger, results, prompts and actors into a new folder of "
    "IMAGEGEN_BACKUP_DIR. `imagegen restore` puts them back.",
)
def backup() -> None:
    """Backs everything up."""
    backup_op()


JOBS = [clean_up, backup]
SCHEDULES = [
    dg.ScheduleDefinition(
        name="weekly_clean_up",
        job=clean_up,
        cron_schedule="30 4 * * 0",
        execution_timezone="UTC",
        run_config={"ops": {"clean_up_op": {"config": {"dry_run": False}}}},
        description="Cleans up on Sundays, with the ages of the job's own configuration: no dry "
        "run. Off until it is switched on.",
    ),
    dg.ScheduleDefinition(
        name="nightly_backup",
        job=backup,
        cron_schedule="0 2 * * *",
        execution_timezone="UTC",
        description="Backs up to IMAGEGEN_BACKUP_DIR each night; seven backups stay. Off until it "
        "is switched on.",
    ),
]
