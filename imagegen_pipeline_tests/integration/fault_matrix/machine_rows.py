"""Faults of the machine: disks, folders, the ledger, a killed process.

The first item has its image before the fault; the second one is hit.
"""

from __future__ import annotations

from imagegen_pipeline_tests.integration.fault_matrix import machine_faults
from imagegen_pipeline_tests.integration.fault_matrix.machine_faults import Break
from imagegen_pipeline_tests.integration.fault_matrix.rows import (
    ALL,
    Batch,
    End,
    Fate,
    Row,
    left_open,
    written_off,
)

DISK, FOLDER, LEDGER, PROCESS = "the disk", "the folder", "the ledger", "the process"

REFUSED = Fate(End("refused", (), 0, "store"), End("made", ("stored",), 1))
LOST_ANSWER = End("made", ("unknown", "stored"), 2)
"""The answer could not be stored anywhere: it is sent once more, as a possible double charge."""


def machine_rows() -> list[tuple[Row, Break]]:
    """All rows of this module, each with its machine fault."""
    return [*_disks(), *_folders(), *_ledger(), *_killed()]


def _row(
    at: str, name: str, fate: Fate, how: Break, provider: str = "duomi", batch: Batch = "stops"
) -> tuple[Row, Break]:
    return Row(name, provider, at, fate, batch=batch), how


def _disks() -> list[tuple[Row, Break]]:
    fetched_later = left_open("store", "completed")
    polled_later = left_open("store", "submitted")
    kept_aside = left_open("store", "submitting")
    lost = Fate(End("failed", ("submitting",), 1, "store"), LOST_ANSWER)
    fills = "The disk of the pictures fills up while the item is made."
    return [
        _row(
            DISK,
            "The disk of the pictures is full.",
            REFUSED,
            machine_faults.full_disk,
            batch="never begins",
        ),
        _row(
            DISK,
            "The disk of the pictures has less room than a batch may need.",
            written_off("store"),
            machine_faults.little_space,
        ),
        _row(DISK, fills, fetched_later, machine_faults.disk_that_fills),
        _row(DISK, fills, polled_later, machine_faults.disk_that_fills, "runpod"),
        _row(DISK, fills, kept_aside, machine_faults.disk_that_fills, "duomi-b64"),
        _row(
            DISK,
            "No file can grow any more once the picture has come (RLIMIT_FSIZE).",
            fetched_later,
            machine_faults.files_that_cannot_grow,
        ),
        _row(
            DISK,
            "The disk of the ledger and the pictures fills up while the item is made.",
            lost,
            machine_faults.everything_fills,
        ),
        _row(
            DISK,
            "The disk of the pictures is read-only.",
            REFUSED,
            machine_faults.read_only_disk,
            batch="never begins",
        ),
        _row(
            DISK,
            "The disk of the pictures becomes read-only while the item is made.",
            fetched_later,
            machine_faults.disk_that_becomes_read_only,
        ),
    ]


def _folders() -> list[tuple[Row, Break]]:
    fetched_later = left_open("store", "completed")
    return [
        _row(
            FOLDER,
            "A file lies where the folder of the pictures was.",
            REFUSED,
            machine_faults.file_in_place,
            batch="never begins",
        ),
        _row(
            FOLDER,
            "A file takes the place of the folder while the item is made.",
            fetched_later,
            machine_faults.file_takes_the_place,
        ),
        _row(
            FOLDER,
            "The folder of the pictures belongs to somebody else.",
            REFUSED,
            machine_faults.foreign_folder,
            batch="never begins",
        ),
        _row(
            FOLDER,
            "The folder of the pictures has gone since the last run.",
            REFUSED,
            machine_faults.folder_gone,
            batch="never begins",
        ),
        _row(
            FOLDER,
            "The folder of the pictures vanishes while the item is made.",
            fetched_later,
            machine_faults.folder_that_vanishes,
        ),
    ]


def _ledger() -> list[tuple[Row, Break]]:
    unsent = Fate(End("failed", (), 0, "ledger"), End("made", ("stored",), 1))
    brought_home = Fate(End("failed", ("submitting",), 1, "ledger"), End("made", ("stored",), 1))
    locked = "Another process locks the ledger while the item is made."
    return [
        _row(
            LEDGER, "Another process has locked the ledger.", unsent, machine_faults.locked_ledger
        ),
        *[_row(LEDGER, locked, brought_home, machine_faults.ledger_that_is_locked, s) for s in ALL],
    ]


def _killed() -> list[tuple[Row, Break]]:
    def killed(state: str, bill: int, then: End) -> Fate:
        return Fate(End("killed", (state,), bill), then)

    unsent = Fate(End("killed", (), 0), End("made", ("stored",), 1))
    unknown = killed("submitting", 1, LOST_ANSWER)
    collected = killed("submitted", 1, End("made", ("stored",), 1))
    adopted = killed("completed", 1, End("made", ("stored",), 1))
    found = [
        ("submitting", "duomi", unsent),
        ("submitted", "runpod", unknown),
        ("completed", "duomi", unknown),
        ("completed", "duomi-async", collected),
        ("stored", "duomi", adopted),
        ("stored", "runpod", collected),
    ]
    return [
        _row(
            PROCESS,
            f"The writer is killed in the transaction that writes {state}.",
            fate,
            machine_faults.killed_writer(state),
            provider,
            batch="dies",
        )
        for state, provider, fate in found
    ]
