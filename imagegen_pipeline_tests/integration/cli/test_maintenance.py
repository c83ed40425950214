"""``imagegen clean-up``, ``backup`` and ``restore``: output, confirmation and exit codes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagegen_pipeline.maintenance.backup_manifest import backups_in, unfinished_in
from imagegen_pipeline_tests.conftest import Project, until
from imagegen_pipeline_tests.integration.cli.conftest import GENERATE, Invoke, on_a_terminal
from imagegen_pipeline_tests.integration.maintenance.conftest import age_file, age_pictures
from imagegen_pipeline_tests.integration.maintenance.test_clean_up import tree, write

LOG = "duomi_generation_results_20250101_000000.json"


@pytest.fixture
def old_log(project: Project) -> Path:
    """A log that is half a year old."""
    return write(project.results / "logs" / LOG, b"x" * 2048, days=180)


def generate_image(project: Project, invoke: Invoke) -> None:
    """Generate one image."""
    project.write_json("boat", "a red boat")
    assert invoke(*GENERATE, "json").exit_code == 0


def test_a_dry_run_prints_the_plan_with_reasons(
    project: Project, old_log: Path, invoke: Invoke
) -> None:
    """Parts, files, sizes, reasons and files of others; nothing is touched or asked."""
    theirs = write(project.results / "generated_images" / "holiday.png")
    result = invoke("clean-up", "--dry-run")
    assert result.exit_code == 0
    assert "logs: delete 1 file, 2.0 KB" in result.stdout
    assert f"{old_log} (a log older than 90 days)" in result.stdout
    assert "not ours, kept: 1 file" in result.stdout
    assert str(theirs) in result.stdout
    assert old_log.exists()


def test_the_clean_up_asks_for_confirmation(
    project: Project, old_log: Path, invoke: Invoke
) -> None:
    """No keeps everything, yes carries out the plan, --yes does not ask."""
    result = invoke("clean-up", answer="n\n")
    assert result.exit_code == 1
    assert "Continue?" in result.output
    assert old_log.exists()
    result = invoke("clean-up", answer="y\n")
    assert result.exit_code == 0
    assert "Cleaned up 1 file, 2.0 KB; 0 skipped, 0 failed." in result.stdout
    assert not old_log.exists()
    result = invoke("clean-up", "--yes")
    assert "The pipeline has nothing to clean up." in result.stdout


def test_ages_are_options_and_never_keeps_a_part(
    project: Project, old_log: Path, invoke: Invoke
) -> None:
    """``--logs 200`` and ``--logs never`` keep a log of 180 days; an invalid age is exit 2."""
    for days in ("200", "never"):
        assert "logs" not in invoke("clean-up", "--logs", days, "--yes").stdout
    assert old_log.exists()
    for wrong in ("soon", "-3", "nan"):
        result = invoke("clean-up", "--logs", wrong, "--yes")
        assert result.exit_code == 2, wrong
    assert old_log.exists()


def test_old_images_are_archived_and_the_next_run_buys_nothing(
    project: Project, invoke: Invoke
) -> None:
    """The command archives them, --all names every file, and the next run reuses."""
    generate_image(project, invoke)
    invoke(*GENERATE, "json", "--regenerate")
    pipeline = project.pipeline()
    age_pictures(pipeline)
    pipeline.close()
    result = invoke("clean-up", "--pictures", "100", "--all", "--yes")
    assert result.exit_code == 0
    assert "old pictures: archive 1 file" in result.stdout
    assert len(list((project.results / "archive").glob("pictures-*.zip"))) == 1
    again = invoke(*GENERATE, "json")
    assert "1 reused" in again.output


def test_a_failed_action_is_exit_1_and_named(
    project: Project, old_log: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be removed is printed with the reason; the others are removed."""
    second = write(old_log.with_name("duomi_generation_results_20250102_000000.json"), days=180)
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == old_log:
            raise PermissionError(13, os.strerror(13), str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    result = invoke("clean-up", "--yes")
    assert result.exit_code == 1
    assert f"failed: {old_log}: Permission denied" in result.stderr
    assert not second.exists()


def test_dagsters_records_are_cleaned_up_on_request_only(project: Project, invoke: Invoke) -> None:
    """The option prints the plan; less than a week is refused with exit 2."""
    project.run("imagegen", "sync")
    result = invoke("clean-up", "--dagster", "30", "--dry-run")
    assert result.exit_code == 0
    assert "Dagster's records older than 30 days: 0 runs" in result.stdout
    assert project.run("imagegen", "clean-up", "--dagster", "1", check=False).returncode == 2


def test_a_backup_shows_a_bar_on_a_terminal_only(project: Project, invoke: Invoke) -> None:
    """A pipe gets the result without progress."""
    generate_image(project, invoke)
    code, shown = on_a_terminal("imagegen", "backup", str(project.root / "disk"))
    assert code == 0
    assert "file" in shown
    assert "100%" in shown
    piped = project.run("imagegen", "backup", str(project.root / "disk"))
    assert piped.stderr == ""
    assert piped.stdout.splitlines()[1].endswith("unchanged since the previous backup.")


def test_a_backup_without_a_folder_names_the_setting(live_project: Project) -> None:
    """There is no default folder for live images; IMAGEGEN_BACKUP_DIR sets one."""
    for command in ("backup", "restore"):
        done = live_project.run("imagegen", command, check=False)
        assert done.returncode == 2
        assert "IMAGEGEN_BACKUP_DIR" in done.stderr
    live_project.run("imagegen", "results")
    setting = {"IMAGEGEN_BACKUP_DIR": str(live_project.root / "disk")}
    assert "is complete" in live_project.run("imagegen", "backup", **setting).stdout
    assert "live" in live_project.run("imagegen", "restore", "--list", **setting).stdout


def test_a_restore_of_a_damaged_backup_is_exit_1_and_names_the_items(
    project: Project, invoke: Invoke
) -> None:
    """The damaged image is named, and the item whose image would be bought again."""
    generate_image(project, invoke)
    disk = project.root / "disk"
    assert invoke("backup", str(disk)).exit_code == 0
    (backup,) = backups_in(disk)
    (copy,) = (backup / "data" / "generated_images").glob("*.png")
    copy.write_bytes(b"rot")
    checked = invoke("restore", str(disk), "--dry-run")
    assert checked.exit_code == 1
    assert f"damaged or missing in the backup: generated_images/{copy.name}" in checked.stderr
    assert "1 files are damaged" in checked.stdout
    shutil.rmtree(project.data)
    result = invoke("restore", str(disk))
    assert result.exit_code == 1
    assert "would buy the images of these items again: json-boat-" in result.stderr
    assert (project.results / "imagegen.db").is_file()


def test_a_killed_backup_keeps_the_previous_one_and_is_finished_by_the_next(
    project: Project, invoke: Invoke
) -> None:
    """After SIGKILL the partial backup is hidden until the next one finishes it."""
    generate_image(project, invoke)
    disk = project.root / "disk"
    assert invoke("backup", str(disk)).exit_code == 0
    (first,) = backups_in(disk)
    for number in range(4000):
        write(project.results / "generated_images" / "theirs" / f"{number}.txt", b"x")
    process = subprocess.Popen(
        [Path(sys.executable).parent / "imagegen", "backup", str(disk)],
        env={**os.environ, **project.environment},
        stdout=subprocess.PIPE,
    )

    def is_running() -> bool:
        parts = unfinished_in(disk)
        return bool(parts) and len(list(parts[0].rglob("*.txt"))) > 50

    until(lambda: is_running() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert backups_in(disk) == [first]
    assert "interrupted" in invoke("restore", str(disk), "--list").stdout
    assert invoke("backup", str(disk)).exit_code == 0
    newest = backups_in(disk)[-1]
    assert len(list(newest.rglob("*.txt"))) == 4000
    assert unfinished_in(disk) == []
    before = tree(project.results / "generated_images")
    shutil.rmtree(project.data)
    assert invoke("restore", str(disk)).exit_code == 0
    assert tree(project.results / "generated_images") == before


def test_the_age_of_a_log_is_its_modification_time(project: Project, invoke: Invoke) -> None:
    """A new file with an old name is kept."""
    young = write(project.results / "logs" / LOG, days=0)
    assert "logs" not in invoke("clean-up", "--dry-run").stdout
    age_file(young, 91)
    assert "logs: delete 1 file" in invoke("clean-up", "--dry-run").stdout
