"""One decode for many launderings gives, byte for byte, the stores that one extraction each would give."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import pytest
from features.test_extract import draw, same_tree, tiny

from interp.errors import InputError
from interp.features import loading
from interp.features.extract import extract
from interp.features.laundered import CLEAN, launder_stores
from interp.features.store import FeatureStore
from interp.images.decode import read_image
from interp.images.equalize import Equalize

OPTIONS: dict = {"batch_size": 4, "shard_size": 8, "progress": False, "equalize": "36:90"}
SPECS = ["jpeg:30", "noise:9+resize:0.5", "webp:20|90"]
COPIES = "blur:0-3@0.5+jpeg:30-100@0.5"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    images = draw(tmp_path_factory.mktemp("many") / "images")
    images.path(images.keys[5]).write_bytes(b"not an image")
    return images


@pytest.fixture(scope="module")
def stores(images, tmp_path_factory) -> dict[str, FeatureStore]:
    folder = tmp_path_factory.mktemp("stores")
    return launder_stores(images, tiny(), folder, SPECS, copies=COPIES, n_copies=2, workers=2, **OPTIONS)


def test_every_store_is_that_of_one_extraction(images, stores, tmp_path):
    assert list(stores) == [CLEAN, *SPECS, "copy 1", "copy 2"]
    seeds = {"copy 1": 1, "copy 2": 2}
    for name, store in stores.items():
        launder = {CLEAN: "none", "copy 1": COPIES, "copy 2": COPIES}.get(name, name)
        alone = extract(
            images,
            tiny(),
            tmp_path / "alone" / store.folder.name,
            launder=launder,
            random_state=seeds.get(name, 0),
            workers=0,
            **OPTIONS,
        )
        assert same_tree(alone.folder, store.folder)
        assert store.usable.sum() == len(images) - 1
    assert (stores["copy 1"].embedding() != stores["copy 2"].embedding()).mean() > 0.5


def test_views_are_laundered_once_for_all_of_an_image(images, tmp_path):
    options: dict = OPTIONS | {"views": 4, "workers": 1}
    found = launder_stores(images, tiny(), tmp_path / "many", ["noise:9"], **options)
    alone = extract(images, tiny(), tmp_path / "one", launder="noise:9", **options)
    assert same_tree(alone.folder, found["noise:9"].folder)


def test_a_file_is_decoded_once_for_all_launderings(images, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(loading, "read_image", lambda path: (read.append(path), read_image(path))[1])
    launder_stores(images, tiny(), tmp_path, SPECS, workers=0, **OPTIONS)
    good = [path for path in read if not path.endswith(images.keys[5])]
    assert len(good) <= len(images) - 1 + 4 + 4  # four more to check the encoder, four for the estimate


def test_what_is_there_is_not_done_again(images, stores, tmp_path, capsys):
    folder = tmp_path / "stores"
    shutil.copytree(stores[CLEAN].folder.parent, folder)
    shutil.rmtree(folder / "jpeg_30" / "shards" / "00001")
    options = OPTIONS | {"copies": COPIES, "n_copies": 2, "workers": 0}
    capsys.readouterr()
    again = launder_stores(images, tiny(), folder, [*SPECS, "blur:2"], **options)
    said = capsys.readouterr().out
    assert "2 launderings of 21 images: 29 passes" in said  # a shard of one store, and all of the new one
    assert "jpeg:30: decoded → jpeg:30 at its own size → equalised 36:90" in said
    for name, store in stores.items():
        assert same_tree(store.folder, again[name].folder)
    assert len(again["blur:2"]) == len(images)
    launder_stores(images, tiny(), folder, SPECS, **options)
    assert capsys.readouterr().out == ""


@dataclass(frozen=True)
class CutOff(Equalize):
    """An equalisation that is interrupted at some image, once."""

    mark: str = ""

    def apply(self, image):
        if os.path.exists(self.mark) and os.stat(self.mark).st_size > 60:
            os.unlink(self.mark)
            raise KeyboardInterrupt
        if os.path.exists(self.mark):
            with open(self.mark, "a") as mark:
                mark.write("x")
        return super().apply(image)


def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(images, stores, tmp_path):
    (tmp_path / "mark").touch()
    options = OPTIONS | {"equalize": CutOff(36, 90, mark=str(tmp_path / "mark")), "workers": 0}
    with pytest.raises(KeyboardInterrupt):
        launder_stores(images, tiny(), tmp_path / "s", SPECS, **options)
    begun = [len(list((tmp_path / "s" / n / "shards").glob("0*"))) for n in ("clean", "jpeg_30")]
    assert min(begun) > 0 and max(begun) < 3
    found = launder_stores(images, tiny(), tmp_path / "s", SPECS, **options)
    for name, store in found.items():
        assert same_tree(store.folder, stores[name].folder)


def test_wrong_specs_are_refused(images, tmp_path):
    with pytest.raises(InputError, match="share the folder"):
        launder_stores(images, tiny(), tmp_path / "s", {"a:b": "jpeg:5", "a_b": "jpeg:6"}, **OPTIONS)
    with pytest.raises(InputError, match="did you mean 'jpeg'"):
        launder_stores(images, tiny(), tmp_path / "s", ["jpg:5"], **OPTIONS)
    with pytest.raises(InputError, match="1 or more; given 0"):
        launder_stores(images, tiny(), tmp_path / "s", [], copies="jpeg:5", n_copies=0, **OPTIONS)
    assert not (tmp_path / "s").exists()
