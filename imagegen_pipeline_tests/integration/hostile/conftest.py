"""Downloaders, and host names with addresses chosen by a test."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from imagegen_pipeline.providers.base import Timeouts
from imagegen_pipeline.providers.http.download import Downloader

QUICK = Timeouts(connect=5, read=5, download=5)
Resolve = Callable[..., list[str]]


@pytest.fixture
def opened() -> Iterator[Callable[[Any], Any]]:
    """Closes a client after the test."""
    with ExitStack() as stack:
        yield lambda client: stack.enter_context(closing(client))


@pytest.fixture
def strict(opened: Callable[[Any], Any]) -> Downloader:
    """A downloader without permissions from settings."""
    client: Downloader = opened(Downloader(timeouts=QUICK))
    return client


@pytest.fixture
def trusting(opened: Callable[[Any], Any]) -> Downloader:
    """A downloader that may fetch from 127.0.0.1."""
    client: Downloader = opened(Downloader(timeouts=QUICK, allow_private_hosts=("127.0.0.1",)))
    return client


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Maps a name to addresses: the first list for the first lookup and so on, the last list for
    all later ones. Returns the names that were looked up.
    """
    real = socket.getaddrinfo
    answers: dict[str, list[list[str]]] = {}
    asked: list[str] = []

    def getaddrinfo(host: Any, port: Any, *args: Any, **more: Any) -> list[Any]:
        if host not in answers:
            return real(host, port, *args, **more)
        asked.append(host)
        lists = answers[host]
        addresses = lists.pop(0) if len(lists) > 1 else lists[0]
        return [_info(address, int(port or 0)) for address in addresses]

    def stands_for(host: str, *lists: list[str]) -> list[str]:
        answers[host] = list(lists)
        return asked

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return stands_for


def _info(address: str, port: int) -> tuple[Any, ...]:
    """One entry in the form of getaddrinfo."""
    is_v4 = ipaddress.ip_address(address.partition("%")[0]).version == 4
    place = (address, port) if is_v4 else (address, port, 0, 0)
    family = socket.AF_INET if is_v4 else socket.AF_INET6
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)
