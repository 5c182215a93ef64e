"""Decoding: the same pixels as Pillow's own steps, and a reason for every file that has none."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import transformers.image_transforms
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from interp.errors import UnreadableImage
from interp.images.decode import MAX_PIXELS, decode_image, read_image


def drawn(mode: str = "RGB", size: tuple[int, int] = (12, 8), seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(levels, "RGBA").convert(mode)


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    """The header of a PNG of any size, and next to no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore:Palette images")
@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGB", "PNG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"),
     ("CMYK", "TIFF"), ("L", "JPEG"), ("RGB", "BMP"), ("RGB", "PPM")],
)  # fmt: skip
def test_every_mode_becomes_rgb_as_pillow_converts_it(mode: str, file_format: str) -> None:
    data = encoded(drawn().convert(mode), file_format)
    with Image.open(io.BytesIO(data)) as reference:
        in_file, expected = reference.mode, reference.convert("RGB")
    image = decode_image(data)
    assert image.pixels.mode == "RGB" and image.pixels.info == {}
    assert np.array_equal(np.asarray(image.pixels), np.asarray(expected))
    assert (image.facts["mode"], image.facts["format"], image.facts["bytes"]) == (
        in_file,
        file_format,
        len(data),
    )


@pytest.mark.parametrize(("mode", "file_format"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")])
def test_what_is_transparent_lies_on_white_as_in_the_processors_of_transformers(
    mode: str, file_format: str
) -> None:
    data = encoded(drawn(mode), file_format)
    with Image.open(io.BytesIO(data)) as reference:
        straight = np.asarray(reference.convert("RGBA")).astype(float)
    alpha = straight[..., 3:] / 255
    expected = straight[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(np.asarray(decode_image(data).pixels) - expected).max() <= 1
    theirs = transformers.image_transforms.convert_to_rgb(Image.open(io.BytesIO(data)), return_numpy=True)
    assert np.array_equal(np.asarray(decode_image(data).pixels), theirs)


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    pixels = decode_image(encoded(image, transparency=0)).pixels
    assert [pixels.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 200)]


@given(st.integers(0, 65535))
def test_sixteen_bit_grey_keeps_its_high_byte_as_sixteen_bit_colour_does(level: int) -> None:
    grey = Image.fromarray(np.full((2, 2), level, np.uint16))
    for file_format in ("PNG", "TIFF"):
        assert decode_image(encoded(grey, file_format)).pixels.getpixel((0, 0)) == (level // 256,) * 3
    colour = b"P6 1 1 65535 " + struct.pack(">H", level) * 3
    assert (
        abs(decode_image(colour).pixels.getpixel((0, 0))[0] - level // 256) <= 1
    )  # Pillow's PPM reader rounds
    grey_map = b"P5 1 1 65535 " + struct.pack(">H", level)
    assert decode_image(grey_map).pixels.getpixel((0, 0)) == (level // 256,) * 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_stand_upright(orientation: int, file_format: str) -> None:
    """As in the EXIF standard: where the file's first row and column belong in the picture."""
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :48], upright[:32, 48:], upright[32:, :48] = (240, 20, 20), (20, 240, 20), (20, 20, 240)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: np.rot90(upright, 2),
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_image(encoded(Image.fromarray(np.ascontiguousarray(stored)), file_format, exif=exif))
    assert (image.facts["width"], image.facts["height"]) == image.pixels.size == (96, 64)
    assert np.abs(np.asarray(image.pixels).astype(int) - upright)[4:28, 4:44].max() < 40
    assert np.abs(np.asarray(image.pixels).astype(int) - upright)[36:60, 4:44].max() < 40


@pytest.mark.parametrize("orientation", [None, *range(10)])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_and_their_hash_are_pillows_own_whatever_the_orientation(orientation, file_format) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    data = encoded(drawn(), file_format, exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        expected = ImageOps.exif_transpose(picture).convert("RGB")
    found = decode_image(data)
    assert found.pixels.size == expected.size and found.pixels.tobytes() == expected.tobytes()
    levels = np.asarray(expected)
    named = b"%dx%d:" % (levels.shape[1], levels.shape[0]) + levels.tobytes()
    assert found.facts["pixel_hash"] == hashlib.sha256(named).hexdigest()


def test_a_damaged_exif_block_counts_as_none() -> None:
    data = encoded(drawn(), "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\x01\x12")
    assert np.array_equal(np.asarray(decode_image(data).pixels), np.asarray(drawn()))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(file_format: str) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert decode_image(data).pixels.getpixel((4, 4)) == (255, 0, 0)


def test_hashes_name_files_and_pixels() -> None:
    one, two = encoded(drawn()), encoded(drawn(), compress_level=0)
    facts = [decode_image(data).facts for data in (one, two)]
    assert facts[0]["content_hash"] == hashlib.sha256(one).hexdigest() != facts[1]["content_hash"]
    assert facts[0]["pixel_hash"] == facts[1]["pixel_hash"]
    turned = Image.frombytes("RGB", (8, 12), drawn().tobytes())
    assert decode_image(encoded(turned)).facts["pixel_hash"] != facts[0]["pixel_hash"]


JPEG = encoded(drawn(size=(64, 64)), "JPEG")
UNREADABLE = {
    "empty": (b"", "empty"),
    "text": (b"not an image, whatever its name", "not an image"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "damaged JPEG"),
    "truncated PNG": (encoded(drawn(size=(64, 64)))[:900], "damaged PNG"),
    "truncated WEBP": (encoded(drawn(size=(64, 64)), "WEBP")[:300], "damaged|not an image"),
    "PNG without pixels": (png(8, 8), "damaged PNG"),
    "header only": (JPEG[:2], "not an image"),
    "bomb": (png(50_000, 50_000), "too large"),
    "beyond our limit only": (png(12_000, 10_001), "too large: 12000 × 10001"),
    "a line": (png(1, 100_000), "too narrow"),
    "float": (encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "floating-point"),
    "wide grey": (encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"), "outside 0…65535"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_decoded_says_why(name: str, tmp_path: Path) -> None:
    data, reason = UNREADABLE[name]
    (tmp_path / "image.png").write_bytes(data)
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImage, match=reason) as caught:
            read_image(tmp_path / "image.png")
    assert "0x" not in str(caught.value)  # the same file gives the same reason
    assert limit == Image.MAX_IMAGE_PIXELS


def test_what_is_no_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableImage, match="no such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(UnreadableImage, match="a folder"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="not a plain file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="cannot be read"):
        read_image("a\0b.png")

    def refuse(path: Path, mode: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.png").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableImage, match="no permission"):
        read_image(tmp_path / "secret.png")


@given(st.data())
def test_damage_anywhere_is_an_image_or_a_reason(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(SAMPLES))
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 255)), max_size=4)
    ):
        if place < len(damaged):
            damaged[place] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            image = decode_image(bytes(damaged), max_pixels=100_000)
        except UnreadableImage as error:
            assert str(error)
        else:
            assert image.pixels.width * image.pixels.height <= 100_000


SAMPLES = [
    encoded(drawn(mode), file_format)
    for mode, file_format in [
        ("RGB", "JPEG"),
        ("RGBA", "PNG"),
        ("P", "GIF"),
        ("RGB", "WEBP"),
        ("L", "TIFF"),
        ("RGB", "BMP"),
    ]
]


def test_the_limit_is_that_of_the_call() -> None:
    data = encoded(drawn(size=(20, 10)))
    assert decode_image(data, max_pixels=200).pixels.size == (20, 10)
    with pytest.raises(UnreadableImage, match="more than 199"):
        decode_image(data, max_pixels=199)
    assert MAX_PIXELS >= 12_000 * 9_000


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    transparent = drawn("P")
    data = encoded(transparent, transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(50):
                    decode_image(data)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and warnings.filters == before


def test_hashes_and_sizes_are_those_of_the_corpus(shared: Path) -> None:
    manifest = pd.read_csv(shared / "corpus/manifest.csv").groupby("generator").head(3)
    for row in manifest.itertuples():
        facts = read_image(shared / "corpus" / str(row.path)).facts
        assert facts["content_hash"] == row.sha256
        assert [facts[name] for name in ("format", "mode", "bytes")] == [row.format, row.mode, row.bytes]
        assert sorted([facts["width"], facts["height"]]) == sorted([row.width, row.height])
