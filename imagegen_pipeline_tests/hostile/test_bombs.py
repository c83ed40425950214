"""Small files that would take all memory, or hours, of whoever opens them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from imagegen_pipeline.domain.errors import NotAPictureError
from imagegen_pipeline.domain.image.decode import LARGEST_BYTES, decode_picture
from imagegen_pipeline_tests.hostile.pictures import (
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
    ("png texts", lambda: texts(70, MB - 9), "too large|MAX_TEXT_MEMORY"),
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
    """Refused, quickly, with a sentence that says what is too much."""
    data = make()
    began = time.monotonic()
    with pytest.raises(NotAPictureError, match=reason):
        decode_picture(data)
    assert time.monotonic() - began < 3


OUT_OF_MEMORY = """
import resource, sys
from imagegen_pipeline.domain.errors import NotAPictureError
from imagegen_pipeline.domain.image.decode import decode_picture
from PIL import PngImagePlugin, JpegImagePlugin, WebPImagePlugin
at_rest = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (at_rest + 100 * 2**20,) * 2)
for path in sys.argv[1:]:
    try:
        decode_picture(open(path, "rb").read())
    except NotAPictureError as error:
        print(error)
"""


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """All of them are refused by a process that may take a hundred megabytes more."""
    bombs = [case for case in BOMBS if case[0] != "too long"]
    paths = [tmp_path / str(number) for number in range(len(bombs))]
    for path, (_, make, _) in zip(paths, bombs, strict=True):
        path.write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert len(done.stdout.splitlines()) == len(bombs), done.stderr
    assert "MemoryError" not in done.stdout


AT_ONCE = """
import io, resource, threading
from PIL import Image
from imagegen_pipeline.domain.image.decode import decode_picture
from PIL import PngImagePlugin, WebPImagePlugin
out = io.BytesIO()
Image.new("L", (6000, 5000)).save(out, "PNG", compress_level=1)
decode_picture(out.getvalue())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threads = [threading.Thread(target=decode_picture, args=(out.getvalue(),)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / peak)
"""


def test_huge_pictures_are_decoded_one_at_a_time() -> None:
    """Four of them at once take hardly more memory than one."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) < 1.4


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
        red, _, blue = preview.convert("RGB").getpixel((20, 20))
    assert red > 200 > 50 > blue
    assert picture.data == out.getvalue()


def test_many_frames_cost_no_more_than_one() -> None:
    """An animation that would take long to decode is as quick to take as a still."""
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


def test_the_walk_through_a_file_takes_no_longer_for_a_strange_one() -> None:
    """Megabytes of marks and tiny chunks are walked in their length, not in its square."""
    jpeg = encoded("JPEG")
    scan = jpeg.index(b"\xff\xda") + 14
    strange = [
        jpeg[:scan] + b"\xff" * 8 * MB + b"\0" * 99,
        jpeg[:scan] + b"\xff\0" * 4 * MB,
        jpeg[:2] + b"\xff\x01" * 2 * MB,
        png()[:-12] + chunk(b"tEXt", b"") * 500_000,
        png(*[chunk(b"IDAT", b"")] * 200_000),
    ]
    began = time.process_time()
    for data in strange:
        with suppress(NotAPictureError):
            decode_picture(data)
    assert time.process_time() - began < 15
