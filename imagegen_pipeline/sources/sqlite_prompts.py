"""The users' SQLite database → prompts, one a row of its ``prompts`` table."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.domain.prompts import Prompt, PromptScan, SourceProblem
from imagegen_pipeline.sources.source_paths import absolute, problem, shown
from imagegen_pipeline.sources.sqlite_file import open_read_only
from imagegen_pipeline.sources.sqlite_rows import (
    Row,
    lacking,
    note,
    prompt_of,
    repeated,
    users_query,
)


def scan_database(path: Path, *, busy_timeout: float = 5.0) -> PromptScan:
    """The prompts of the database at ``path``, in the order of their ids; read-only.

    ``busy_timeout``: seconds to wait for a writer. Raises nothing: what cannot be read is a
    problem, whose location is the row's, as its prompt's would be. When the database itself
    cannot be read, or not to its end, that is the first problem.
    """
    path = absolute(path)
    container = shown(path)
    rows = _Rows(container)
    try:
        with open_read_only(path, busy_timeout=busy_timeout) as connection:
            lacks = lacking(connection, path)
            for row in connection.execute(users_query(lacks)):
                rows.add(row)
    except SourceError as error:
        problems = (problem(container, container, error), *rows.problems)
        return PromptScan(container, tuple(rows.prompts), problems, complete=False)
    notes = [note(container, lacks)] if lacks else []
    return PromptScan(container, tuple(rows.prompts), (*notes, *rows.problems))


class _Rows:
    """The rows read so far: prompts and problems."""

    def __init__(self, container: str) -> None:
        self.prompts: list[Prompt] = []
        self.problems: list[SourceProblem] = []
        self._container = container
        self._keys: set[str] = set()

    def add(self, row: Row) -> None:
        """Take the users' query's next row."""
        prompt = prompt_of(row, self._container)
        if isinstance(prompt, SourceProblem):
            self.problems.append(prompt)
        elif prompt.key in self._keys:
            self.problems.append(repeated(row, self._container))
        else:
            self._keys.add(prompt.key)
            self.prompts.append(prompt)
