"""A store of laundered images holds what was seen of them, says how they were laundered, and can be made again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from features.test_extract import draw, same_tree, tiny
from PIL import Image

from interp.encoders.pruning import pruned
from interp.errors import InputError
from interp.features.extract import extract
from interp.features.pruned import prune_effects
from interp.features.statistics import measure_statistics
from interp.images.decode import read_image
from interp.images.equalize import Equalize
from interp.images.laundering import Laundering
from interp.images.pixel_statistics import STATISTICS, pixel_statistics
from interp.images.views import Views

OPTIONS: dict = {"batch_size": 4, "shard_size": 8, "progress": False}
CHAIN = "noise:9+jpeg:20-90"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("laundered") / "images")


def seen(images, key: str, random_state: int = 0):
    """The laundering by hand: at the image's own size and before the equalisation."""
    image = Laundering.parse(CHAIN).apply(read_image(images.path(key)).pixels, key, random_state)
    return Equalize(24, 90).apply(image)


def test_images_are_laundered_and_then_equalised(images, tmp_path, capsys):
    encoder = tiny()
    store = extract(
        images, encoder, tmp_path / "s", launder=CHAIN, random_state=3, equalize="24:90", workers=0, **OPTIONS
    )
    assert "noise:9+jpeg:20-90 at its own size → equalised 24:90" in capsys.readouterr().out
    pixels = np.stack([encoder.preprocessing.apply(seen(images, key, 3)) for key in images.keys])
    record = encoder.record(encoder.preprocessing.normalize(torch.from_numpy(pixels)))
    np.testing.assert_allclose(store.embedding(), record.embedding.numpy(), rtol=1e-4, atol=1e-5)
    measured = measure_statistics(images, store, workers=0, progress=False)
    expected = [pixel_statistics(one.transpose(1, 2, 0)) for one in pixels]
    np.testing.assert_allclose(measured[list(STATISTICS)], expected)


def test_workers_batches_and_resuming_change_no_byte(images, tmp_path):
    options = {"launder": CHAIN, **OPTIONS}
    whole = extract(images, tiny(), tmp_path / "whole", workers=0, **options)
    other = extract(images, tiny(), tmp_path / "other", workers=2, **options)
    assert same_tree(whole.folder, other.folder)
    shutil.rmtree(other.folder / "shards" / "00001")
    assert same_tree(whole.folder, extract(images, tiny(), other.folder, workers=1, **options).folder)


def test_views_are_cut_out_of_one_laundered_image(images, tmp_path):
    encoder = tiny()
    store = extract(images, encoder, tmp_path / "s", launder=CHAIN, views=4, workers=0, **OPTIONS)
    for at in (0, 1, 7, 30):
        row = store.rows.iloc[at]
        image = Laundering.parse(CHAIN).apply(read_image(images.path(row["view_of"])).pixels, row["view_of"])
        pixels = torch.from_numpy(Views(4).crop(image, row["view"], (32, 32)))[None]
        embedding = encoder.record(encoder.preprocessing.normalize(pixels)).embedding[0].numpy()
        np.testing.assert_allclose(store.embedding()[at], embedding, rtol=1e-4, atol=1e-5)


def test_the_key_names_chain_seed_and_libraries(images, tmp_path):
    plain = extract(images, tiny(), tmp_path / "plain", launder="none", workers=0, **OPTIONS)
    assert plain.key["laundering"] == "none" and "laundering_seed" not in plain.key
    assert "scipy" not in plain.key["libraries"]
    store = extract(images, tiny(), tmp_path / "s", launder="jpeg:50", workers=0, **OPTIONS)
    assert store.key["laundering"] == "jpeg:50" and store.key["laundering_seed"] == 0
    assert {"scipy", "libjpeg_turbo", "libwebp"} <= set(store.key["libraries"])
    with pytest.raises(InputError, match="laundering: the store has 'jpeg:50', asked for 'jpeg:51'"):
        extract(images, tiny(), store.folder, launder="jpeg:51", workers=0, **OPTIONS)
    with pytest.raises(InputError, match="laundering_seed: the store has 0, asked for 1"):
        extract(images, tiny(), store.folder, launder="jpeg:50", random_state=1, workers=0, **OPTIONS)


def test_what_is_missing_is_said_before_a_worker_starts(images, tmp_path):
    with pytest.raises(InputError, match="did you mean 'jpeg'"):
        extract(images, tiny(), tmp_path / "s", launder="jpg:50", **OPTIONS)
    with pytest.raises(InputError, match="needs diffusers|no autoencoder found"):
        extract(images, tiny(), tmp_path / "s", launder="vae:/no/such/folder", **OPTIONS)


def test_an_image_too_large_for_a_step_is_a_row(tmp_path):
    images = draw(tmp_path / "images", 3)
    Image.new("RGB", (6000, 4000)).save(images.path(images.keys[1]))
    store = extract(images, tiny(), tmp_path / "s", launder="resize:8", workers=0, **OPTIONS)
    assert store.usable.tolist() == [True, False, True]
    assert store.rows["error"].iloc[1]


def test_pruned_passes_see_the_laundered_images(images, tmp_path):
    encoder = tiny()
    store = extract(images, encoder, tmp_path / "s", launder=CHAIN, random_state=2, workers=0, **OPTIONS)
    options = {"heads": ["L0.H1"], "workers": 0, "progress": False, "batch_size": 4}
    found = prune_effects(encoder, images, store, folder=tmp_path / "p", **options)  # refuses other pixels
    chain = Laundering.parse(CHAIN)
    image = chain.apply(read_image(images.path(images.keys[0])).pixels, images.keys[0], 2)
    pixels = torch.from_numpy(encoder.preprocessing.apply(image))[None]
    with pruned(encoder, ["L0.H1"]):
        expected = encoder.record(encoder.preprocessing.normalize(pixels)).embedding.numpy()
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
