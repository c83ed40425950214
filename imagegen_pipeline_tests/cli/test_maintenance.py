"""``imagegen clean-up``, ``backup`` and ``restore``: what they say, ask and exit with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagegen_pipeline.maintenance.backup_manifest import backups_in, unfinished_in
from imagegen_pipeline_tests.cli.conftest import GENERATE, Invoke, on_a_terminal
from imagegen_pipeline_tests.conftest import Project, until
from imagegen_pipeline_tests.maintenance.conftest import age_file, age_pictures
from imagegen_pipeline_tests.maintenance.test_clean_up import tree, write

LOG = "duomi_generation_results_20250101_000000.json"


@pytest.fixture
def old_log(project: Project) -> Path:
    """A log of half a year ago."""
    return write(project.results / "logs" / LOG, b"x" * 2048, days=180)


def picture(project: Project, invoke: Invoke) -> None:
    """One picture that is there."""
    project.write_json("boat", "a red boat")
    assert invoke(*GENERATE, "json").exit_code == 0


def test_a_dry_run_names_what_would_go_and_why(
    project: Project, old_log: Path, invoke: Invoke
) -> None:
    """Parts, files, sizes, reasons, and what is not ours; nothing is touched and nobody asked."""
    theirs = write(project.results / "generated_images" / "holiday.png")
    result = invoke("clean-up", "--dry-run")
    assert result.exit_code == 0
    assert "logs: delete 1 file, 2.0 KB" in result.stdout
    assert f"{old_log} (a log older than 90 days)" in result.stdout
    assert "not ours, left alone: 1 file" in result.stdout
    assert str(theirs) in result.stdout
    assert old_log.exists()


def test_it_asks_before_anything_goes(project: Project, old_log: Path, invoke: Invoke) -> None:
    """No leaves everything, yes does it; --yes does not ask."""
    result = invoke("clean-up", answer="n\n")
    assert result.exit_code == 1
    assert "Go on?" in result.output
    assert old_log.exists()
    result = invoke("clean-up", answer="y\n")
    assert result.exit_code == 0
    assert "Done with 1 file, 2.0 KB; 0 left, 0 failed." in result.stdout
    assert not old_log.exists()
    result = invoke("clean-up", "--yes")
    assert "Nothing of the pipeline's is to be cleaned up." in result.stdout


def test_ages_can_be_given_and_never_switches_a_part_off(
    project: Project, old_log: Path, invoke: Invoke
) -> None:
    """``--logs 200`` and ``--logs never`` leave what is 180 days old; a wrong age is exit 2."""
    for days in ("200", "never"):
        assert "logs" not in invoke("clean-up", "--logs", days, "--yes").stdout
    assert old_log.exists()
    for wrong in ("soon", "-3", "nan"):
        result = invoke("clean-up", "--logs", wrong, "--yes")
        assert result.exit_code == 2, wrong
    assert old_log.exists()


def test_old_pictures_go_into_an_archive_and_generate_still_buys_nothing(
    project: Project, invoke: Invoke
) -> None:
    """The command moves them, --all names every file, and the next run reuses."""
    picture(project, invoke)
    invoke(*GENERATE, "json", "--regenerate")
    work = project.pipeline()
    age_pictures(work)
    work.close()
    result = invoke("clean-up", "--pictures", "100", "--all", "--yes")
    assert result.exit_code == 0
    assert "old pictures: archive 1 file" in result.stdout
    assert len(list((project.results / "archive").glob("pictures-*.zip"))) == 1
    again = invoke(*GENERATE, "json")
    assert "1 reused" in again.output


def test_what_resists_is_exit_1_and_named(
    project: Project, old_log: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be removed is said with its reason; the others go."""
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


def test_dagsters_records_are_cleaned_only_if_asked(project: Project, invoke: Invoke) -> None:
    """The option says what would go; less than a week is refused with exit 2."""
    project.run("imagegen", "sync")
    result = invoke("clean-up", "--dagster", "30", "--dry-run")
    assert result.exit_code == 0
    assert "Dagster's records older than 30 days: 0 runs" in result.stdout
    assert project.run("imagegen", "clean-up", "--dagster", "1", check=False).returncode == 2


def test_a_bar_on_a_terminal_and_plain_lines_when_piped(project: Project, invoke: Invoke) -> None:
    """A person sees how far a backup is; a pipe gets the result alone."""
    picture(project, invoke)
    code, shown = on_a_terminal("imagegen", "backup", str(project.root / "disk"))
    assert code == 0
    assert "file" in shown
    assert "100%" in shown
    piped = project.run("imagegen", "backup", str(project.root / "disk"))
    assert piped.stderr == ""
    assert piped.stdout.splitlines()[1].endswith("as in the backup before.")


def test_a_backup_without_a_folder_says_what_to_set(live_project: Project) -> None:
    """No place is guessed for live pictures; IMAGEGEN_BACKUP_DIR is one."""
    for command in ("backup", "restore"):
        done = live_project.run("imagegen", command, check=False)
        assert done.returncode == 2
        assert "IMAGEGEN_BACKUP_DIR" in done.stderr
    live_project.run("imagegen", "results")
    place = {"IMAGEGEN_BACKUP_DIR": str(live_project.root / "disk")}
    assert "is whole" in live_project.run("imagegen", "backup", **place).stdout
    assert "live" in live_project.run("imagegen", "restore", "--list", **place).stdout


def test_a_restore_of_a_damaged_backup_is_exit_1_and_says_what_it_costs(
    project: Project, invoke: Invoke
) -> None:
    """The damaged picture is named, and the item that would be bought anew."""
    picture(project, invoke)
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
    assert "would buy these anew: json-boat-" in result.stderr
    assert (project.results / "imagegen.db").is_file()


def test_a_killed_backup_leaves_the_one_before_and_is_gone_on_with(
    project: Project, invoke: Invoke
) -> None:
    """SIGKILL in the middle of a real backup: hidden until the next one finishes it."""
    picture(project, invoke)
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

    def is_under_way() -> bool:
        parts = unfinished_in(disk)
        return bool(parts) and len(list(parts[0].rglob("*.txt"))) > 50

    until(lambda: is_under_way() or process.poll() is not None)
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


def test_the_age_of_a_log_is_that_of_its_file(project: Project, invoke: Invoke) -> None:
    """A young file with an old name stays: what counts is when it was last written."""
    young = write(project.results / "logs" / LOG, days=0)
    assert "logs" not in invoke("clean-up", "--dry-run").stdout
    age_file(young, 91)
    assert "logs: delete 1 file" in invoke("clean-up", "--dry-run").stdout
