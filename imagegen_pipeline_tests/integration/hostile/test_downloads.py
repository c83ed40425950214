"""Downloads from a host that tries to take time, memory or the key."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import DownloadError
from imagegen_pipeline.domain.image.decode import LARGEST_BYTES
from imagegen_pipeline.providers.http import download
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline_tests.conftest import Project
from imagegen_pipeline_tests.integration.hostile.raw_server import (
    OK,
    Bytes,
    at_once,
    dripping,
    flooding,
    raw_server,
    then_silence,
)
from imagegen_pipeline_tests.integration.providers.local_services import HURRIED

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW: dict[str, Callable[[], Bytes]] = {
    "the status line": dripping(b"HTTP/1.1 200 "),
    "a header": dripping(OK, b"X-Slow: "),
    "many headers": dripping(OK, byte=b"X: 1\r\n"),
    "answers before the answer": dripping(byte=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "answers before the answer, fast": flooding(part=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": dripping(OK, b"Content-Length: 99999\r\n\r\n"),
    "the length of a chunk": dripping(CHUNKED, b"5;"),
    "the chunks": dripping(CHUNKED, byte=b"1\r\na\r\n"),
    "what follows the last chunk": dripping(CHUNKED, b"0\r\n", byte=b"X: 1\r\n"),
    "what follows the last chunk, fast": flooding(CHUNKED, b"0\r\n", part=b"X: 1\r\n"),
    "silence before the answer": then_silence(),
    "silence in the headers": then_silence(OK, b"X: "),
    "silence in the body": then_silence(OK, b"Content-Length: 99999\r\n\r\nab"),
    "a body that inflates to nothing": flooding(
        OK, b"Content-Encoding: gzip\r\n\r\n", part=gzip.compress(b"")
    ),
}


@pytest.mark.parametrize("what", SLOW)
def test_no_part_of_an_answer_may_take_longer_than_the_download(
    what: str, opened: Callable[[Any], Any]
) -> None:
    """A slow or endless download ends at its time limit."""
    hurried = opened(Downloader(timeouts=HURRIED, allow_private_hosts=("127.0.0.1",)))
    with raw_server(SLOW[what]) as server:
        with pytest.raises(DownloadError):
            hurried.fetch(f"{server.url}/a.png")
        assert not server.gave_up


@pytest.mark.parametrize("length", [LARGEST_BYTES + 1, 10**18])
def test_an_announced_length_over_the_limit_is_not_read(length: int, trusting: Downloader) -> None:
    """A too large Content-Length is refused before the body is read."""
    with (
        raw_server(then_silence(OK, b"Content-Length: %d\r\n\r\n" % length)) as server,
        pytest.raises(DownloadError, match=f"more than {LARGEST_BYTES:,} bytes"),
    ):
        trusting.fetch(f"{server.url}/a.png")


def encoded(name: str, body: bytes) -> Callable[[], Bytes]:
    """An answer with this Content-Encoding."""
    head = f"Content-Encoding: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
    return at_once(OK + head.encode() + body)


@pytest.mark.parametrize(("name", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_that_inflates_past_the_limit_is_cut_off(
    name: str, squeeze: Callable[[bytes], bytes], trusting: Downloader
) -> None:
    """A bomb of 200 KB is inflated up to the limit only, in memory too."""
    bomb = squeeze(bytes(3 * LARGEST_BYTES))
    with raw_server(encoded(name, bomb)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(DownloadError, match=f"more than {LARGEST_BYTES:,} bytes"):
                trusting.fetch(f"{server.url}/a.png")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 1.5 * LARGEST_BYTES


def raw_deflate(body: bytes) -> bytes:
    """Deflate without zlib's header, as some hosts send it."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


def gzipped(body: bytes) -> bytes:
    """Gzip with a constant time, because it is part of the tests' ids."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", gzipped(b"picture")),
        ("x-gzip", gzipped(b"picture") + bytes(20)),
        ("GZIP", gzipped(b"pic") + gzipped(b"ture")),
        ("deflate", zlib.compress(b"picture")),
        ("deflate", raw_deflate(b"picture")),
        ("identity", b"picture"),
    ],
)
def test_an_encoded_body_is_decoded(name: str, body: bytes, trusting: Downloader) -> None:
    """Every usual content encoding is decoded."""
    with raw_server(encoded(name, body)) as server:
        assert trusting.fetch(f"{server.url}/a.png") == b"picture"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip, gzip", gzipped(gzipped(b"picture"))),
        ("br", b"picture"),
        ("gzip", b"picture"),
        ("gzip", gzipped(bytes(9999))[:-12]),
        ("deflate", zlib.compress(bytes(9999))[:-6]),
    ],
)
def test_a_body_of_another_encoding_is_refused(
    name: str, body: bytes, trusting: Downloader
) -> None:
    """Encodings that are double (a bomb within a bomb), not requested, damaged or cut off are
    refused.
    """
    with (
        raw_server(encoded(name, body)) as server,
        pytest.raises(DownloadError, match="ContentDecodingError"),
    ):
        trusting.fetch(f"{server.url}/a.png")


@pytest.mark.parametrize("path", ["x" * 9000, "\x1b[2J", "a\u202eb", "'\"<b>"])
def test_a_refusal_shows_a_url_short_and_harmless(path: str, trusting: Downloader) -> None:
    """Signature, user, control and bidi characters and a long path are in no message."""
    with raw_server(at_once(b"HTTP/1.1 404 Not Found\r\n\r\n")) as server:
        url = f"{server.url.replace('//', '//user:pass@')}/{path}?X-Amz-Signature=5ecre7"
        with pytest.raises(DownloadError, match="status 404") as caught:
            trusting.fetch(url)
    sentence = caught.value.sentence
    assert len(sentence) < 600
    assert sentence.isprintable()
    assert not any(secret in sentence for secret in ("5ecre7", "user", "pass", "<b>"))


def test_a_host_gets_no_cookie_back(trusting: Downloader) -> None:
    """A host's cookie is sent neither to it nor to the host that it redirects to."""
    answer = b"Set-Cookie: id=1; Path=/\r\nContent-Length: 2\r\n\r\nok"
    with raw_server(at_once(OK + answer)) as server:
        for _ in range(2):
            trusting.fetch(f"{server.url}/a.png")
        assert not any(b"cookie" in request.lower() for request in server.seen)
        assert len(server.seen) == 2


def test_the_key_goes_to_no_host_that_an_answer_names(
    live_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the image's host nor the one it redirects to gets the key, even with a .netrc for
    both.
    """
    key = "sk-canary-0123456789"
    netrc = live_project.root / "netrc"
    netrc.write_text("default login somebody password netrc-secret\n")
    netrc.chmod(0o600)
    picture = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with raw_server(at_once(picture)) as second:
        to = f"HTTP/1.1 302 Found\r\nLocation: {second.url}/b.png\r\nContent-Length: 0\r\n\r\n"
        with raw_server(at_once(to.encode())) as first:
            body = json.dumps({"images": [{"url": f"{first.url}/a.png"}]}).encode()
            head = b"Content-Length: %d\r\n\r\n" % len(body)
            with raw_server(at_once(OK + head + body)) as provider:
                monkeypatch.setenv("DUOMI_BASE_URL", provider.url)
                monkeypatch.setenv("DUOMI_API_KEY", key)
                monkeypatch.setenv("NETRC", str(netrc))
                live_project.run(
                    *("imagegen", "generate", "--source", "prompt", "--prompt", "a pier"),
                    check=False,
                    DUOMI_BASE_URL=provider.url,
                    DUOMI_API_KEY=key,
                )
    assert key.encode() in provider.seen[0]
    for hosts in (first.seen, second.seen):
        assert hosts
        for request in hosts:
            assert b"authorization" not in request.lower()
            assert key.encode() not in request


def test_the_limit_holds_for_what_is_not_announced(
    trusting: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endless chunks are cut off at the limit."""
    monkeypatch.setattr(download, "LARGEST_BYTES", 1_000_000)
    with (
        raw_server(flooding(CHUNKED, part=b"10\r\n0123456789abcdef\r\n")) as server,
        pytest.raises(DownloadError, match="more than 1,000,000 bytes"),
    ):
        trusting.fetch(f"{server.url}/a.png")
