"""The webserver, asked for everything that it can tell."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from dagster_graphql.schema import create_schema
from graphql import (
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_required_argument,
)

from imagegen_pipeline_tests.conftest import Project

REPOSITORY = 'repositoryName: "__repository__", repositoryLocationName: "imagegen_pipeline"'
SELECTOR = f"{{{REPOSITORY}}}"
JOB = f'{{pipelineName: "__ASSET_JOB", {REPOSITORY}}}'


@dataclass
class Webserver:
    """A webserver that answers at ``url``; ``answer_texts`` is the text of every answer so far."""

    url: str
    answer_texts: list[str] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    schema: GraphQLSchema = field(default_factory=lambda: create_schema().graphql_schema)

    def answers(self) -> bool:
        """Whether the webserver is up."""
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.ConnectionError:
            return False

    def ask(self, root: str, arguments: str = "", *, depth: int = 5) -> str:
        """The answer to one root field with all that it leads to, ``depth`` fields deep.

        Fields that Dagster itself cannot answer here are left out, one by one.
        """
        kind = get_named_type(self.schema.query_type.fields[root].type)
        given = f"({arguments})" if arguments else ""
        while True:
            query = f"{{ {root}{given} {self._all_of(kind, depth)} }}"
            answer = requests.post(f"{self.url}/graphql", json={"query": query}, timeout=60)
            self.answer_texts.append(answer.text)
            failures = answer.json().get("errors", [])
            if not failures:
                return answer.text
            for failure in failures:
                names = [step for step in failure.get("path", []) if isinstance(step, str)]
                assert names, failure
                assert names[-1] not in self.silent, failure
            self.silent |= {
                [step for step in failure["path"] if isinstance(step, str)][-1]
                for failure in failures
            }

    def get(self, path: str) -> bytes:
        """What the webserver has at a path of its own."""
        answer = requests.get(f"{self.url}{path}", timeout=60)
        self.answer_texts.append(answer.text)
        return answer.content

    def _all_of(self, kind: Any, depth: int) -> str:
        if is_abstract_type(kind):
            kinds = self.schema.get_possible_types(kind)
            parts = [f"... on {one.name} {self._all_of(one, depth)}" for one in kinds]
            return f"{{ __typename {' '.join(parts)} }}"
        return f"{{ __typename {' '.join(self._fields(kind, depth))} }}"

    def _fields(self, kind: GraphQLObjectType, depth: int) -> Iterator[str]:
        for name, about in kind.fields.items():
            if any(is_required_argument(argument) for argument in about.args.values()):
                continue
            alias, inner = f"{kind.name}_{name}", get_named_type(about.type)
            if alias in self.silent:
                continue
            if is_leaf_type(inner):
                yield f"{alias}: {name}"
            elif depth > 1:
                yield f"{alias}: {name} {self._all_of(inner, depth - 1)}"


@contextmanager
def webserver_of(project: Project) -> Iterator[Webserver]:
    """``dagster-webserver`` on a project, with the project's variables, for a ``with``."""
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        port = spare.getsockname()[1]
    program = str(Path(sys.executable).parent / "dagster-webserver")
    with (project.root / "webserver.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port), "--log-level", "debug"],
            cwd=project.root,
            env={**os.environ, **project.environment, "DAGSTER_HOME": str(project.root)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Webserver(f"http://127.0.0.1:{port}")
    try:
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
