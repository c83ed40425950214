"""Clients of the simulated providers, closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from imagegen_pipeline.providers.base import JobReport, JobState
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.providers.runpod.client import RunPodClient
from imagegen_pipeline_tests.conftest import Simulator, until
from imagegen_pipeline_tests.integration.providers.local_services import FAST, duomi_at, runpod_at

Ended = Callable[[DuomiClient | RunPodClient, str], JobReport]


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """Closes, after the test, whatever client it is given."""
    with ExitStack() as stack:
        yield lambda client: stack.enter_context(closing(client))


@pytest.fixture
def duomi(simulator: Simulator, opened: Callable[[Any], Any]) -> DuomiClient:
    """A client of the simulated Duomi."""
    client: DuomiClient = opened(duomi_at(simulator.url))
    return client


@pytest.fixture
def runpod(simulator: Simulator, opened: Callable[[Any], Any]) -> RunPodClient:
    """A client of the simulated RunPod endpoint."""
    client: RunPodClient = opened(runpod_at(simulator.url))
    return client


@pytest.fixture
def downloader(opened: Callable[[Any], Any]) -> Downloader:
    """A downloader that may fetch from this machine."""
    client: Downloader = opened(Downloader(timeouts=FAST, allow_private_hosts=("127.0.0.1",)))
    return client


@pytest.fixture
def ended() -> Ended:
    """Polls a job until it is completed, and gives its report."""

    def poll_to_the_end(client: DuomiClient | RunPodClient, job_id: str) -> JobReport:
        def completed() -> JobReport | None:
            report = client.poll(job_id, client.endpoint)
            return report if report.state is JobState.COMPLETED else None

        report: JobReport = until(completed, seconds=10)
        return report

    return poll_to_the_end
