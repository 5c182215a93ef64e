"""Statistics of a store's rows: of the pixels the encoder saw, in its order, kept, and never a stale file."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_models import make

import interp
from interp.errors import InputError
from interp.features.statistics import FILE, measure_statistics, read_statistics
from interp.images.decode import read_image
from interp.images.equalize import Equalize
from interp.images.pixel_statistics import STATISTICS, pixel_statistics
from interp.images.simulated import draw_simulated_set
from interp.images.views import Views

QUIET = {"workers": 0, "progress": False}


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statistics")
    images = draw_simulated_set(folder / "images", n_per_class=2, size=48)
    encoder = interp.Encoder(make("clip-gelu"), interp.Preprocessing.clip(32), name="tiny")
    return images, encoder, folder


def extracted(looked, name: str, **options) -> interp.FeatureStore:
    images, encoder, folder = looked
    return interp.extract(images, encoder, folder / name, batch_size=4, **QUIET, **options)


@pytest.mark.parametrize("equalize", [None, "32:75"])
@pytest.mark.parametrize("workers", [0, 2])
def test_each_row_is_measured_behind_equalisation_and_resizing(looked, workers, equalize):
    images, encoder, _ = looked
    store = extracted(looked, f"store-{workers}-{equalize}".replace(":", "-"), equalize=equalize)
    table = measure_statistics(images, store, workers=workers, progress=False)
    assert table.index.equals(store.rows.index) and list(table.columns) == list(STATISTICS)
    spec = Equalize.parse(equalize or "none")
    for key, row in table.iterrows():
        image = read_image(images.path(str(key))).pixels
        seen = encoder.preprocessing.apply(spec.apply(image) if spec else image)
        np.testing.assert_array_equal(row.to_numpy(), pixel_statistics(seen.transpose(1, 2, 0)))


def test_each_view_is_measured_by_itself(looked):
    images = looked[0]
    store = extracted(looked, "views", views=4)
    table = measure_statistics(images, store, **QUIET)
    assert len(table) == 4 * len(images)
    for key, row in list(store.rows.iterrows())[:8]:
        seen = Views(4).crop(read_image(images.path(row["view_of"])).pixels, row["view"], (32, 32))
        np.testing.assert_array_equal(table.loc[key], pixel_statistics(seen.transpose(1, 2, 0)))


def test_it_is_measured_once_and_read_without_the_images(looked, monkeypatch):
    from interp.features import loading

    images = looked[0]
    store = extracted(looked, "once")
    with pytest.raises(InputError, match=r"no statistics of its images' pixels \(none yet\)"):
        read_statistics(store)
    first = measure_statistics(images, store, **QUIET)
    monkeypatch.setattr(loading, "read_image", None)  # nothing is decoded any more
    for again in (
        measure_statistics(images, store, **QUIET),
        read_statistics(interp.FeatureStore(store.folder)),
    ):
        pd.testing.assert_frame_equal(first, again)


def test_a_table_of_another_store_is_not_taken(looked):
    images = looked[0]
    store, other = extracted(looked, "one"), extracted(looked, "other", equalize="32:50")
    measure_statistics(images, store, **QUIET)
    shutil.copy(store.folder / FILE, other.folder / FILE)
    with pytest.raises(InputError, match="of other images or measured in an older way"):
        read_statistics(other)
    own = measure_statistics(images, other, **QUIET)
    assert (own["sharpness"] != read_statistics(store)["sharpness"]).any()
    (other.folder / FILE).write_bytes(b"PAR1 damaged")
    pd.testing.assert_frame_equal(measure_statistics(images, other, **QUIET), own)


def test_an_unreadable_image_is_a_row_of_nan_and_a_changed_one_is_refused(tmp_path, looked):
    encoder = looked[1]
    rng = np.random.default_rng(0)
    for kind in ("real", "fake"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / kind / f"{i}.png")
    (tmp_path / "images" / "fake" / "1.png").write_bytes(b"no image")
    images = interp.ImageSet.from_folder(tmp_path / "images")
    store = interp.extract(images, encoder, tmp_path / "store", **QUIET)
    table = measure_statistics(images, store, **QUIET)
    assert (table.isna().all(axis=1) == ~store.usable).all() and (~store.usable).sum() == 1
    (store.folder / FILE).unlink()
    changed = images.path(str(store.rows.index[store.usable][0]))
    Image.fromarray(255 - np.asarray(Image.open(changed))).save(changed)
    with pytest.raises(InputError, match="1 images are no longer what"):
        measure_statistics(images, store, **QUIET)
    assert not (store.folder / FILE).exists()


def test_other_images_are_refused(tmp_path, looked):
    store = extracted(looked, "mine")
    options = {"n_per_class": 1, "size": 48, "generators": ["simulated-smooth"]}
    others = draw_simulated_set(tmp_path / "others", **options)
    with pytest.raises(InputError, match="are not among the images given"):
        measure_statistics(others, store, **QUIET)
