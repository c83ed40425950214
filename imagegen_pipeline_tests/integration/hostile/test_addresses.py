"""URLs lead to the public internet only, however they are spelt or resolved."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import DownloadError, UrlRefusedError
from imagegen_pipeline.providers.base import Timeouts
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline.providers.http.ssrf_guard import is_public
from imagegen_pipeline_tests.integration.hostile.conftest import QUICK, Resolve
from imagegen_pipeline_tests.integration.hostile.raw_server import OK, at_once, raw_server

PUBLIC = "93.184.215.14"
NAME = "pictures.example"
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104 - an address to refuse, nothing listens on it
    "10.1.2.3",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "ff0e::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2002:5db8:d70e::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:db8::1",
    "100::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_stands_for_a_private_address_is_refused(
    address: str, strict: Downloader, resolver: Resolve
) -> None:
    """Loopback, private, link-local, multicast, reserved, and every IPv6 form of them."""
    resolver(NAME, [address])
    with pytest.raises(UrlRefusedError, match="points at the private address") as caught:
        strict.fetch(f"https://{NAME}/a.png")
    assert "IMAGEGEN_ALLOW_PRIVATE_HOSTS" in caught.value.remedy


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_changes_its_address_is_refused_at_the_connection(
    address: str, strict: Downloader, resolver: Resolve
) -> None:
    """DNS rebinding: public at the check, private at the connection."""
    asked = resolver(NAME, [PUBLIC], [address])
    with pytest.raises(UrlRefusedError, match="points at the private address"):
        strict.fetch(f"https://{NAME}/a.png")
    assert asked == [NAME, NAME]


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses_are_public(address: str) -> None:
    """An ordinary address is accepted, also mapped or behind NAT64."""
    assert is_public(ipaddress.ip_address(address))


def test_a_local_server_sees_nothing_of_a_rebound_name(
    strict: Downloader, resolver: Resolve
) -> None:
    """No connection is made to the local server that the second lookup returns."""
    with raw_server() as inside:
        resolver(NAME, [PUBLIC], ["127.0.0.1"])
        with pytest.raises(UrlRefusedError, match=r"private address 127\.0\.0\.1"):
            strict.fetch(f"https://{NAME}:{inside.port}/a.png")
        assert inside.seen == []


def test_one_private_address_among_public_ones_is_enough(
    strict: Downloader, resolver: Resolve
) -> None:
    """A name with several addresses is refused for the private one."""
    resolver(NAME, [PUBLIC, "10.0.0.1"])
    with pytest.raises(UrlRefusedError, match=r"10\.0\.0\.1"):
        strict.fetch(f"https://{NAME}/a.png")


def test_a_redirect_to_a_rebound_name_is_refused(trusting: Downloader, resolver: Resolve) -> None:
    """An allowed host cannot redirect to a name that becomes private; the batch continues."""
    with raw_server() as inside:
        resolver(NAME, [PUBLIC], ["127.0.0.1"])
        head = f"Location: https://{NAME}:{inside.port}/a.png\r\nContent-Length: 0\r\n\r\n"
        redirect = b"HTTP/1.1 302 Found\r\n" + head.encode()
        with (
            raw_server(at_once(redirect)) as allowed,
            pytest.raises(DownloadError, match=r"private address 127\.0\.0\.1") as caught,
        ):
            trusting.fetch(f"{allowed.url}/a.png")
        assert inside.seen == []
    assert (caught.value.kind, caught.value.stops_batch) == ("download", False)


def test_a_plain_http_redirect_away_from_an_allowed_host_is_refused(
    trusting: Downloader, resolver: Resolve
) -> None:
    """Plain HTTP is allowed for the hosts of the setting only."""
    with raw_server() as inside:
        resolver(NAME, ["127.0.0.1"])
        head = f"Location: http://{NAME}:{inside.port}/a.png\r\nContent-Length: 0\r\n\r\n"
        redirect = b"HTTP/1.1 302 Found\r\n" + head.encode()
        with (
            raw_server(at_once(redirect)) as allowed,
            pytest.raises(DownloadError, match="not an https address"),
        ):
            trusting.fetch(f"{allowed.url}/a.png")
        assert inside.seen == []


SPELLINGS = [
    "127.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0x7f000001",
    "0x7f.0.0.1",
    "127.0.0.1.",
    "LOCALHOST",
    "LocalHost.",
    "good@127.0.0.1",
    "good.example:443@127.0.0.1",
    "good.example%2f@127.0.0.1",
    "127.0.0.1\\@good.example",
    "127.0.0.1#@good.example",
    "127.0.0.1?@good.example",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[::1%25lo]",
    "[::1%lo]",
    "%31%32%37.0.0.1",
    "127.0.0.1%00.good.example",
    "127.0.0.1\t",
    " 127.0.0.1",
]


@pytest.mark.parametrize("host", SPELLINGS)
@pytest.mark.parametrize("scheme", ["https://", "HTTPS://", "hTTps://", "https:/\\", "https:\\\\"])
def test_no_spelling_of_this_machine_reaches_it(
    host: str, scheme: str, strict: Downloader, resolver: Resolve
) -> None:
    """Numbers, users, backslashes, confusable letters, zones and escapes: nothing is sent."""
    resolver("good.example", [PUBLIC])
    with raw_server() as inside:
        for url in (f"{scheme}{host}:{inside.port}/a.png", f"{scheme}{host}/a.png"):
            with pytest.raises(DownloadError):
                strict.fetch(url)
        assert inside.seen == []


@pytest.mark.parametrize(
    ("allowed", "host"),
    [("127.0.0.1", "127.0.0.1@10.0.0.1"), ("good.example", "good.example:x@10.0.0.1")],
)
def test_a_user_in_the_url_is_not_its_host(
    allowed: str, host: str, opened: Callable[[Any], Any]
) -> None:
    """The part before the @ allows nothing."""
    client = opened(Downloader(timeouts=QUICK, allow_private_hosts=(allowed,)))
    with pytest.raises(DownloadError, match=r"private address 10\.0\.0\.1"):
        client.fetch(f"https://{host}/a.png")


@pytest.mark.parametrize("setting", ["files.local", "FILES.Local", "files.local."])
@pytest.mark.parametrize("host", ["files.local", "Files.LOCAL", "files.local."])
def test_an_allowed_host_is_reached_however_it_is_written(
    setting: str, host: str, opened: Callable[[Any], Any], resolver: Resolve
) -> None:
    """Letter case and a trailing dot do not make another host, in the setting or the URL."""
    resolver("files.local", ["127.0.0.1"])
    resolver("files.local.", ["127.0.0.1"])
    client = opened(Downloader(timeouts=QUICK, allow_private_hosts=(setting,)))
    with raw_server(at_once(OK, b"Content-Length: 2\r\n\r\nok")) as server:
        assert client.fetch(f"http://{host}:{server.port}/a.png") == b"ok"


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of this machine that drops connection attempts, like a firewall."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(3):  # more than the queue holds: further attempts are dropped
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            waiting.append(filler)
        yield listener.getsockname()[1]
        for filler in waiting:
            filler.close()


def test_many_addresses_share_one_time_out(
    opened: Callable[[Any], Any], resolver: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with fifty silent addresses costs one time-out, not fifty."""
    resolver(NAME, ["127.0.0.1"] * 50)
    timeouts = Timeouts(connect=0.3, read=0.3, download=5)
    client = opened(Downloader(timeouts=timeouts, allow_private_hosts=(NAME,)))
    attempts: list[Any] = []
    connect = socket.socket.connect

    def counted(connection: socket.socket, address: Any) -> None:
        attempts.append(address)
        connect(connection, address)

    with silent_port() as port:
        monkeypatch.setattr(socket.socket, "connect", counted)
        with pytest.raises(DownloadError, match="ConnectTimeoutError"):
            client.fetch(f"http://{NAME}:{port}/a.png")
    assert 1 <= len(attempts) < 10, "the first silent address uses up the time"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the machine's proxy for https."""
    for name in ("https_proxy", "all_proxy", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return lambda url: monkeypatch.setenv("HTTPS_PROXY", url)


def test_a_proxy_is_asked_for_no_private_address(
    strict: Downloader, proxied: Callable[[str], None], resolver: Resolve
) -> None:
    """A known private address is refused before the proxy is asked."""
    resolver(NAME, ["10.0.0.1"])
    with raw_server() as proxy:
        proxied(proxy.url)
        for host in (NAME, "127.0.0.1", "169.254.169.254"):
            with pytest.raises(UrlRefusedError, match="private address"):
                strict.fetch(f"https://{host}/a.png")
        assert proxy.seen == []


def test_each_host_has_the_proxy_that_the_machine_names_for_it(
    trusting: Downloader, proxied: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host in NO_PROXY is asked directly, whichever host was asked before."""
    with raw_server(at_once(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy, raw_server() as direct:
        proxied(proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for asked in (1, 2):
            with pytest.raises(DownloadError):
                trusting.fetch("https://no-such-host.invalid/a.png")
            with contextlib.suppress(DownloadError):
                trusting.fetch(f"{direct.url}/a.png")
            assert (len(proxy.seen), len(direct.seen)) == (asked, asked)


def test_a_name_that_only_the_proxy_knows_is_left_to_it(
    strict: Downloader, proxied: Callable[[str], None]
) -> None:
    """Without DNS, downloads work through the proxy, which resolves the names."""
    with raw_server(at_once(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
        proxied(proxy.url)
        with pytest.raises(DownloadError, match="ProxyError"):
            strict.fetch("https://no-such-host.invalid/a.png")
        (request,) = proxy.seen
    assert request.startswith(b"CONNECT no-such-host.invalid:443 ")
