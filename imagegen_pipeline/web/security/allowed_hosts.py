"""Checks the Host header, against DNS rebinding.

An attacker's page can point its own host name at this machine's address, and would then share
an origin with the gallery. It cannot change the Host header.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time

import psutil

from imagegen_pipeline.web.options import ServeOptions

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[^\]]*)?\]|[^:\[\]@/\s]+)(?::(\d{1,5}))?", re.ASCII)
_CACHE_SECONDS = 10.0


def host_of(header: str) -> str | None:
    """The host of a Host header, lower case and without the port; None if it is malformed."""
    match = _HOST.fullmatch(header.strip())
    if match is None:
        return None
    return match[1].lower().strip("[]")


class AllowedHosts:
    """The host names and addresses that requests may name."""

    def __init__(self, options: ServeOptions) -> None:
        self._all_addresses = is_unspecified(options.host)
        own = socket.gethostname() if self._all_addresses else options.host
        names = {"localhost", own, *options.allowed_hosts}
        self._names = {name.lower().strip("[]") for name in names if name}
        self._addresses: set[str] = set()
        self._read_at = -_CACHE_SECONDS

    def allows(self, header: str) -> bool:
        """Whether a Host header names this server."""
        host = host_of(header)
        if host is None:
            return False
        if host in self._names:
            return True
        address = _address(host)
        if address is None:
            return False
        return address.is_loopback or (
            self._all_addresses and str(address) in self._own_addresses()
        )

    def _own_addresses(self) -> set[str]:
        now = time.monotonic()
        if now - self._read_at >= _CACHE_SECONDS:  # a laptop's addresses change
            self._read_at = now
            self._addresses = {
                str(address)
                for entries in psutil.net_if_addrs().values()
                for entry in entries
                if (address := _address(entry.address)) is not None
            }
        return self._addresses


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_unspecified(host: str) -> bool:
    """Whether it stands for all of the machine's addresses (0.0.0.0, ::)."""
    address = _address(host.strip("[]"))
    return address is not None and address.is_unspecified
