"""Embeddings under pruning: those of a direct pass, the same after an interruption, of the store's images alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import make

from interp.encoders.encoder import Encoder
from interp.encoders.pruning import pruned
from interp.errors import InputError
from interp.features.extract import extract
from interp.features.pruned import prune_effects
from interp.features.shards import finished_shards, shard_name
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing

OPTIONS = {"batch_size": 4, "shard_size": 4, "workers": 0, "progress": False}


def tiny(seed: int = 0) -> Encoder:
    return Encoder(make("clip-gelu", seed), Preprocessing.clip(32), name="tiny")


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    folder = tmp_path_factory.mktemp("images")
    for i in range(9):
        write_image(folder / ("real" if i % 2 else "simulated") / f"{i}.png", i)
    (folder / "real" / "broken.png").write_bytes(b"no image")
    return ImageSet.open(folder)


@pytest.fixture(scope="module")
def store(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return extract(images, tiny(), tmp_path_factory.mktemp("store"), **OPTIONS)


def test_every_head_by_itself_is_what_a_direct_pass_without_it_gives(images, store, tmp_path):
    encoder = tiny()
    found = prune_effects(encoder, images, store, folder=tmp_path / "out", **OPTIONS)
    usable = store.rows.index[store.usable]
    assert found.shape == (9, 12, 20) and found.dtype == np.float32
    values = encoder.pixel_values([Image.open(images.path(key)).convert("RGB") for key in usable])
    for number in (0, 5, 11):
        with pruned(encoder, [number]):
            expected = encoder.record(values).embedding.numpy()
        np.testing.assert_allclose(found[:, number], expected, rtol=1e-4, atol=1e-4)


def test_sets_of_heads_are_pruned_together_and_none_gives_the_stored_embedding(images, store, tmp_path):
    rows = np.flatnonzero(store.usable)[[7, 2, 3]]
    sets = [[], ["L1.H0", "L3.H2"], "L1.H0"]
    found = prune_effects(tiny(), images, store, folder=tmp_path / "out", heads=sets, rows=rows, **OPTIONS)
    np.testing.assert_allclose(found[:, 0], store.array("embedding")[rows], rtol=1e-5, atol=1e-5)
    with pruned(encoder := tiny(), ["L1.H0", "L3.H2"]):
        paths = [images.path(store.rows.index[row]) for row in rows]
        values = encoder.pixel_values([Image.open(path).convert("RGB") for path in paths])
        np.testing.assert_allclose(found[:, 1], encoder.record(values).embedding, rtol=1e-4, atol=1e-4)
    assert np.abs(found[:, 2] - found[:, 1]).max() > 1e-3


def test_an_interrupted_run_goes_on_and_a_finished_one_makes_no_pass(images, store, tmp_path, monkeypatch):
    def again(name: str) -> np.ndarray:
        return prune_effects(
            tiny(), images, store, folder=tmp_path / name, heads=["L0.H0", "L2.H1"], **OPTIONS
        )

    whole, passes, record = again("whole"), [], Encoder.record

    def cut_off(self, pixels: torch.Tensor):
        passes.append(len(pixels))
        if len(passes) > 4:
            raise KeyboardInterrupt
        return record(self, pixels)

    monkeypatch.setattr(Encoder, "record", cut_off)
    with pytest.raises(KeyboardInterrupt):
        again("cut")
    done = finished_shards(tmp_path / "cut" / "shards")
    assert done == {0}
    monkeypatch.setattr(Encoder, "record", record)
    np.testing.assert_array_equal(again("cut"), whole)
    for number in range(3):
        name = Path("shards") / shard_name(number) / "pruned.npy"
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    monkeypatch.setattr(Encoder, "record", None)
    np.testing.assert_array_equal(again("whole"), whole)


def test_a_row_whose_image_cannot_be_read_is_nan(images, store, tmp_path):
    rows = np.arange(len(store))
    found = prune_effects(
        tiny(), images, store, folder=tmp_path / "out", heads=["L0.H0"], rows=rows, **OPTIONS
    )
    np.testing.assert_array_equal(np.isnan(found).all((1, 2)), ~store.usable)


def test_other_encoders_images_heads_and_settings_are_refused(images, store, tmp_path):
    folder = tmp_path / "out"
    options = {**OPTIONS, "folder": folder, "rows": [1, 2]}
    with pytest.raises(InputError, match="weights"):
        prune_effects(tiny(seed=1), images, store, **options)
    with pytest.raises(InputError, match="unknown head"):
        prune_effects(tiny(), images, store, heads=["L0.H9"], **options)
    with pytest.raises(InputError, match="not among the images given"):
        prune_effects(tiny(), images.where("label=fake"), store, **options)
    prune_effects(tiny(), images, store, heads=["L0.H0"], **options)
    with pytest.raises(InputError, match="heads"):
        prune_effects(tiny(), images, store, heads=["L0.H1"], **options)


def test_changed_images_are_noticed(store, images, tmp_path):
    for number, key in enumerate(store.rows.index):
        write_image(tmp_path / key, 100 + number)
    other = ImageSet(images.table, tmp_path)
    with pytest.raises(InputError, match="files have changed"):
        prune_effects(tiny(), other, store, folder=tmp_path / "out", heads=["L0.H0"], **OPTIONS)


def test_a_store_gives_the_embedding_beside_the_head_features(store):
    frame = store.frame("embedding_and_heads")
    expected = np.concatenate([store.embedding(), store.head_features()], axis=1)
    np.testing.assert_array_equal(frame.to_numpy(), expected)
    assert list(frame.columns) == [*(f"P.{i}" for i in range(20)), *store.layout.columns]
