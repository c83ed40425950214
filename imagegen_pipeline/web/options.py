"""What the server is started with, and what of it is refused."""

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
MOST_WAITING = 500


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the server listens, and whom it answers.

    ``cors`` are the origins whose pages may call it, ``allowed_hosts`` names it goes by beside
    its own addresses. ``max_waiting`` is in items. Seconds: ``head_seconds`` and
    ``body_seconds`` are what a client has to send a request, ``collect_seconds`` the time
    between two looks for what earlier processes left, ``poll_seconds`` between two looks for
    changes.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    token: SecretStr | None = None
    cors: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_waiting: int = MOST_WAITING
    dagster_url: str = "http://127.0.0.1:3000"
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    collect_seconds: float = 60.0
    poll_seconds: float = 0.5

    @classmethod
    def of(cls, settings: Settings, **changes: Any) -> ServeOptions:  # noqa: ANN401 - any field
        """The settings' token, origins and addresses, with what the command line says."""
        return cls(
            token=settings.token, cors=settings.cors, dagster_url=settings.dagster_url, **changes
        )

    def place(self) -> tuple[socket.AddressFamily, str]:
        """The address to listen at, resolved once; raises SetupError."""
        try:
            found = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError):
            found = []
        if not found or not self.host.strip():
            raise SetupError(
                f"{self.host!r} is not an address of this machine.",
                remedy="Leave --host out to listen at 127.0.0.1, which only this machine reaches.",
            )
        family, _, _, _, address = found[0]
        return family, str(address[0])

    def check(self) -> None:
        """Raise SetupError for what would open the gallery to anybody."""
        _, address = self.place()
        if self.token is None and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise SetupError(
                f"{self.host} can be reached from other machines, and IMAGEGEN_TOKEN is not set: "
                "anybody could spend your money.",
                remedy="Set IMAGEGEN_TOKEN to what `openssl rand -hex 24` prints, or leave --host "
                "out to listen on this machine only.",
            )
