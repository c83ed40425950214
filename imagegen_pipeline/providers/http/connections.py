"""Connections with limits: the hosts that they reach, and the time of each read.

requests limits the wait for each *piece* that arrives, so that a server which sends single bytes
blocks a thread for days: in the headers, in the length of a chunk, after the last chunk. Here
every read has one time-out, however many pieces it takes.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from imagegen_pipeline.providers.http.ssrf_guard import PublicHosts


class LimitedAdapter(HTTPAdapter):
    """An adapter of such connections. With ``hosts``, it connects to these only.

    Behind a proxy, the proxy resolves the name and connects, so ``hosts`` does not limit it.
    """

    def __init__(self, hosts: PublicHosts | None = None) -> None:
        self._hosts = hosts
        super().__init__(pool_maxsize=512, max_retries=0)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        """See ``HTTPAdapter.init_poolmanager``."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = _pools(self._hosts)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:  # noqa: ANN401
        """See ``HTTPAdapter.proxy_manager_for``."""
        manager = super().proxy_manager_for(proxy, **more)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _pools(None)
        return manager


def _pools(hosts: PublicHosts | None) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(_PlainConnection):
        public_hosts = hosts

    class Encrypted(_EncryptedConnection):
        public_hosts = hosts

    # Errors name the pool's class: users know them, and their texts, by urllib3's own names.
    return {
        "http": type("HTTPConnectionPool", (HTTPConnectionPool,), {"ConnectionCls": Plain}),
        "https": type("HTTPSConnectionPool", (HTTPSConnectionPool,), {"ConnectionCls": Encrypted}),
    }


class _Reader(io.RawIOBase):
    """The bytes of a socket, within its time-out since the last ``restart``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._seconds = sock.gettimeout()
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket until both are closed
        self.restart()

    def restart(self) -> None:
        """Restart the time-out."""
        self._began = time.monotonic()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        """See ``RawIOBase.readinto``; raises TimeoutError."""
        if self._seconds is not None:
            left = self._began + self._seconds - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Release the socket."""
        self._raw.close()
        super().close()


class _TimedAnswer(http.client.HTTPResponse):
    """An answer whose headers, and then each part, arrive within the socket's time-out."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **more)
        self.fp.close()
        self._reader = _Reader(sock)
        self.fp = io.BufferedReader(self._reader)

    def read1(self, n: int = -1) -> bytes:
        """See ``HTTPResponse.read1``."""
        self._reader.restart()
        return super().read1(n)


class _PlainConnection(HTTPConnection):
    response_class = _TimedAnswer
    public_hosts: ClassVar[PublicHosts | None] = None

    def _new_conn(self) -> socket.socket:
        if self.public_hosts is None:
            return super()._new_conn()
        return _connected(self, self.public_hosts)


class _EncryptedConnection(HTTPSConnection):
    response_class = _TimedAnswer
    public_hosts: ClassVar[PublicHosts | None] = None

    def _new_conn(self) -> socket.socket:
        if self.public_hosts is None:
            return super()._new_conn()
        return _connected(self, self.public_hosts)


def _connected(to: HTTPConnection, hosts: PublicHosts) -> socket.socket:
    """Connect as urllib3 does, with its errors, to checked addresses only."""
    try:
        return hosts.connect(to._dns_host, to.port, to.timeout, to.socket_options or ())
    except socket.gaierror as error:
        raise NameResolutionError(to.host, to, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(to, f"Connection to {to.host} timed out.") from error
    except (OSError, UnicodeError) as error:
        raise NewConnectionError(to, f"Failed to establish a new connection: {error}") from error
