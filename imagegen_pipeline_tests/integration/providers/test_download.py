"""Downloads: whole pictures in time, never with a key, never from inside the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import DownloadError, NotAPictureError
from imagegen_pipeline.domain.image.decode import decode_picture
from imagegen_pipeline.providers.base import Timeouts
from imagegen_pipeline.providers.duomi.client import DuomiClient
from imagegen_pipeline.providers.http import download
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline_tests.conftest import Simulator
from imagegen_pipeline_tests.integration.providers.local_services import (
    HURRIED,
    closed_port,
    recording,
    sdxl,
)

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def picture_url(duomi: DuomiClient) -> str:
    """The URL of a picture that the simulator has made."""
    report = duomi.submit(sdxl()).report
    assert report is not None
    assert report.images[0].url is not None
    return report.images[0].url


@pytest.fixture
def hurried(opened: Callable[[Any], Any]) -> Downloader:
    """A downloader with a deadline of a fraction of a second."""
    client: Downloader = opened(Downloader(timeouts=HURRIED, allow_private_hosts=("127.0.0.1",)))
    return client


@pytest.fixture
def strict(opened: Callable[[Any], Any]) -> Downloader:
    """A downloader with default settings."""
    client: Downloader = opened(Downloader())
    return client


def redirecting(locations: Iterator[str]) -> Answer:
    """Answers every request with a redirect to the next location."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", next(locations))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_a_picture_arrives_whole_and_the_key_stays_at_home(
    picture_url: str, downloader: Downloader, simulator: Simulator
) -> None:
    """The bytes at the URL are the picture, and the host was never sent a key."""
    assert decode_picture(downloader.fetch(picture_url)).width == 64
    stats = simulator.stats()
    assert (stats["downloads"], stats["key_leaks"]) == (1, 0)


def test_no_credentials_of_the_machine_are_sent(
    downloader: Downloader, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a ``.netrc`` nor a password in the URL becomes an Authorization header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    with recording(answer) as server:
        for url in (server.url, server.url.replace("//", "//somebody:secret@")):
            assert downloader.fetch(f"{url}/x") == b"ok"
    assert [request["headers"].get("authorization") for request in server.requests] == [None, None]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "172.16.0.9",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - an address to refuse, nothing listens on it
        "[::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
    ],
)
def test_private_addresses_are_refused(host: str, strict: Downloader) -> None:
    """A URL that points into this machine or network is refused, with the setting to allow it."""
    with pytest.raises(DownloadError, match="private address") as caught:
        strict.fetch(f"https://{host}/picture.png")
    assert (caught.value.kind, caught.value.stops_batch) == ("url_refused", True)
    assert "IMAGEGEN_ALLOW_PRIVATE_HOSTS" in caught.value.remedy


@pytest.mark.parametrize(
    "url", ["http://example.com/a.png", "ftp://example.com/a", "file:///etc/passwd", "a.png", "//x"]
)
def test_only_https_is_fetched(url: str, strict: Downloader) -> None:
    """Plain http and every other scheme are refused before anything is sent."""
    with pytest.raises(DownloadError, match="not an https address"):
        strict.fetch(url)


def test_allowing_one_host_allows_no_other(picture_url: str, strict: Downloader) -> None:
    """The simulator's own URL is refused by a downloader that does not allow its host."""
    with pytest.raises(DownloadError, match="not an https address"):
        strict.fetch(picture_url)


def test_an_allowed_host_is_found_in_any_case(
    simulator: Simulator, picture_url: str, opened: Callable[[Any], Any]
) -> None:
    """Host names have no case: ``LOCALHOST`` in the setting allows ``localhost``."""
    client = opened(Downloader(allow_private_hosts=("LOCALHOST",)))
    assert client.fetch(picture_url.replace("127.0.0.1", "localhost"))


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1/a.png",
        f"https://{'a' * 64}.example/a.png",
        "https://no-such-host.invalid/a.png",
        "https://exa mple.invalid/a.png",
        "http://127.0.0.1:99999999/a.png",
    ],
)
def test_an_address_that_is_none_did_not_deliver(url: str, downloader: Downloader) -> None:
    """Anything that is no URL, in a URL's place, is a download error."""
    with pytest.raises(DownloadError):
        downloader.fetch(url)


def test_redirects_are_followed_a_few_times(picture_url: str, downloader: Downloader) -> None:
    """Five redirects, relative ones too, still lead to the picture; a sixth is too many."""

    def chain(length: int) -> Iterator[str]:
        yield from (f"/hop{number}" for number in range(length - 1))
        yield picture_url

    with recording(redirecting(chain(5))) as server:
        assert decode_picture(downloader.fetch(f"{server.url}/start")).width == 64
        assert len(server.requests) == 5
    with (
        recording(redirecting(chain(6))) as server,
        pytest.raises(DownloadError, match="more than 5 times"),
    ):
        downloader.fetch(f"{server.url}/start")


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("https://10.0.0.1/inside", "private address"),
        ("https://localhost/inside", "private address"),
        ("http://example.com/a", "not an https address"),
        ("file:///etc/passwd", "not an https address"),
        ("https://[::1", "no address"),
    ],
)
def test_a_redirect_is_checked_like_a_url(
    location: str,
    complaint: str,
    picture_url: str,
    downloader: Downloader,
    simulator: Simulator,
) -> None:
    """An allowed host cannot redirect to one that is not allowed."""
    simulator.fault(provider="files", operation="download", fault="redirect", location=location)
    with pytest.raises(DownloadError, match=complaint):
        downloader.fetch(picture_url)


def test_a_redirect_without_a_location_did_not_deliver(
    picture_url: str, downloader: Downloader, simulator: Simulator
) -> None:
    """A 302 to nowhere is not a picture."""
    simulator.fault(provider="files", operation="download", fault="status", status=302)
    with pytest.raises(DownloadError, match="status 302"):
        downloader.fetch(picture_url)


@pytest.mark.parametrize(("fault", "status"), [("expired", 404), ("expired_url", 403)])
def test_a_url_that_has_expired_says_its_status(
    fault: str, status: int, picture_url: str, downloader: Downloader, simulator: Simulator
) -> None:
    """Gone or forbidden is a download error that hopes for another try."""
    simulator.fault(provider="files", operation="download", fault=fault)
    with pytest.raises(DownloadError, match=f"status {status}") as caught:
        downloader.fetch(picture_url)
    assert "downloaded again, not bought again" in caught.value.remedy
    assert decode_picture(downloader.fetch(picture_url)).width == 64


@pytest.mark.parametrize("fault", ["reset_before", "reset_after_work", "reset_midbody"])
def test_a_body_that_breaks_off_is_never_a_picture(
    fault: str, picture_url: str, downloader: Downloader, simulator: Simulator
) -> None:
    """Half of the announced bytes raise; they are not returned."""
    simulator.fault(provider="files", operation="download", fault=fault)
    with pytest.raises(DownloadError, match="did not deliver: ProtocolError"):
        downloader.fetch(picture_url)


def test_a_picture_cut_in_half_at_the_source_arrives_as_it_is(
    picture_url: str, downloader: Downloader, simulator: Simulator
) -> None:
    """What the host announces as whole is handed on, and refused where it is decoded."""
    simulator.fault(provider="files", operation="download", fault="truncated_picture")
    data = downloader.fetch(picture_url)
    with pytest.raises(NotAPictureError):
        decode_picture(data)


def test_a_slow_drip_ends_at_the_deadline(
    picture_url: str, hurried: Downloader, simulator: Simulator
) -> None:
    """A byte now and then does not keep a download alive past its deadline."""
    simulator.fault(
        provider="files", operation="download", fault="slow_drip", seconds_per_byte=0.05
    )
    with pytest.raises(DownloadError, match=r"not complete after 0\.3 s"):
        hurried.fetch(picture_url)


def test_a_host_that_says_nothing_ends_at_the_deadline(
    picture_url: str, hurried: Downloader, simulator: Simulator
) -> None:
    """Silence is not waited for longer than the download may take."""
    simulator.fault(provider="files", operation="download", fault="hang", seconds=30)
    with pytest.raises(DownloadError, match="ReadTimeout"):
        hurried.fetch(picture_url)


def test_slow_redirects_share_one_deadline(opened: Callable[[Any], Any]) -> None:
    """A chain of slow redirects does not get the time-out once each."""
    client = opened(
        Downloader(
            timeouts=Timeouts(connect=5, read=5, download=0.4), allow_private_hosts=("127.0.0.1",)
        )
    )

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.25)
        redirecting(iter(["/again"]))(handler)

    with recording(answer) as server, pytest.raises(DownloadError) as late:
        client.fetch(f"{server.url}/start")
    assert "redirects more than" not in str(late.value)
    assert len(server.requests) < 4


def test_a_body_without_end_is_cut_off(
    downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More bytes than any picture has are not read to their end."""
    monkeypatch.setattr(download, "LARGEST_BYTES", 1_000_000)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(bytes(100_000))
        except OSError:
            handler.close_connection = True  # the client has left, as it should

    with recording(answer) as server, pytest.raises(DownloadError, match="more than 1,000,000"):
        downloader.fetch(f"{server.url}/endless")


def test_a_host_that_is_down_did_not_deliver(downloader: Downloader) -> None:
    """A refused connection is a download error that says so."""
    with pytest.raises(DownloadError, match="did not deliver: NewConnectionError"):
        downloader.fetch(f"http://127.0.0.1:{closed_port()}/a.png")


def test_a_signature_in_the_url_is_in_no_message(
    simulator: Simulator, downloader: Downloader, strict: Downloader
) -> None:
    """Signed URLs are secrets for an hour: messages show them without their query."""
    signed = f"{simulator.url}/files/none/a.png?X-Amz-Signature=5ecre7"
    for client in (downloader, strict):
        with pytest.raises(DownloadError, match=r"/files/none/a\.png") as caught:
            client.fetch(signed)
        assert "5ecre7" not in caught.value.sentence
