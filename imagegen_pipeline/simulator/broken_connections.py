"""The TCP connections of the requests, so that a fault can break one as a network does."""

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Scope


class Connections:
    """Open connections by the address of the client at their other end."""

    def __init__(self) -> None:
        """Start with none."""
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol_class(self) -> type[asyncio.Protocol]:
        """uvicorn's HTTP protocol, which records each connection here."""
        transports = self._transports

        class NotedConnection:
            _client: tuple[str, int] | None = None

            def connection_made(self, transport: asyncio.Transport) -> None:
                peer = transport.get_extra_info("peername")
                if peer is not None:  # None when the client has left already
                    self._client = (peer[0], peer[1])
                    transports[self._client] = transport
                super().connection_made(transport)  # type: ignore[misc]

            def connection_lost(self, exc: Exception | None) -> None:
                if self._client is not None:
                    transports.pop(self._client, None)
                super().connection_lost(exc)  # type: ignore[misc]

        return type("NotedHttpProtocol", (NotedConnection, _uvicorn_protocol()), {})

    def close(self, scope: Scope) -> None:
        """End the request's connection after what was already sent, in the middle of an answer."""
        transport = self._under(scope)
        if transport is not None:
            transport.close()

    def reset(self, scope: Scope) -> None:
        """Break the request's connection at once: the client sees a TCP reset."""
        transport = self._under(scope)
        if transport is None:
            return
        lingering: socket.socket | None = transport.get_extra_info("socket")
        if lingering is not None:
            no_linger = struct.pack("ii", 1, 0)
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        transport.abort()

    def _under(self, scope: Scope) -> asyncio.Transport | None:
        client = scope.get("client")
        return self._transports.get((client[0], client[1])) if client is not None else None


def _uvicorn_protocol() -> type[Any]:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol

        return H11Protocol
    return HttpToolsProtocol
