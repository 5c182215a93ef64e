"""A store behind an address: equal to the one that was copied there, fetched as it is read, never a stale one."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from features.test_cut_off import draw, tiny

from interp.errors import InputError
from interp.features.extract import extract
from interp.features.remote import as_address, cache
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet

fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
OPTIONS: dict[str, Any] = {"batch_size": 4, "shard_size": 4, "workers": 0, "progress": False, "views": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageSet, FeatureStore]:
    folder = tmp_path_factory.mktemp("remote")
    images = draw(folder / "images", 7)
    images.path(images.keys[3]).write_bytes(b"not an image")
    return images, extract(images, tiny(), folder / "store", **OPTIONS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))


def put(store: FeatureStore, address: str) -> str:
    files, path = fsspec.core.url_to_fs(address)
    if files.exists(path):
        files.rm(path, recursive=True)
    files.put(f"{store.folder}/", f"{path}/", recursive=True)
    return address


def local_arrays() -> list[str]:
    return sorted({path.stem for path in cache().rglob("*.npy")})


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_it_equals_the_local_one(protocol: str, made, tmp_path: Path) -> None:
    store = made[1]
    address = put(store, f"{protocol}://{tmp_path}/bucket/store")
    found = FeatureStore(address)
    pd.testing.assert_frame_equal(found.rows, store.rows)
    assert (found.key, found.views, len(found)) == (store.key, 4, 28)
    assert found.size() == store.size()
    assert repr(found) == repr(store).replace(str(store.folder), address)
    assert local_arrays() == []
    np.testing.assert_array_equal(found.embedding(), store.embedding())
    assert local_arrays() == ["embedding"]
    for kind in ("heads", "layers", "next_to_last"):
        np.testing.assert_array_equal(found.features(kind), store.features(kind))
    np.testing.assert_array_equal(found.head_embeddings(["L1.H0"]), store.head_embeddings(["L1.H0"]))


def test_what_was_fetched_is_read_here_and_a_store_in_its_place_is_not_mixed_with_it(made, tmp_path) -> None:
    images, store = made
    address = put(store, "memory://bucket/part")
    before = FeatureStore(address).embedding()
    files, path = fsspec.core.url_to_fs(address)
    files.rm(f"{path}/shards", recursive=True)
    np.testing.assert_array_equal(FeatureStore(address).embedding(), before)
    with pytest.raises(InputError, match=r"bucket/part/shards/0000\d/head_values.npy is missing"):
        FeatureStore(address).head_features()
    fewer = ImageSet.from_paths([str(images.path(key)) for key in images.keys[4:]])
    other = extract(fewer, tiny(), tmp_path / "other", **OPTIONS)
    put(other, address)
    np.testing.assert_array_equal(FeatureStore(address).embedding(), other.embedding())
    assert len(list(cache().iterdir())) == 2


def test_what_is_missing_is_said(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, store = made
    with pytest.raises(InputError, match="memory:///nothing/there holds no feature store"):
        FeatureStore("memory://nothing/there")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(store.folder, unfinished)
    (unfinished / "rows.parquet").unlink()
    with pytest.raises(InputError, match=f"the store file://{unfinished} is not finished"):
        FeatureStore(f"file://{unfinished}")
    with pytest.raises(InputError, match="unknown protocol 'memry'; did you mean 'memory'"):
        FeatureStore("memry://bucket/store")
    with pytest.raises(InputError, match="written into folders; .* copy it to s3://bucket/store"):
        extract(images, tiny(), "s3://bucket/store", **OPTIONS)
    plain = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith(("fsspec", "s3fs")):
            raise ImportError(f"No module named {name!r}")
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="pip install s3fs"):
        FeatureStore("s3://bucket/store")


@pytest.mark.parametrize("text", ["s3://b/a/store", "gs://b/store/", "memory://b/store", "file:///b/store"])
def test_an_address_stays_one_as_a_path(text: str) -> None:
    assert as_address(Path(text)) == as_address(text) and as_address(text) is not None


def test_a_folder_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "store").mkdir(parents=True)
    assert as_address("s3:/store") is None and as_address("runs/a:b") is None and as_address("/x/y") is None
