"""Twins that are aligned with their photographs: pixels mixed, spectra and compression repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from twin_pictures import levels, made, picture

from interp.images.image_set import ImageSet
from interp.images.twins_alignment import compressed_alike, jpeg_settings, radial_alike
from interp.images.twins_mechanisms import Mechanism


def test_mixing_is_the_share_that_the_manifest_says(photographs: ImageSet, tmp_path: Path) -> None:
    whole = made(photographs, tmp_path / "whole", "nearest")
    mixed = made(photographs, tmp_path / "mixed", "nearest", mix=(0.2, 0.8)).table
    for key, row in mixed[mixed["label"] == "twin"].iterrows():
        real, twin = levels(whole.path(str(row["twin_of"]))), levels(whole.path(str(key)))
        expected = row["share"] * real + (1 - row["share"]) * twin
        assert np.abs(levels(tmp_path / "mixed" / str(key)) - expected).max() <= 0.5 + 1e-9
        assert 0.2 <= row["share"] <= 0.8


@settings(max_examples=10, deadline=None)
@given(width=st.integers(3, 24), height=st.integers(3, 24), seed=st.integers(0, 99))
def test_radial_alignment_leaves_no_difference_in_any_ring(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    twin, photograph = rng.normal(size=(2, height, width, 3))
    aligned = radial_alike(twin, photograph)
    ring = np.rint(
        np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * max(height, width)
    ).astype(int)
    spectra = [np.abs(np.fft.fft2(tones, axes=(0, 1))) ** 2 for tones in (aligned, photograph)]
    for radius in np.unique(ring):
        energy = [spectrum[ring == radius].sum(0) for spectrum in spectra]
        np.testing.assert_allclose(energy[0], energy[1], rtol=1e-9)
    np.testing.assert_allclose(radial_alike(photograph, photograph), photograph, atol=1e-12)


def test_jpeg_alignment_repeats_the_photographs_own_compression(
    photographs: ImageSet, tmp_path: Path
) -> None:
    """A picture straight from the camera, compressed alike, is the photograph; a PNG aligns nothing."""
    camera = picture(41, 33, seed=0)
    found = jpeg_settings(photographs.path("real/0.jpg"))
    photograph = Image.open(photographs.path("real/0.jpg")).convert("RGB")
    assert compressed_alike(camera, found).tobytes() == photograph.tobytes()
    assert jpeg_settings(photographs.path("glide/0.png")) is None
    twins = made(photographs, tmp_path / "out", "nearest", side=None, frequencies="jpeg")
    twin = Mechanism.read("nearest").step.apply(photograph, np.random.default_rng(0))
    key = "twin-nearest/real/0.jpg.png"
    assert levels(twins.path(key)).tolist() == levels(compressed_alike(twin, found)).tolist()
