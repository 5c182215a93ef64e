"""Images that look the same are found through scaling, compression and new colours; different ones are left apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from interp.images.decode import read_image
from interp.images.laundering import Laundering
from interp.images.near_duplicates import DISTANCE, merged_groups, near_duplicates, perceptual_hash


def scene(seed: int, edge: int = 128) -> Image.Image:
    """A picture with the spectrum of photographs."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(edge)[:, None], np.fft.rfftfreq(edge)[None, :])
    frequency[0, 0] = np.inf
    plane = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((edge, edge))) / frequency**1.3, s=(edge, edge))
    return Image.fromarray(np.clip(128 + 50 * plane / plane.std(), 0, 255).astype(np.uint8)).convert("RGB")


def apart(one: Image.Image, other: Image.Image) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["resize:0.4", "jpeg:30", "blur:1", "noise:8", "webp:20"]))
def test_a_laundered_copy_looks_the_same(seed: int, spec: str) -> None:
    image = scene(seed)
    assert apart(image, Laundering.parse(spec).apply(image, "key")) <= DISTANCE + 2
    assert apart(image, ImageEnhance.Color(image).enhance(0.2)) <= DISTANCE
    assert apart(image, ImageEnhance.Brightness(image).enhance(0.9)) <= DISTANCE + 2


def test_different_pictures_differ_in_about_half_of_the_bits() -> None:
    hashes = [perceptual_hash(scene(seed)) for seed in range(40)]
    bits = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert 28 < np.mean(bits) < 36 and min(bits) > 2 * DISTANCE


def table(hashes: Sequence[int | None], **columns: list[str]) -> pd.DataFrame:
    index = [f"{i:03d}" for i in range(len(hashes))]
    return pd.DataFrame({"perceptual_hash": pd.array(hashes, dtype="UInt64"), **columns}, index=index)


def test_all_pairs_within_the_distance_and_no_others() -> None:
    rng = np.random.default_rng(0)
    hashes = [int(h) for h in rng.integers(0, 2**64, 700, dtype=np.uint64)]
    hashes[650] = hashes[3] ^ 0b1011
    hashes[699] = hashes[3]
    found = near_duplicates(table([*hashes, None]))
    kept = {(a, b): bits for a, b, bits in found[["key", "other", "distance"]].to_numpy()}
    assert kept == {("003", "699"): 0, ("003", "650"): 3, ("650", "699"): 3}
    assert list(found["distance"]) == [0, 3, 3]
    assert near_duplicates(table(hashes[:3])).empty


def test_what_they_are_across_is_said_and_groups_are_joined() -> None:
    files = table(
        [7, 7, 7, 2**64 - 1],
        label=["real", "real", "fake", "real"],
        group=["a", "b", "c", "d"],
        pixel_hash=["x", "x", "y", ""],
    )
    found = near_duplicates(files).set_index(["key", "other"])
    assert found["across"].to_dict() == {
        ("000", "001"): "group",
        ("000", "002"): "label group",
        ("001", "002"): "label group",
    }
    assert found["same_pixels"].tolist() == [True, False, False]
    assert merged_groups(files, found.reset_index()).to_list() == ["a", "a", "a", "d"]
    assert merged_groups(files, found.reset_index()[:0]).to_list() == ["a", "b", "c", "d"]


def test_a_photograph_is_found_again_smaller_and_compressed(shared: Path) -> None:
    files = sorted((shared / "corpus/bsds500").rglob("*.jpg"))[:12]
    hashes = []
    for file in files:
        image, buffer = read_image(file).pixels, io.BytesIO()
        image.resize((200, 150)).save(buffer, "JPEG", quality=40)
        hashes += [perceptual_hash(image), perceptual_hash(Image.open(buffer).convert("RGB"))]
    found = near_duplicates(table([*hashes]))
    assert {(int(a) // 2, int(b) // 2) for a, b in found[["key", "other"]].to_numpy()} == {
        (i, i) for i in range(12)
    }
