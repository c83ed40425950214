"""Options of the server, and their validation."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from imagegen_pipeline.domain.errors import SetupError
from imagegen_pipeline.settings import Settings

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8000
DEFAULT_MAX_WAITING = 500


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Address, access, limits and intervals of the server.

    ``cors``: origins whose pages may call the API. ``allowed_hosts``: host names that are
    accepted beside the server's addresses. ``max_waiting`` is in items. ``head_seconds`` and
    ``body_seconds`` limit how long a client may take to send a request; ``collect_seconds`` is
    the interval for collecting outstanding images, ``poll_seconds`` for reading changes.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    token: SecretStr | None = None
    cors: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_waiting: int = DEFAULT_MAX_WAITING
    dagster_url: str = "http://127.0.0.1:3000"
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    collect_seconds: float = 60.0
    poll_seconds: float = 0.5

    @classmethod
    def of(cls, settings: Settings, **changes: Any) -> ServeOptions:  # noqa: ANN401 - any field
        """Options from the settings, changed by the command line's."""
        return cls(
            token=settings.token, cors=settings.cors, dagster_url=settings.dagster_url, **changes
        )

    def resolve_address(self) -> tuple[socket.AddressFamily, str]:
        """The address family and address to listen at; raises SetupError."""
        try:
            addresses = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError):
            addresses = []
        if not addresses or not self.host.strip():
            raise SetupError(
                f"{self.host!r} is not an address of this machine.",
                remedy="Omit --host to listen at 127.0.0.1, which only this machine can reach.",
            )
        family, _, _, _, address = addresses[0]
        return family, str(address[0])

    def check(self) -> None:
        """Raise SetupError for an address that other machines reach without a token."""
        _, address = self.resolve_address()
        if self.token is None and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise SetupError(
                f"{self.host} can be reached from other machines, and IMAGEGEN_TOKEN is not set: "
                "anybody could spend your money.",
                remedy="Set IMAGEGEN_TOKEN to the output of `openssl rand -hex 24`, or omit --host "
                "to listen on this machine only.",
            )
