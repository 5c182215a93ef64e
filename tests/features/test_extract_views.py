"""Views in a store: a row for each crop, decoded once, and the numbers of the crop itself."""

import numpy as np
import pytest
from tiny_models import make

import interp
from interp.errors import InputError
from interp.images.decode import read_image
from interp.images.simulated import draw_simulated_set
from interp.images.views import Views


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    images = draw_simulated_set(folder / "images", n_per_class=2, size=48)
    encoder = interp.Encoder(make("clip-gelu"), interp.Preprocessing.clip(32), name="tiny")
    options = {"batch_size": 4, "shard_size": 6, "workers": 0, "progress": False, "store_dtype": "float32"}
    return images, encoder, folder, options


@pytest.mark.parametrize("workers", [0, 2])
def test_each_row_is_the_embedding_of_its_crop(looked, workers):
    images, encoder, folder, options = looked
    store = interp.extract(
        images, encoder, folder / f"store{workers}", views=4, **options | {"workers": workers}
    )
    assert len(store) == 4 * len(images) and store.key["views"] == "4"
    embedding = store.embedding()
    for at, (_, row) in enumerate(store.rows.iterrows()):
        image = read_image(images.path(row["view_of"])).pixels
        pixels = np.stack([Views(4).crop(image, row["view"], (32, 32))])
        import torch

        seen = encoder.record(encoder.preprocessing.normalize(torch.from_numpy(pixels))).embedding[0].numpy()
        assert np.allclose(embedding[at], seen, rtol=1e-4, atol=1e-5)


def test_a_store_of_views_is_not_taken_for_one_of_images(looked):
    images, encoder, folder, options = looked
    interp.extract(images, encoder, folder / "whole", **options)
    with pytest.raises(InputError, match="views: the store has 'none', asked for '4'"):
        interp.extract(images, encoder, folder / "whole", views=4, **options)


def test_an_image_is_decoded_once_for_all_its_views(looked, monkeypatch):
    from interp.features import loading

    images, encoder, folder, options = looked
    read = []
    monkeypatch.setattr(loading, "read_image", lambda path: (read.append(path), read_image(path))[1])
    interp.extract(images, encoder, folder / "once", views=9, **options | {"batch_size": 9, "shard_size": 90})
    assert len(read) <= len(images) + 1  # one more for the check on the first four rows
