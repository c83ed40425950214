"""Prepared pictures, which the simulator sends as they are."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from imagegen_pipeline.simulator.command import simulate
from imagegen_pipeline.simulator.pictures import Recipe, render_png
from imagegen_pipeline_tests.integration.simulator.clients import (
    SDXL,
    SimulatorClient,
    decode,
    open_picture,
)

Start = Callable[..., SimulatorClient]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three prepared pictures of 64x96, one of 32x32, and what is no picture."""
    for shade in (10, 20, 30):
        Image.new("RGB", (64, 96), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "small.png")
    (tmp_path / "notes.png").write_text("no picture")
    (tmp_path / "more.png").mkdir()
    return tmp_path


def downloaded(simulated: SimulatorClient, **fields: object) -> bytes:
    """The file of the one picture that a request brings."""
    (image,) = simulated.duomi(**fields).json()["images"]
    return bytes(simulated.download(image["url"]).content)


def test_a_prepared_picture_is_sent_as_it_is(start: Start, folder: Path) -> None:
    """A size that the folder has is answered with the bytes of its files, all of them in use."""
    simulated = start(pictures=folder)
    sent = {downloaded(simulated, seed=seed) for seed in range(40)}
    assert sent == {(folder / f"{shade}.png").read_bytes() for shade in (10, 20, 30)}
    assert downloaded(simulated, image_size="32x32") == (folder / "small.png").read_bytes()
    assert simulated.stats()["duomi"]["billed"] == simulated.stats()["downloads"] == 41


def test_equal_requests_get_the_same_prepared_picture(start: Start, folder: Path) -> None:
    """The recipe decides which file is sent, whatever was sent before."""
    simulated = start(pictures=folder)
    assert len({downloaded(simulated, seed=7) for _ in range(5)}) == 1


def test_a_size_without_a_prepared_picture_is_drawn(start: Start, folder: Path) -> None:
    """What the folder does not have is drawn as without one."""
    sent = downloaded(start(pictures=folder), image_size="80x48")
    assert sent == render_png(Recipe("a castle", 5, (80, 48), SDXL, "", 20, 7.5))


def test_prepared_pictures_come_in_answers_too(start: Start, folder: Path) -> None:
    """A picture that comes as base64 is a prepared one as well, from both providers."""
    simulated = start(pictures=folder, duomi_answer="images:b64_json")
    (image,) = simulated.duomi().json()["images"]
    shades = [decode(image["b64_json"]).getpixel((0, 0))]
    (output,) = simulated.ended(simulated.run())["output"]["images"]
    shades.append(decode(output["data"]).getpixel((0, 0)))
    assert all(shade in ((10, 0, 0), (20, 0, 0), (30, 0, 0)) for shade in shades)


def test_faults_reach_prepared_pictures(start: Start, folder: Path) -> None:
    """A scripted picture fault goes before the folder; a broken transfer halves its file."""
    simulated = start(pictures=folder)
    simulated.script(
        {"provider": "files", "operation": "download", "fault": "wrong_size", "width": 8},
        {"provider": "files", "operation": "download", "fault": "status", "status": 502},
    )
    assert open_picture(downloaded(simulated)).size == (8, 48)
    assert b"502 Bad Gateway" in downloaded(simulated)
    assert downloaded(simulated).startswith(b"\x89PNG")


@pytest.mark.parametrize("content", [None, b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """The command says in a sentence that there is no PNG file, before it listens."""
    if content is not None:
        (tmp_path / "one.png").write_bytes(content)
    result = CliRunner().invoke(simulate, ["--port", "0", "--pictures", str(tmp_path)])
    assert result.exit_code == 2
    assert "There is no PNG file in" in result.output
