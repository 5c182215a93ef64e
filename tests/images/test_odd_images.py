"""Every odd image is pixels that are said beforehand, or a reason; docs/odd_images.md is the table of them."""

from __future__ import annotations

import ast
import io
import os
import resource
import shutil
import socket
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interp.errors import UnreadableImage
from interp.images.decode import MAX_BYTES, decode_image, read_image
from interp.images.image_set import ImageSet

TABLE = Path(__file__).resolve().parents[2] / "docs" / "odd_images.md"


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, pixels: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand: `pixels` with the filter byte before each row, further chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body


def tiff(width: int, rows: int, tiles: int = 1) -> bytes:
    """A grey TIFF whose header claims a size, or a length of its list of strips, that nothing follows."""
    tags = [(256, 4, 1, width), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, tiles, 200), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, tiles, 64)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + bytes(200)


def first_pixel(data: bytes) -> tuple[int, ...]:
    return decode_image(data).pixels.getpixel((0, 0))


@pytest.mark.parametrize(
    ("colour", "values", "expected"),
    [
        (2, (0x12FF, 0x5600, 0x9A80), (0x12, 0x56, 0x9A)),
        (6, (0x12FF, 0x5600, 0x9A80, 0xFFFF), (0x12, 0x56, 0x9A)),
        (6, (0x12FF, 0x5600, 0x9A80, 0), (255, 255, 255)),
        (4, (0x12FF, 0xFFFF), (0x12,) * 3),
        (4, (0x12FF, 0), (255, 255, 255)),
        (0, (0x12FF,), (0x12,) * 3),
    ],
)
def test_sixteen_bits_of_every_kind_keep_the_high_byte(colour, values, expected) -> None:
    pixels = b"\0" + struct.pack(f">{len(values)}H", *values)
    assert first_pixel(png(1, 1, 16, colour, pixels)) == expected


def test_black_and_white_and_four_greys() -> None:
    assert decode_image(png(2, 1, 1, 0, b"\0\x40")).pixels.tobytes() == b"\0\0\0\xff\xff\xff"
    assert decode_image(png(4, 1, 2, 0, b"\0\x1b")).pixels.tobytes() == bytes(
        v for v in (0, 85, 170, 255) for _ in "rgb"
    )


def test_cmyk_is_inverted_as_photoshop_writes_it_and_ycck_is_turned_back_first() -> None:
    """The Adobe marker's last byte says 2 for YCCK: its first three planes are then Y, Cb and Cr of inverted CMY."""
    inks = np.array([10, 60, 110, 20])
    cmyk = encoded(Image.new("CMYK", (16, 16), tuple(inks)), "JPEG", quality=100)
    expected = 255 - np.minimum(255, inks[:3] + inks[3] * (255 - inks[:3]) / 255)
    assert np.abs(np.subtract(first_pixel(cmyk), expected)).max() <= 2
    y, cb, cr, k = (float(v) for v in 255 - inks)  # stored inverted, and now read as YCCK
    turned = [
        y + 1.402 * (cr - 128),
        y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
        y + 1.772 * (cb - 128),
    ]
    place = cmyk.index(b"Adobe") + 11
    ycck = cmyk[:place] + b"\x02" + cmyk[place + 1 :]
    paint = np.clip(turned, 0, 255)  # libjpeg gives CMY as 255 - RGB; Pillow inverts once more
    expected = (255 - paint) * k / 255
    assert np.abs(np.subtract(first_pixel(ycck), expected)).max() <= 3


def test_one_pixel_is_an_image() -> None:
    from interp.images.preprocess import Preprocessing

    image = decode_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3))))
    pixels = Preprocessing.clip(32).apply(image.pixels)
    assert (pixels.reshape(3, -1) == [[1], [2], [3]]).all() and pixels.shape == (3, 32, 32)


@pytest.mark.parametrize("name", ["a.jpg", "a.txt", "a", "a" * 251 + ".gif"])
def test_a_name_decides_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(Image.new("RGB", (4, 4), (9, 8, 7))))
    found = read_image(tmp_path / name)
    assert found.facts["format"] == "PNG" and found.pixels.getpixel((0, 0)) == (9, 8, 7)


ZEROS = zlib.compress(bytes(200_000_000), 9)
PNG = encoded(Image.new("RGB", (8, 8), (1, 2, 3)))
GIF = encoded(Image.new("P", (8, 8)), "GIF")
FRAMES = [Image.new("RGB", (64, 64), (i % 256, i // 256, 0)) for i in range(1000)]
FRAME = GIF.index(b",\0\0\0\0\x08\0\x08\0") + 5
BOMBS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "a flat PNG of 20000 × 20000": (lambda: encoded(Image.new("1", (20_000, 20_000))), "too large"),
    "a strip of 20000 × 20": (lambda: encoded(Image.new("L", (20_000, 20))), "too narrow"),
    "zTXt": (lambda: PNG[:33] + chunk(b"zTXt", b"k\0\0" + ZEROS) + PNG[33:], "too large"),
    "iTXt": (lambda: PNG[:33] + chunk(b"iTXt", b"k\0\1\0\0\0" + ZEROS) + PNG[33:], "too large"),
    "iCCP": (lambda: PNG[:33] + chunk(b"iCCP", b"k\0\0" + ZEROS) + PNG[33:], "too large"),
    "more rows than the PNG claims": (lambda: png(8, 8, 8, 2, bytes(100_000_000)), None),
    "a GIF of 1000 frames": (
        lambda: encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
        None,
    ),
    "a GIF frame beyond its screen": (
        lambda: GIF[:FRAME] + struct.pack("<HH", 65535, 65535) + GIF[FRAME + 4 :],
        "too large",
    ),
    "a GIF screen of 65535": (lambda: GIF[:6] + b"\xff" * 4 + GIF[10:], "too large"),
    "a TIFF of four thousand million columns": (lambda: tiff(4_000_000_000, 8), "too large"),
    "a TIFF that promises strips": (lambda: tiff(8, 8, 400_000_000), "not an image"),
    "a PPM of 60000 × 60000": (lambda: b"P6 60000 60000 255 ", "too large"),
    "a BMP of 10000 × 10000": (
        lambda: b"BM" + struct.pack("<8xIIiiHHII16x", 54, 40, 10_000, 10_000, 1, 8, 1, 0) + bytes(99),
        "damaged BMP",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_a_reason_or_a_first_frame_and_takes_no_memory(name: str) -> None:
    make, reason = BOMBS[name]
    data = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reason is None:
        assert decode_image(data).pixels.size in {(8, 8), (64, 64)}
    else:
        with pytest.raises(UnreadableImage, match=reason):
            decode_image(data)
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 450_000
    )  # KB; 10000² RGBA pixels at most


def test_a_file_longer_than_any_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "long.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room: it has no block on the disk
    with pytest.raises(UnreadableImage, match=r"too large: a file of 1,000,000,001 bytes"):
        read_image(tmp_path / "long.png")


def place(folder: Path, what: str) -> Path:
    """Put something that is no readable file where an image is expected."""
    path = folder / "x.jpg"
    match what:
        case "a folder, not a file":
            path.mkdir()
        case "no such file":
            path.symlink_to("nowhere.jpg")
        case "File name too long":
            path = folder / ("x" * 300 + ".jpg")
        case "symbolic links":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as opened:
                opened.bind(os.path.relpath(path))
        case "device":
            path = Path(os.devnull)
    return path


KINDS = ["a folder, not a file", "no such file", "File name too long", "symbolic links"]


@pytest.mark.parametrize("what", [*KINDS, "pipe", "socket", "device"])
def test_what_is_no_plain_file_says_so_at_once(what: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    reason = what if what in KINDS else "not a plain file"
    with pytest.raises(UnreadableImage, match=reason):
        read_image(place(tmp_path, what))


def test_a_file_that_goes_between_the_look_and_the_reading_says_so(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    look = os.stat

    def look_and_lose(path, **options):
        found = look(path, **options)
        os.unlink(path)
        return found

    monkeypatch.setattr("interp.images.decode.os.stat", look_and_lose)
    with pytest.raises(UnreadableImage, match="no such file"):
        read_image(tmp_path / "a.png")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read a file")
def test_a_file_that_this_user_may_not_read_says_so() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        (folder / "a.png").write_bytes(PNG)
        (folder / "a.png").chmod(0)
        theirs, ours = os.pipe()
        child = os.fork()
        if child == 0:  # permissions bind anyone but root
            os.setuid(65534)
            try:
                read_image(folder / "a.png")
            except UnreadableImage as reason:
                os.write(ours, str(reason).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(ours)
        with os.fdopen(theirs, "rb") as said:
            assert said.read() == b"no permission to read the file"
    finally:
        shutil.rmtree(folder)


def test_a_name_that_is_not_utf8_opens(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        with open(path, "wb") as file:
            file.write(PNG)
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    assert read_image(os.fsdecode(path)).pixels.size == (8, 8)
    for images in (ImageSet.open(tmp_path), ImageSet.from_paths(tmp_path)):
        assert list(images.keys) == ["caf\\xe9.png"]
        assert read_image(images.path(images.keys[0])).pixels.size == (8, 8)


def test_the_table_names_every_reason() -> None:
    """The beginning of each message in the code, up to what is filled in, stands in docs/odd_images.md."""
    rows = TABLE.read_text()
    for node in ast.walk(ast.parse((TABLE.parents[1] / "interp/images/decode.py").read_text())):
        called = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UnreadableImage"
        for message in node.args if called else ():
            text = message.values[0] if isinstance(message, ast.JoinedStr) else message
            assert isinstance(text, ast.Constant) and str(text.value).split(";")[0].strip(" :(") in rows, (
                ast.dump(text)
            )


def test_reasons_that_are_given_in_the_pass_stand_in_the_table() -> None:
    rows = TABLE.read_text()
    for reason in ("the decoder crashed (", "decoding took longer than ", "not enough memory to resize it"):
        folders = [TABLE.parents[1] / "interp" / room for room in ("images", "features")]
        source = "".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
        assert reason in rows and reason in source
