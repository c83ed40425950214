"""By which names the server goes: a request for another name is not meant for it.

A page of a stranger's can give its own name this machine's address (DNS rebinding), and would
then be of one origin with the gallery. It cannot choose what the Host header says.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time

import psutil

from imagegen_pipeline.web.options import ServeOptions

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[^\]]*)?\]|[^:\[\]@/\s]+)(?::(\d{1,5}))?", re.ASCII)
_FRESH_SECONDS = 10.0


def host_of(header: str) -> str | None:
    """The host in a Host header, without its port, in small letters; None when it is none."""
    match = _HOST.fullmatch(header.strip())
    if match is None:
        return None
    return match[1].lower().strip("[]")


class AllowedHosts:
    """The names and addresses that the server answers to."""

    def __init__(self, options: ServeOptions) -> None:
        self._all_addresses = is_unspecified(options.host)
        own = socket.gethostname() if self._all_addresses else options.host
        names = {"localhost", own, *options.allowed_hosts}
        self._names = {name.lower().strip("[]") for name in names if name}
        self._addresses: set[str] = set()
        self._looked_at = -_FRESH_SECONDS

    def knows(self, header: str) -> bool:
        """Whether a Host header names this server."""
        host = host_of(header)
        if host is None:
            return False
        if host in self._names:
            return True
        address = _address(host)
        if address is None:
            return False
        return address.is_loopback or (self._all_addresses and str(address) in self._own())

    def _own(self) -> set[str]:
        now = time.monotonic()
        if now - self._looked_at >= _FRESH_SECONDS:  # a laptop's address changes
            self._looked_at = now
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
    """Whether it stands for all addresses of the machine, and is none to call it by."""
    address = _address(host.strip("[]"))
    return address is not None and address.is_unspecified
