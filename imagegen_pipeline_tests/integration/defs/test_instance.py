"""The Dagster instance outlives crashes at its beginning, and two beginnings at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import dagster as dg

from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline.dagster_ext.names import PROMPT_PARTITIONS
from imagegen_pipeline.dagster_ext.partition_registry import add_missing
from imagegen_pipeline_tests.conftest import Project, until

OPEN = """
from imagegen_pipeline.dagster_ext.instance import open_instance
from imagegen_pipeline.dagster_ext.names import PROMPT_PARTITIONS
from imagegen_pipeline.dagster_ext.partition_registry import add_missing
with open_instance() as instance:
    add_missing(instance, PROMPT_PARTITIONS, ["a"])
"""


def test_a_first_opening_that_was_killed_leaves_nothing_in_the_way(project: Project) -> None:
    """SIGKILL while Dagster makes its tables: the next process opens a sound instance."""
    storage = project.results / ".dagster"
    process = subprocess.Popen([sys.executable, "-c", OPEN])
    until(lambda: any(storage.rglob("*.db")))
    process.kill()
    process.wait(timeout=30)
    subprocess.run([sys.executable, "-c", OPEN], check=True, timeout=120)
    instance = open_instance()
    assert instance is not None
    with instance:
        assert instance.get_dynamic_partitions("prompts") == ["a"]


def test_many_processes_open_a_new_instance_at_once(project: Project) -> None:
    """Whoever comes first makes the tables, and all of them register the same partition."""
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN], stderr=subprocess.PIPE) for _ in range(4)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors


def test_a_partition_that_two_register_at_once_is_no_error(project: Project) -> None:
    """Eight threads that add the same keys all go on, and each key stands once."""
    instance = open_instance()
    assert instance is not None
    keys = [f"json-{n}" for n in range(5)]

    def add(_number: int) -> None:
        other: dg.DagsterInstance | None = open_instance()
        assert other is not None
        with other:
            for key in keys:
                add_missing(other, PROMPT_PARTITIONS, [key])

    with instance, ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
        assert sorted(instance.get_dynamic_partitions("prompts")) == keys
