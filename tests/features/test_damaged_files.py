"""Files damaged at random: each is a row with features or its reason, and changes no bit of another row."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_models import make

from interp.encoders.encoder import Encoder
from interp.features.extract import extract
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing
from interp.images.simulated import draw_simulated_set

ARRAYS = ("head_values", "mlp_values", "first", "norm_mean", "norm_std", "embedding")
FACTS = ["content_hash", "pixel_hash", "format", "mode", "bytes", "error"]
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF"}


def in_every_format(folder: Path, count: int) -> None:
    """Drawn images, each saved in the next of five formats."""
    drawn = draw_simulated_set(folder.parent / "drawn", n_per_class=-(-count // 5))
    for i, key in enumerate(drawn.keys[:count]):
        ending = list(FORMATS)[i % 5]
        path = folder / ("real" if "real" in key else "drawn") / f"{i:04d}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(drawn.path(key)) as image:
            image.convert("RGB").save(path, FORMATS[ending])


def damaged(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut off, give another file's head or middle, overwrite, take out or repeat a part."""
    kind = rng.integers(7)
    changed = bytearray(data)
    if kind == 0:
        for place in rng.integers(0, len(changed), rng.integers(1, 20)):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del changed[rng.integers(len(changed)) :]
    elif kind == 2:
        length = int(rng.integers(4, 64))
        changed[:length] = other[:length]
    else:
        start = int(rng.integers(len(changed)))
        end = start + int(rng.integers(1, 200))
        part = bytes(changed[start:end])
        start_there = int(rng.integers(len(other)))
        put = [other[start_there : start_there + len(part)], bytes(len(part)), b"", part * 2][kind - 3]
        changed[start:end] = put
    return bytes(changed)


def damage(images: ImageSet, count: int, seed: int = 0) -> list[str]:
    """Damage this many of the files where they lie, and name them."""
    rng = np.random.default_rng(seed)
    keys = [str(key) for key in images.keys]
    chosen = sorted(rng.choice(keys, count, replace=False))
    whole = {key: images.path(key).read_bytes() for key in keys}
    for key in chosen:
        images.path(key).write_bytes(damaged(whole[key], whole[str(rng.choice(keys))], rng))
    return chosen


def look(images: ImageSet, out: Path, workers: int = 0) -> FeatureStore:
    encoder = Encoder(make("clip-gelu"), Preprocessing.clip(32), name="tiny")
    return extract(images, encoder, out, batch_size=8, shard_size=24, workers=workers, progress=False)


def assert_same(a: FeatureStore, b: FeatureStore, keys: Iterable[str]) -> None:
    keys = list(keys)
    there, here = (store.rows.index.get_indexer(pd.Index(keys)) for store in (a, b))
    for name in ARRAYS:
        np.testing.assert_array_equal(a.array(name)[there], b.array(name)[here], strict=True)
    pd.testing.assert_frame_equal(a.rows.loc[keys, FACTS], b.rows.loc[keys, FACTS], check_dtype=False)


def check_that_damage_stays_in_its_rows(folder: Path, work: Path, count: int) -> FeatureStore:
    """Damage `count` files of a folder, and compare with the damaged ones blank, and gone, and alone."""
    images = ImageSet.open(folder)
    bad = set(damage(images, count))
    good = [key for key in images.keys if key not in bad]
    store = look(images, work / "store", workers=2)
    assert len(store) == len(images) and store.usable.sum() >= len(good)
    unreadable = store.rows.index[~store.usable]
    assert set(unreadable) <= bad and store.rows.loc[unreadable, "error"].str.len().gt(5).all()
    assert (
        np.isnan(store.embedding()[~store.usable]).all()
        and np.isfinite(store.embedding()[store.usable]).all()
    )

    readable = [key for key in images.keys if key in bad and key not in set(unreadable)]
    alone = work / "alone"
    for key in readable:  # damaged and decoded all the same: images of their own
        (alone / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images.path(key), alone / key)
    assert_same(store, look(ImageSet.open(alone), work / "store of those"), readable)

    for key in bad:
        images.path(key).write_bytes(b"")
    blank = look(images, work / "blank")
    assert set(blank.rows.index[~blank.usable]) == bad
    assert_same(store, blank, good)

    for key in bad:
        images.path(key).unlink()
    assert_same(store, look(ImageSet.open(folder), work / "gone"), good)
    return store


@pytest.fixture
def one_thread():
    """With several threads the numbers of some operations depend on which thread gets a row."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("count", "bad"), [(100, 30), pytest.param(1000, 300, marks=pytest.mark.slow, id="slow")]
)
def test_damaged_files_are_rows_and_change_no_other(count, bad, tmp_path, one_thread) -> None:
    in_every_format(tmp_path / "images", count)
    store = check_that_damage_stays_in_its_rows(tmp_path / "images", tmp_path, bad)
    assert len(store) == count and 0.2 * bad < (~store.usable).sum() < bad


@pytest.mark.parametrize(
    ("count", "bad"), [(40, 12), pytest.param(1000, 300, marks=pytest.mark.slow, id="slow")]
)
def test_damaged_real_files_are_rows_and_change_no_other(count, bad, shared, tmp_path, one_thread) -> None:
    manifest = pd.read_csv(shared / "corpus/manifest.csv").sample(count, random_state=0)
    for row in manifest.itertuples():
        path = tmp_path / "images" / str(row.generator) / str(row.path).replace("/", "_")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "corpus" / str(row.path), path)
    check_that_damage_stays_in_its_rows(tmp_path / "images", tmp_path, bad)


def test_damage_has_all_its_kinds(tmp_path) -> None:
    """The damage is real: a run of draws covers shorter, longer and equally long files, none left whole."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    rng = np.random.default_rng(0)
    lengths = [len(damaged(buffer.getvalue(), b"GIF89a" * 99, rng)) for _ in range(100)]
    whole = len(buffer.getvalue())
    assert min(lengths) < whole / 2 and max(lengths) > whole and lengths.count(whole) > 20


@pytest.mark.parametrize("batch_size", [1, 3, 8, 32])
def test_an_image_s_numbers_depend_neither_on_its_place_nor_on_its_neighbours(batch_size, one_thread) -> None:
    encoder = Encoder(make("clip-quick-gelu"), Preprocessing.clip(32), name="tiny")
    pixels = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, generator=torch.manual_seed(0))
    whole = encoder.record(encoder.preprocessing.normalize(pixels))
    rng = np.random.default_rng(0)
    for kept in rng.integers(1, batch_size + 1, 5):
        order = torch.from_numpy(rng.permutation(batch_size))
        moved = pixels[order]
        moved[kept:] = 0  # as a batch that is not full is filled up
        record = encoder.record(encoder.preprocessing.normalize(moved))
        for name in ARRAYS:
            assert torch.equal(getattr(record, name)[:kept], getattr(whole, name)[order[:kept]]), name
