"""Pixels beside a store: those its encoder looked at, laundered as its key says, refused where they do not belong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import make

from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.extract import extract
from interp.features.pixels import PixelStore, StoreWithImages, joined
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing
from interp.images.simulated import draw_simulated_set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    draw_simulated_set(
        folder / "set", n_per_class=4, size=48, generators=["simulated-palette"], progress=False
    )
    images = ImageSet.open(folder / "set")
    images.path(images.keys[2]).write_bytes(b"no image")
    encoder = Encoder(make("clip-quick-gelu"), Preprocessing.clip(32), name="tiny")
    options = {"equalize": "common:24:32:75", "workers": 0, "progress": False, "store_dtype": "float32"}
    for name, launder in (("plain", None), ("bent", "jpeg:30-60")):
        extract(images, encoder, folder / name, launder=launder, random_state=5, **options)
    return folder, images, encoder


@pytest.mark.parametrize("name", ["plain", "bent"])
def test_the_pixels_are_those_that_the_stores_encoder_saw(made, name):
    folder, images, encoder = made
    store = StoreWithImages(folder / name, images, encoder, workers=0)
    pixels = store.features("pixels")
    assert pixels.shape == (8, 3, 32, 32) and pixels.dtype == np.uint8
    seen = encoder.record(encoder.preprocessing.normalize(torch.from_numpy(pixels))).embedding.numpy()
    stored = store.features("embedding")
    np.testing.assert_allclose(seen[store.usable], stored[store.usable], rtol=1e-3, atol=1e-3)
    assert store.usable.tolist() == [i != 2 for i in range(8)] and (pixels[2] == 0).all()


def test_laundering_changes_them_and_maps_stand_beside_them(made):
    folder, images, encoder = made
    maps = np.arange(8 * 4 * 2 * 2).reshape(8, 4, 2, 2)
    plain, bent = (StoreWithImages(folder / n, images, encoder, maps, 0) for n in ("plain", "bent"))
    assert (plain.features("pixels") != bent.features("pixels")).any()
    both = plain.features("pixels_and_maps")
    np.testing.assert_array_equal(both["pixels"], plain.features("pixels"))
    np.testing.assert_array_equal(both[[3, 1]]["map"], maps[[3, 1]])


def test_an_unreadable_image_is_a_row_with_its_reason(made):
    _, images, encoder = made
    found = PixelStore.decode(images, encoder.preprocessing, workers=0)
    assert list(found.rows.index) == list(images.keys) and "not an image" in found.rows["error"].iloc[2]
    assert found.rows["pixel_hash"].isna().tolist() == (~found.usable).tolist()


def test_wrong_uses_say_what_to_do(made):
    folder, images, encoder = made
    fewer = images.where("label=fake")
    with pytest.raises(InputError, match="features of other images than the 4 given"):
        StoreWithImages(folder / "plain", fewer, encoder)
    with pytest.raises(InputError, match="3 maps for 8 images"):
        StoreWithImages(folder / "plain", images, encoder, np.zeros((3, 4, 2, 2)))
    with pytest.raises(InputError, match="no maps= were given"):
        StoreWithImages(folder / "plain", images, encoder, workers=0).features("pixels_and_maps")
    with pytest.raises(InputError, match="2 images and 3 maps"):
        joined(np.zeros((2, 3, 4, 4), np.uint8), np.zeros((3, 4, 2, 2)))
