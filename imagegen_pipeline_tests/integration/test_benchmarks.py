"""The benchmarks work, and their report says what was measured. Nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.figures import Figure, Result, Series
from benchmarks.report import BEGIN, END, FIGURES, write_report
from imagegen_pipeline_tests.conftest import ROOT

PAGE = f"# Measured\n\nprose before\n\n{BEGIN}\nold\n{END}\n\nprose after\n"
GROWTH = Series("A tick", "prompts", "seconds", {"nothing new": [(1, 0.1), (10, 0.2), (100, 1.2)]})


def save(folder: Path, *figures: Figure) -> None:
    """What the figures' scripts would have saved."""
    folder.mkdir()
    for figure in figures:
        (folder / f"{figure.name}.json").write_text(json.dumps(asdict(figure)), "utf-8")


def ledger(**more: str) -> Figure:
    """A figure that has met its goal, and one that is only shown."""
    results = [Result("open an item", 0.25, "ms", goal=10), Result("rows", 1_000_000)]
    return Figure("ledger", "Ledger", "A million rows.", results, **more)


def test_the_report_has_a_row_for_each_goal_and_leaves_the_prose(tmp_path: Path) -> None:
    """Goals that are met and not met, with what was measured; what is not measured is said."""
    slow = Result("a tick with nothing new", 1.2, "s", goal=1.0)
    fast = Result("beside a loop", 77, goal=60, at_least=True)
    save(
        tmp_path / "measured",
        ledger(),
        Figure("sensor_tick", "Sources' tick", "One tick.", [slow], [GROWTH]),
        Figure("users_today", "Against today", "60 prompts.", [fast]),
    )
    page = tmp_path / "RESULTS.md"
    page.write_text(PAGE, "utf-8")
    write_report(tmp_path / "measured", page)
    text = page.read_text("utf-8")
    assert "| Sources' tick: a tick with nothing new | 1.2 s | ≤ 1 s | **not met** |" in text
    assert "| Ledger: open an item | 0.25 ms | ≤ 10 ms | met |" in text
    assert "| Against today: beside a loop | 77 | ≥ 60 | met |" in text
    assert "| memory | not measured |" in text
    assert text.index("### Against today") < text.index("### Sources' tick")
    assert text.startswith("# Measured\n\nprose before\n")
    assert text.endswith("prose after\n")
    assert "old" not in text
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "goals.png",
        "sensor_tick-1.png",
    }
    assert "![A tick](plots/sensor_tick-1.png)" in text


def test_writing_the_report_again_changes_nothing(tmp_path: Path) -> None:
    """The same figures give the same page."""
    save(tmp_path / "measured", ledger())
    page = tmp_path / "RESULTS.md"
    page.write_text(PAGE, "utf-8")
    write_report(tmp_path / "measured", page)
    once = page.read_text("utf-8")
    write_report(tmp_path / "measured", page)
    assert page.read_text("utf-8") == once


def test_figures_of_two_machines_and_days_are_told_apart(tmp_path: Path) -> None:
    """A row of the table says which machine it is from, and of which day."""
    here = ledger(machine="a small one", measured_at="2026-11-20 10:00 UTC")
    goal = Result("peak", 390, "MB", goal=400)
    there = Figure("memory", "Memory", "Flat.", [goal], machine="a large one")
    there.measured_at = "2026-11-21 10:00 UTC"
    save(tmp_path / "measured", here, there)
    page = tmp_path / "RESULTS.md"
    page.write_text(PAGE, "utf-8")
    write_report(tmp_path / "measured", page)
    text = page.read_text("utf-8")
    assert "| Memory: peak | 390 MB | ≤ 400 MB | met | 2026-11-21, A |" in text
    assert "| Ledger: open an item | 0.25 ms | ≤ 10 ms | met | 2026-11-20, B |" in text
    assert "- A: a large one\n- B: a small one" in text


def test_a_page_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    """What is to be replaced must be marked."""
    save(tmp_path / "measured", ledger())
    page = tmp_path / "RESULTS.md"
    page.write_text("# Prose alone\n", "utf-8")
    with pytest.raises(ValueError, match="measured: begin"):
        write_report(tmp_path / "measured", page)
    assert page.read_text("utf-8") == "# Prose alone\n"


def test_an_unknown_figure_is_refused_with_the_known_ones() -> None:
    """A typo measures nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "ledgre"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no figure ledgre" in done.stderr
    assert all(name in done.stderr for name in FIGURES)


@pytest.mark.long
def test_every_figure_can_be_measured() -> None:
    """``python -m benchmarks --quick`` runs each script, prints its table, and writes nothing."""
    page = ROOT / "benchmarks" / "RESULTS.md"
    before = page.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stdout.count("| | measured | goal | |") == len(FIGURES)
    assert page.read_bytes() == before
