"""Jobs and schedules of the clean-up (a dry run by default) and the backup."""

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
_MAX_NAMED = 50
_LOG_INTERVAL = 1000
"""Files of a backup between two log lines."""
_ZERO = "0 keeps them."


class CleanUpConfig(dg.Config):
    """The age in days from which files are cleaned up, and whether it is a dry run."""

    dry_run: bool = Field(True, description="Only show the plan. Switch it off to carry it out.")
    logs: float = Field(90, ge=0, description=f"JSON logs and rotated logs. {_ZERO}")
    quarantine: float = Field(90, ge=0, description=f"Bytes that are not a usable image. {_ZERO}")
    orphans: float = Field(
        7, ge=0, description=f"Sidecars, previews and notes that nothing needs. {_ZERO}"
    )
    temp_files: float = Field(
        1, ge=0, description=f"Half-written files of processes that died. {_ZERO}"
    )
    pictures: float = Field(
        0,
        ge=0,
        description="Images that are neither current nor approved: moved into a ZIP, and extracted "
        f"when they are needed. {_ZERO}",
    )
    untracked: bool = Field(
        False,
        description="Also move images of this program that no attempt names into a ZIP. Do not use "
        "it after a restore, or if two ledgers share a folder.",
    )
    dagster_runs: float = Field(
        0,
        ge=0,
        description="The output of steps, and runs that nothing needs, in Dagster's own records; "
        f"at least 7. {_ZERO}",
    )

    def policy(self) -> "RetentionPolicy":
        """The ages as a retention policy."""
        from imagegen_pipeline.maintenance.plan import RetentionPolicy

        names = ("logs", "quarantine", "orphans", "temp_files", "pictures")
        ages = {name: getattr(self, name) or None for name in names}
        return RetentionPolicy(untracked=self.untracked, **ages)


class BackupConfig(dg.Config):
    """The folder and number of backups."""

    folder: str = Field(
        "",
        description="The folder of backups, preferably on another disk; empty: "
        "IMAGEGEN_BACKUP_DIR.",
    )
    keep: int = Field(7, ge=1, description="Number of backups to keep; older ones are removed.")
    sources: bool = Field(True, description="Also back up prompts and actors.")


@dg.op(tags=FREE, description="Cleans up old files, or only shows the plan.")
def clean_up_op(
    context: dg.OpExecutionContext, config: CleanUpConfig, pipeline: PipelineResource
) -> None:
    """Show the plan in the run's metadata, and carry it out unless it is a dry run."""
    from imagegen_pipeline.dagster_ext.old_runs import delete_old_runs, plan_old_runs
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.maintenance.clean_up import plan_clean_up

    with typed_failure():
        opened = pipeline.get()
        plan = plan_clean_up(opened, config.policy())
        metadata = _plan_metadata(plan)
        runs = plan_old_runs(context.instance, config.dagster_runs) if config.dagster_runs else None
        if runs is not None:
            metadata["Dagster's runs"] = dg.MetadataValue.text(runs.sentence)
        for note in plan.notes:
            context.log.warning(note)
        errors: list[str] = []
        if not config.dry_run:
            errors = _carry_out(context, opened, plan)
            if runs is not None:
                deleted = delete_old_runs(context.instance, runs)
                metadata["runs deleted"] = dg.MetadataValue.int(deleted)
        metadata["dry run"] = dg.MetadataValue.bool(config.dry_run)
        context.add_output_metadata(metadata)
        if errors:
            raise StoreError(f"{len(errors)} actions failed; the first: {errors[0]}", remedy="")


def _plan_metadata(plan: "CleanUpPlan") -> dict[str, dg.MetadataValue]:
    lines = ["| part | action | files | MB |", "| --- | --- | ---: | ---: |"]
    lines += [
        f"| {part} | {kind} | {totals.files} | {totals.bytes / 2**20:.1f} |"
        for (part, kind), totals in plan.totals().items()
    ]
    files = [f"- `{one.file}`: {one.type}, {one.reason}" for one in plan.actions[:_MAX_NAMED]]
    if len(plan.actions) > _MAX_NAMED:
        files.append(f"- … and {len(plan.actions) - _MAX_NAMED} more")
    return {
        "plan": dg.MetadataValue.md("\n".join(lines) if plan.actions else "nothing"),
        "files": dg.MetadataValue.md("\n".join(files) or "none"),
        "not ours, kept": dg.MetadataValue.int(len(plan.not_ours)),
        "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in plan.notes) or "none"),
    }


def _carry_out(
    context: dg.OpExecutionContext, pipeline: "Pipeline", plan: "CleanUpPlan"
) -> list[str]:
    """Carry out the plan; returns the errors."""
    from imagegen_pipeline.maintenance.clean_up import carry_out

    errors: list[str] = []
    done = size = 0
    for result in carry_out(pipeline, plan):
        if result.error:
            errors.append(result.error)
            context.log.error(result.error)
        elif result.skipped:
            context.log.info(f"Skipped {result.action.file}: {result.skipped}.")
        else:
            done, size = done + 1, size + result.action.bytes
    context.log.info(f"Cleaned up {done} files, {size / 2**20:.1f} MB; {len(errors)} failed.")
    return errors


@dg.op(tags=FREE, description="Backs up images, ledger and results.")
def backup_op(
    context: dg.OpExecutionContext, config: BackupConfig, pipeline: PipelineResource
) -> None:
    """Write a new backup; unchanged files take no space."""
    from imagegen_pipeline.dagster_ext.step_reporter import typed_failure
    from imagegen_pipeline.maintenance.backup import back_up

    def report_progress(done: int, total: int) -> None:
        if done % _LOG_INTERVAL == 0:
            context.log.info(f"{done} of {total} files.")

    with typed_failure():
        opened = pipeline.get()
        folder = Path(config.folder) if config.folder else opened.settings.backup_dir
        if folder is None:
            raise SetupError(
                "No folder is named for the backup.",
                remedy="Set IMAGEGEN_BACKUP_DIR, or name one in the run's configuration.",
            )
        report = back_up(
            opened,
            opened.settings.root / folder,
            keep=config.keep,
            sources=config.sources,
            report_progress=report_progress,
        )
        context.add_output_metadata(_backup_metadata(report))
        for line in report.missing[:_MAX_NAMED]:
            context.log.warning(f"On no disk: {line}")
        if report.unread:
            raise StoreError(
                f"{len(report.unread)} files could not be read, and are not in the backup; the "
                f"first: {report.unread[0]}",
                remedy="Correct their permissions, then run this again.",
            )


def _backup_metadata(report: "BackupReport") -> dict[str, dg.MetadataValue]:
    return {
        "backup": dg.MetadataValue.path(str(report.folder)),
        "pictures": dg.MetadataValue.int(report.pictures),
        "files copied": dg.MetadataValue.int(report.copied),
        "MB copied": dg.MetadataValue.float(round(report.copied_bytes / 2**20, 1)),
        "files unchanged since the previous backup": dg.MetadataValue.int(report.linked),
        "pictures on no disk": dg.MetadataValue.int(len(report.missing)),
        "older backups removed": dg.MetadataValue.int(len(report.removed)),
    }


@dg.job(
    tags=FREE,
    description="Deletes old logs, quarantined files and leftovers; on request archives old images "
    "and deletes Dagster's old runs. A dry run by default. Never touches current or approved "
    "images, or files of others.",
)
def clean_up() -> None:
    """Clean up, or show the plan."""
    clean_up_op()


@dg.job(
    tags=FREE,
    description="Backs up images, ledger, results, prompts and actors to a new folder in "
    "IMAGEGEN_BACKUP_DIR. `imagegen restore` restores them.",
)
def backup() -> None:
    """Back everything up."""
    backup_op()


JOBS = [clean_up, backup]
SCHEDULES = [
    dg.ScheduleDefinition(
        name="weekly_clean_up",
        job=clean_up,
        cron_schedule="30 4 * * 0",
        execution_timezone="UTC",
        run_config={"ops": {"clean_up_op": {"config": {"dry_run": False}}}},
        description="Cleans up on Sundays with the default ages; not a dry run. Off by default.",
    ),
    dg.ScheduleDefinition(
        name="nightly_backup",
        job=backup,
        cron_schedule="0 2 * * *",
        execution_timezone="UTC",
        description="Backs up to IMAGEGEN_BACKUP_DIR each night and keeps seven backups. Off by "
        "default.",
    ),
]
