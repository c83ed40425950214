"""The limits of plain HTTP also hold over TLS, with a certificate of our own."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagegen_pipeline.domain.errors import DownloadError, OutcomeUnknownError, UnreachableError
from imagegen_pipeline.providers.http.download import Downloader
from imagegen_pipeline_tests.integration.hostile.conftest import QUICK, Resolve
from imagegen_pipeline_tests.integration.hostile.raw_server import OK, Bytes, at_once, raw_server
from imagegen_pipeline_tests.integration.hostile.test_downloads import SLOW
from imagegen_pipeline_tests.integration.providers.local_services import HURRIED, duomi_at, sdxl

NAME = "pictures.example"
PICTURE = at_once(OK, b"Content-Length: 2\r\n\r\nok")


CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgGL1nusvFxmcrF4fU
V8gTglOnmL6qjdJZasZNcPxxXO+hRANCAASRjfchkq3qJJqNad1VNJX+/Qev9tD4
+2zce6alCzg14iJkEExk10mnopwqZKsUHV0sm/c6wl6tczYjetInZHwp
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBVjCB/aADAgECAgEBMAoGCCqGSM49BAMCMBsxGTAXBgNVBAMMEHBpY3R1cmVz
LmV4YW1wbGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBsxGTAX
BgNVBAMMEHBpY3R1cmVzLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASRjfchkq3qJJqNad1VNJX+/Qev9tD4+2zce6alCzg14iJkEExk10mnopwqZKsU
HV0sm/c6wl6tczYjetInZHwpozAwLjAbBgNVHREEFDASghBwaWN0dXJlcy5leGFt
cGxlMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAJbbyZyui7QU
EI33jYrpsiEgq/QUynW/fZIKDcc4pP5YAiAicC7LfzlQSR/EEnfZsTgcYtVISslu
+TI61rajgt89Cw==
-----END CERTIFICATE-----
"""
"""A self-signed authority for the name, until 2120; the key is used in these tests only."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The certificate with its key, in a file."""
    path = tmp_path / "certificate.pem"
    path.write_text(CERTIFICATE)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's TLS settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch, resolver: Resolve) -> None:
    """This machine trusts the certificate and resolves the name."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    resolver(NAME, ["127.0.0.1"])


def downloader(opened: Callable[[Any], Any], timeouts: Any = QUICK) -> Downloader:
    """A downloader that may fetch from the name."""
    client: Downloader = opened(Downloader(timeouts=timeouts, allow_private_hosts=(NAME,)))
    return client


def test_a_picture_comes_over_tls(
    trusted: None, tls: ssl.SSLContext, opened: Callable[[Any], Any]
) -> None:
    """Two downloads succeed under the name of the certificate."""
    client = downloader(opened)
    with raw_server(PICTURE, tls=tls) as server:
        for _ in range(2):
            assert client.fetch(f"https://{NAME}:{server.port}/a.png") == b"ok"


def test_a_host_without_a_right_certificate_gets_no_request(
    tls: ssl.SSLContext, opened: Callable[[Any], Any], resolver: Resolve
) -> None:
    """A host that may be private still needs a valid certificate."""
    resolver(NAME, ["127.0.0.1"])
    with raw_server(PICTURE, tls=tls) as server:
        with pytest.raises(DownloadError, match="SSLError"):
            downloader(opened).fetch(f"https://{NAME}:{server.port}/a.png")
        with pytest.raises(UnreachableError):
            opened(duomi_at(f"https://{NAME}:{server.port}")).submit(sdxl())
        assert not any(server.seen)


@pytest.mark.parametrize(
    "what", ["a header", "the body", "the length of a chunk", "silence in the body"]
)
def test_slow_answers_end_over_tls_too(
    what: str, trusted: None, tls: ssl.SSLContext, opened: Callable[[Any], Any]
) -> None:
    """A download and a submit end by their own time-outs when bytes arrive one by one."""
    answer: Callable[[], Bytes] = SLOW[what]
    with raw_server(answer, tls=tls) as server:
        with pytest.raises(DownloadError):
            downloader(opened, HURRIED).fetch(f"https://{NAME}:{server.port}/a.png")
        client = opened(duomi_at(f"https://{NAME}:{server.port}", timeouts=HURRIED))
        with pytest.raises(OutcomeUnknownError):
            client.submit(sdxl())
        assert not server.gave_up


def test_a_silent_handshake_ends_in_time(trusted: None, opened: Callable[[Any], Any]) -> None:
    """A host that accepts the connection without a TLS handshake is abandoned."""
    with raw_server(SLOW["silence before the answer"]) as server:
        with pytest.raises(DownloadError):
            downloader(opened, HURRIED).fetch(f"https://{NAME}:{server.port}/a.png")
        assert not server.gave_up
