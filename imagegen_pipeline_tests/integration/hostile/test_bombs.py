"""Small files that would take all memory, or hours of CPU, if opened without limits."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from imagegen_pipeline.domain.errors import NotAPictureError
from imagegen_pipeline.domain.image.decode import LARGEST_BYTES, decode_picture
from imagegen_pipeline_tests.integration.hostile.pictures import (
    chunk,
    deflated,
    encoded,
    noise,
    png,
    webp,
    webp_chunk,
)

MB = 1024 * 1024


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = encoded("JPEG", "L")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encoded("JPEG", "L", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 120 + data[-2:]


def profiles(number: int, megabytes: int) -> bytes:
    """A PNG with colour profiles that inflate."""
    return png(*[chunk(b"iCCP", b"a\0\0" + deflated(megabytes))] * number)


def texts(number: int, size: int) -> bytes:
    """A PNG with compressed texts, each of ``size`` bytes."""
    return png(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(size)))] * number)


def unicode_text() -> bytes:
    """A PNG with one compressed text of the other kind."""
    return png(chunk(b"iTXt", b"a\0\1\0\0\0" + deflated(200)))


def canvas() -> bytes:
    """A WebP whose animation is played on a canvas of gigabytes."""
    flags_and_size = b"\x02\0\0\0" + b"\xff\xff\0" * 2
    return webp(webp_chunk(b"VP8X", flags_and_size), webp_chunk(b"ANIM", bytes(6)))


def lossless() -> bytes:
    """A lossless WebP of the largest size that the format has."""
    return webp(webp_chunk(b"VP8L", b"\x2f" + b"\xff" * 20))


BOMBS: list[tuple[str, Callable[[], bytes], str]] = [
    ("png claims", lambda: png(size=(60_000, 60_000), data=b""), "60000x60000 pixels"),
    ("png claims a line", lambda: png(size=(2**31 - 1, 1), data=b""), "2147483647x1 pixels"),
    ("png inflates", lambda: png(data=deflated(200)), "inflates to many times more"),
    ("png text", lambda: texts(1, 200 * MB), "too large"),
    ("png texts", lambda: texts(70, MB - 9), "too large"),
    ("png unicode text", unicode_text, "too large"),
    ("png profile", lambda: profiles(1, 200), "too large"),
    ("png profiles", lambda: profiles(2, 1), "more than one colour profile"),
    ("jpeg claims", lambda: jpeg_claiming(65_000, 65_000), "65000x65000 pixels"),
    ("jpeg scans", many_scans, "more than 100 scans"),
    ("webp claims", canvas, "65536x65536 pixels"),
    ("lossless webp claims", lossless, "16384x16384 pixels"),
    ("too long", lambda: bytes(LARGEST_BYTES + 1), "the limit is 67,108,864"),
]


@pytest.mark.parametrize(
    ("make", "reason"), [case[1:] for case in BOMBS], ids=[case[0] for case in BOMBS]
)
def test_a_bomb_is_refused_for_what_it_claims(make: Callable[[], bytes], reason: str) -> None:
    """Each is refused with a sentence that says what is too much."""
    with pytest.raises(NotAPictureError, match=reason):
        decode_picture(make())


SMALL_PROCESS = """
import resource, sys
from imagegen_pipeline.domain.errors import NotAPictureError
from imagegen_pipeline.domain.image.decode import decode_picture
from PIL import PngImagePlugin, JpegImagePlugin, WebPImagePlugin
at_rest = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (at_rest + int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in sys.argv[2:]:
    try:
        decode_picture(open(path, "rb").read())
    except NotAPictureError as error:
        print(error)
    else:
        print("decoded")
"""


def _in_small_process(folder: Path, files: list[bytes], *, memory: int) -> str:
    """Decode ``files`` in a process limited to ``memory`` bytes more and 60 s of CPU; returns
    one line for each.
    """
    paths = [folder / str(number) for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", SMALL_PROCESS, str(memory), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert len(done.stdout.splitlines()) == len(files), done.stderr
    assert "MemoryError" not in done.stdout
    return done.stdout


def test_bombs_take_little_memory_and_cpu(tmp_path: Path) -> None:
    """A process limited to 100 MB more memory and 60 s of CPU refuses all of them."""
    bombs = [make() for name, make, _ in BOMBS if name != "too long"]
    assert "decoded" not in _in_small_process(tmp_path, bombs, memory=100 * MB)


def test_huge_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread decodes a huge picture, no other does: each takes gigabytes."""
    out = io.BytesIO()
    Image.new("L", (6000, 5000)).save(out, "PNG", compress_level=1)
    load, counting = PngImageFile.load, threading.Lock()
    decoding, most = 0, 0

    def counted(image: PngImageFile) -> Any:
        nonlocal decoding, most
        with counting:
            decoding += 1
            most = max(most, decoding)
        try:
            return load(image)
        finally:
            with counting:
                decoding -= 1

    monkeypatch.setattr(PngImageFile, "load", counted)
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(decode_picture, [out.getvalue()] * 4))
    assert [picture.width for picture in decoded] == [6000] * 4
    assert most == 1


def test_a_picture_of_almost_the_largest_size_is_taken_without_a_warning() -> None:
    """The limit is ours: the library's own, which is lower, warns of nothing."""
    out = io.BytesIO()
    Image.new("1", (9990, 9990)).save(out, "PNG")
    assert decode_picture(out.getvalue()).width == 9990


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(form: str) -> None:
    """It is decoded and shown; those behind it are kept."""
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, form, save_all=True, append_images=frames[1:], duration=50, lossless=True)
    picture = decode_picture(out.getvalue())
    with Image.open(io.BytesIO(picture.preview)) as preview:
        pixel = preview.convert("RGB").getpixel((20, 20))
    assert isinstance(pixel, tuple)
    red, _, blue = pixel
    assert red > 200 > 50 > blue
    assert picture.data == out.getvalue()


def test_many_frames_cost_no_more_than_one() -> None:
    """Decoding an animation takes the CPU time of one frame."""
    still = io.BytesIO()
    noise(size=(1500, 1500)).save(still, "WEBP", quality=1)
    size = (1499).to_bytes(3, "little") * 2
    frame = webp_chunk(b"ANMF", bytes(6) + size + bytes(4) + still.getvalue()[12:])
    head = webp_chunk(b"VP8X", b"\x02\0\0\0" + size) + webp_chunk(b"ANIM", bytes(6))
    began = time.process_time()
    assert decode_picture(webp(head, frame)).width == 1500
    alone = time.process_time() - began
    began = time.process_time()
    assert decode_picture(webp(head, *[frame] * 60)).width == 1500
    assert time.process_time() - began < 10 * alone


def test_reading_markers_takes_linear_time(tmp_path: Path) -> None:
    """A process limited to 60 s of CPU reads megabytes of markers and tiny chunks; time that
    grew with the square of their number would take hours.
    """
    jpeg = encoded("JPEG")
    scan = jpeg.index(b"\xff\xda") + 14
    strange = [
        jpeg[:scan] + b"\xff" * 8 * MB + b"\0" * 99,
        jpeg[:scan] + b"\xff\0" * 4 * MB,
        jpeg[:2] + b"\xff\x01" * 2 * MB,
        png()[:-12] + chunk(b"tEXt", b"") * 500_000,
        png(*[chunk(b"IDAT", b"")] * 200_000),
    ]
    _in_small_process(tmp_path, strange, memory=2**30)
