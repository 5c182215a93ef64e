"""Equalised images: alike in size and compression, and the same again from the same input."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from interp.errors import InputError
from interp.images.decode import read_image
from interp.images.equalize import Equalize

SPECS = st.builds(
    Equalize, side=st.integers(1, 300), quality=st.integers(1, 100), common=st.none() | st.integers(1, 200)
)
SMALL = st.builds(
    Equalize, side=st.integers(8, 40), quality=st.integers(1, 100), common=st.none() | st.integers(4, 20)
)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@given(SPECS)
def test_text_is_read_back(spec: Equalize) -> None:
    assert Equalize.parse(str(spec)) == spec


def test_known_texts() -> None:
    assert Equalize.parse("256:75") == Equalize(side=256, quality=75, common=None)
    assert Equalize.parse(" Common:128:75 ") == Equalize(side=256, quality=75, common=128)
    assert Equalize.parse("common:128:224:75") == Equalize(side=224, quality=75, common=128)
    assert Equalize.parse("none") is None


@pytest.mark.parametrize(
    "text", ["", "256", "75:256:1:2", "common:75", "256:0", "0:75", "256:101", "256:7.5", "-1:75"]
)
def test_malformed_texts_show_the_two_forms(text: str) -> None:
    with pytest.raises(InputError, match=r"256:75.*common:128:75"):
        Equalize.parse(text)


@given(SMALL, st.integers(1, 60), st.integers(1, 60))
def test_every_image_gets_the_size_and_does_so_again(spec: Equalize, width: int, height: int) -> None:
    image = noise(width, height)
    once = spec.apply(image)
    assert once.size == (spec.side, spec.side) and once.mode == "RGB"
    assert once.tobytes() == spec.apply(image).tobytes()
    assert spec.apply(once).size == once.size


@given(st.integers(1, 30), st.integers(1, 30))
def test_only_the_centre_square_counts(width: int, height: int) -> None:
    """Whatever lies beyond the square with its corner at ((w - s) // 2, (h - s) // 2) has no influence."""
    spec, levels = Equalize(16, 90), np.array(noise(width, height))
    edge = min(width, height)
    top, left = (height - edge) // 2, (width - edge) // 2
    altered = np.zeros_like(levels)
    altered[top : top + edge, left : left + edge] = levels[top : top + edge, left : left + edge]
    assert spec.apply(Image.fromarray(levels)).tobytes() == spec.apply(Image.fromarray(altered)).tobytes()


def test_the_steps_are_resize_and_jpeg() -> None:
    image = noise(300, 300)
    for spec, sizes in ((Equalize(128, 75), [128]), (Equalize(128, 75, common=64), [64, 128])):
        expected = image
        for size in sizes:
            expected = expected.resize((size, size), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        expected.save(buffer, "JPEG", quality=75, subsampling=2)
        assert spec.apply(image).tobytes() == Image.open(buffer).convert("RGB").tobytes()


def test_an_image_without_contrast_stays_as_it_is() -> None:
    grey = Image.new("RGB", (50, 40), (128, 128, 128))
    assert set(Equalize().apply(grey).tobytes()) == {128}


def test_metadata_is_not_carried_into_the_file() -> None:
    image = noise(32, 32)
    plain = Equalize(32).apply(image).tobytes()
    image.info = {"comment": b"x" * 100_000, "icc_profile": b"y" * 100, "exif": b"z" * 100_000}
    result = Equalize(32).apply(image)
    assert result.tobytes() == plain


def test_other_modes_are_refused() -> None:
    with pytest.raises(InputError, match="got mode 'L'"):
        Equalize().apply(Image.new("L", (8, 8)))


def high_frequencies(image: Image.Image) -> float:
    """Share of the grey image's power beyond a quarter of the sampling rate."""
    grey = np.asarray(image.convert("L"), dtype=float)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.fftfreq(grey.shape[1])[None, :])
    return power[frequency > 0.25].sum() / power.sum()


def scaled_through(size: int, photo: Image.Image) -> Image.Image:
    edge = min(photo.size)
    left, top = (photo.width - edge) // 2, (photo.height - edge) // 2
    square = photo.crop((left, top, left + edge, top + edge))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def test_common_hides_how_an_image_was_scaled_before(shared: Path) -> None:
    """Photographs against copies once 160 pixels wide: at 256:75 only the copies have lost their high
    frequencies, at common:128:75 both have, and most of the difference is gone."""
    paths = pd.read_csv(shared / "corpus/manifest.csv").query("generator == 'real'")["path"].head(24)
    photos = [read_image(shared / "corpus" / path).pixels for path in paths]
    ratios = {}
    for spec in (Equalize(256, 75), Equalize(256, 75, common=128)):
        ratios[str(spec)] = np.array(
            [
                high_frequencies(spec.apply(scaled_through(160, photo))) / high_frequencies(spec.apply(photo))
                for photo in photos
            ]
        )
    assert np.median(ratios["256:75"]) < 0.4
    assert 0.7 < np.median(ratios["common:128:75"]) < 1.1


def test_what_was_once_of_the_common_size_cannot_be_told_from_its_original(shared: Path) -> None:
    photo = read_image(next((shared / "corpus/bsds500").rglob("*.jpg"))).pixels
    spec = Equalize(256, 75, common=128)
    assert spec.apply(scaled_through(128, photo)).tobytes() == spec.apply(photo).tobytes()
