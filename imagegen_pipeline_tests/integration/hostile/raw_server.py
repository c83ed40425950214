"""A server that sends given bytes to every client, whatever the client requests."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

Bytes = Iterable[bytes]
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
GIVE_UP_SECONDS = 60.0
"""Seconds after which the server gives up: a client without limits waits this long."""


class RawServer:
    """Listens on a port of 127.0.0.1.

    ``seen`` holds the first bytes of each connection. ``gave_up`` says whether a connection
    lasted until the server ended it, so that a client's limits did not.
    """

    def __init__(self, answer: Callable[[], Bytes], tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[bytes] = []
        self.gave_up = False
        self._answer = answer
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ended = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        connection.settimeout(GIVE_UP_SECONDS)
        with contextlib.suppress(OSError), self._encrypted(connection) as connection:
            self.seen.append(b"")
            at = len(self.seen) - 1
            self.seen[at] = connection.recv(65536)
            for part in self._answer():
                connection.sendall(part)
                self.gave_up |= time.monotonic() > deadline
                if self._ended.is_set() or self.gave_up:
                    return
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # closing with unread bytes would cut the answer off
                pass

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def close(self) -> None:
        """Stop listening."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()


@contextmanager
def raw_server(
    answer: Callable[[], Bytes] = lambda: (), *, tls: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """A server that sends the parts of ``answer`` while the ``with`` block runs."""
    server = RawServer(answer, tls)
    try:
        yield server
    finally:
        server.close()


def dripping(*before: bytes, byte: bytes = b"a") -> Callable[[], Bytes]:
    """Sends ``before``, then one byte every 50 ms."""

    def answer() -> Bytes:
        yield from before
        while True:
            time.sleep(0.05)
            yield byte

    return answer


def flooding(*before: bytes, part: bytes) -> Callable[[], Bytes]:
    """Sends ``before``, then repeats ``part`` without a pause."""

    def answer() -> Bytes:
        yield from before
        while True:
            yield part * 1000

    return answer


def at_once(*parts: bytes) -> Callable[[], Bytes]:
    """Sends these bytes and closes."""
    return lambda: parts


def then_silence(*parts: bytes) -> Callable[[], Bytes]:
    """Sends these bytes, then nothing, with the connection open."""

    def answer() -> Bytes:
        yield from parts
        while True:
            time.sleep(0.05)
            yield b""

    return answer
