"""Hosts that images may be downloaded from: public ones, checked when connecting.

A name is resolved again for each connection, and may have another address then (DNS
rebinding). So each address is checked right before it is connected to, and nothing else is.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SocketOptions = Iterable[tuple[int, int, int | bytes]]

_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class PrivateAddressError(Exception):
    """A name stands for an address that is not public. Nothing was sent there."""

    def __init__(self, address: Address) -> None:
        super().__init__(f"{address} is not a public address")
        self.address = address


class PublicHosts:
    """Every public host, and those named in ``allowed`` whatever their address."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_bare, allowed))

    def allows(self, host: str) -> bool:
        """Whether the host is named, so that its address does not matter."""
        return _bare(host) in self._allowed

    def check(self, host: str, address: str) -> None:
        """Raise PrivateAddressError unless ``host`` may be reached at ``address``."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if not self.allows(host) and not is_public(found):
            raise PrivateAddressError(found)

    def look_up(self, host: str) -> None:
        """Check every address that the name has now; raises OSError or ValueError for none."""
        for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            self.check(host, str(info[4][0]))

    def connect(
        self, host: str, port: int | None, seconds: float | None, options: SocketOptions
    ) -> socket.socket:
        """A connection to the first address that answers, each checked before it is tried.

        ``seconds`` are for all of them together. Raises PrivateAddressError and OSError.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        failure = OSError(f"{host} has no address")
        for family, kind, proto, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            self.check(host, str(address[0]))
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("timed out")
            sock = socket.socket(family, kind, proto)
            try:
                for option in options:
                    sock.setsockopt(*option)
                sock.settimeout(left)
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure


def is_public(address: Address) -> bool:
    """Whether an address is public, and not one that is translated to another one.

    Of IPv6 that is global unicast (RFC 4291), without the tunnels to an IPv4 address (6to4,
    Teredo). A mapped address, or one behind NAT64 (RFC 6052), is judged by what it stands for.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    is_tunnel = address.sixtofour is not None or address.teredo is not None
    return address in _UNICAST and address.is_global and not is_tunnel


def _bare(host: str) -> str:
    """The host's normal form: lower case, without the root's final dot."""
    return host.strip().strip("[]").rstrip(".").lower()
