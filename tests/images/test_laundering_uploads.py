"""Launderings by programs, sites and printers: the steps they stand for, and what is exactly known of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from interp.images.laundering import Laundering


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def laundered(text: str, image: Image.Image, key: str = "key") -> Image.Image:
    return Laundering.parse(text).apply(image, key)


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


@pytest.mark.parametrize(
    ("text", "size"),
    [("messenger:whatsapp", (1600, 800)), ("messenger:telegram", (1280, 640)), ("upload:100:80", (100, 50))]
    + [("social:facebook", (2048, 1024)), ("social:vipcup", (200, 200)), ("vipcup", (200, 200))],
)
def test_uploads_limit_the_longer_edge(text: str, size: tuple[int, int]) -> None:
    assert laundered(text, Image.new("RGB", (3000, 1500))).size == size


def test_small_images_are_only_compressed_by_an_upload() -> None:
    image = noise(90, 60)
    assert laundered("messenger:whatsapp", image).tobytes() == laundered("jpeg:70", image).tobytes()
    assert laundered("messenger:telegram", image).tobytes() == laundered("jpeg:87", image).tobytes()


@pytest.mark.parametrize(
    ("text", "box", "kernel"),
    [
        ("vipcup:0:0:0:80", (0, 0, 250, 250), "LANCZOS"),  # 5/8 of 400
        ("vipcup:1:1:0:80", (100, 0, 500, 400), "LANCZOS"),
    ],
)
def test_the_vip_cup_crops_between_five_eighths_and_all_of_the_shorter_edge(
    text: str, box: tuple[int, int, int, int], kernel: str
) -> None:
    image = noise(500, 400)
    small = image.crop(box).resize((200, 200), Image.Resampling[kernel])
    assert laundered(text, image).tobytes() == laundered("jpeg:80", small).tobytes()


def test_the_vip_cup_takes_small_images_up_by_bicubic() -> None:
    for width, side in ((180, 160), (120, 120)):  # no crop below 160 pixels, unless the image is smaller
        image = noise(width, width)
        small = image.crop((0, 0, side, side)).resize((200, 200), Image.Resampling.BICUBIC)
        assert laundered("vipcup:0:0:0:90", image).tobytes() == laundered("jpeg:90", small).tobytes()


def test_the_vip_cup_draws_its_quality_from_65_to_100() -> None:
    drawn = [str(Laundering.parse("social:vipcup").drawn(str(k))).split(":")[-1] for k in range(600)]
    assert min(map(int, drawn)) == 65 and max(map(int, drawn)) == 100


def test_a_screenshot_is_written_out_step_by_step() -> None:
    steps = [str(step) for step in Laundering.parse("screenshot:0.5:60:webp").drawn("key").steps]
    assert steps[0].startswith("crop:0.9") and steps[1:] == [
        "resize:0.5:bilinear",
        "blur:0.5",
        "gamma:0.95",
        "webp:60",
    ]


def test_printing_turns_the_sheet_and_shows_paper() -> None:
    white = levels(laundered("printscan:1", Image.new("RGB", (64, 64), "white"))).mean(axis=(0, 1))
    black = levels(laundered("printscan:1", Image.new("RGB", (64, 64), "black")))[16:48, 16:48].mean()
    assert white[0] > white[1] > white[2] > 235 and 8 < black < 20
    dark = Image.new("RGB", (200, 200))
    straight, turned = (levels(laundered(f"printscan:1:{turn}:0.5:0.5", dark)) for turn in (0.5, 1))
    assert straight.max() < 60 < 200 < turned.max()  # corners of a turned sheet show the paper
