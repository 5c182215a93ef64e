"""A store holds what the encoder wrote, comes back byte-identical after kills, and refuses other settings."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import make

from interp.encoders.encoder import LARGEST_DEVIATION, Encoder
from interp.errors import InputError
from interp.features.checks import bytes_per_image
from interp.features.extract import extract
from interp.features.shards import to_storage
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing


def draw(folder: Path, count: int = 21) -> ImageSet:
    rng = np.random.default_rng(0)
    for i in range(count):
        name = folder / ("real" if i % 2 else "simulated") / f"{i:03d}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(name)
    return ImageSet.open(folder)


def tiny(seed: int = 0, **more) -> Encoder:
    return Encoder(make("clip-gelu", seed), Preprocessing.clip(32), name="tiny", **more)


def same_tree(a: Path, b: Path) -> bool:
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    return all(filecmp.cmp(a / f, b / f, shallow=False) for f in files)


@pytest.fixture
def images(tmp_path) -> ImageSet:
    return draw(tmp_path / "images")


@pytest.fixture
def store(images, tmp_path) -> FeatureStore:
    return extract(images, tiny(), tmp_path / "store", batch_size=4, shard_size=8, workers=0, progress=False)


def test_a_store_holds_what_a_direct_pass_gives(images, store):
    encoder = tiny()
    values = encoder.pixel_values([Image.open(images.path(key)).convert("RGB") for key in images.keys])
    parts = encoder.decompose(values)
    np.testing.assert_allclose(store.embedding(), parts.embedding, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(store.head_embeddings(), parts.heads.flatten(1, 2), rtol=2e-2, atol=2e-3)
    record = encoder.record(values)
    np.testing.assert_allclose(
        store.class_tokens(), encoder.readout.class_tokens(record), rtol=1e-2, atol=1e-2
    )
    np.testing.assert_allclose(
        store.next_to_last(), encoder.readout.next_to_last(record), rtol=1e-2, atol=1e-2
    )
    assert list(store.rows.index) == list(images.keys)
    assert store.rows["content_hash"].str.len().eq(64).all()


def test_head_features_times_the_folded_matrix_is_the_head_embedding(store):
    features, layout = store.head_features(), store.layout
    expected = features[:, layout.slice("L2.H1")] @ store.readout.folded[2, 1].numpy()
    np.testing.assert_allclose(store.head_embeddings(["L2.H1"])[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_the_embedding_without_parts_is_the_stored_one_minus_them(store):
    heads = store.head_embeddings(["L0.H0", "L3.H2"])
    np.testing.assert_array_equal(
        store.embedding(without=["L0.H0", "L3.H2"]), store.embedding() - heads[:, 0] - heads[:, 1]
    )
    everything = [*store.layout.names, *(f"L{i}.MLP" for i in range(4)), "first"]
    bias = store.readout.bias(torch.from_numpy(store.array("norm_std")))
    np.testing.assert_allclose(store.embedding(without=everything), bias, atol=5e-3)
    train = [0, 1, 2, 3]
    replaced = store.embedding(without=["L3.H2"], replace="mean", rows=train)
    np.testing.assert_allclose(replaced[train].mean(0), store.embedding()[train].mean(0), atol=1e-5)
    with pytest.raises(InputError, match="did you mean 'L3.MLP'"):
        store.embedding(without=["L3.MPL"])
    with pytest.raises(InputError, match="needs rows="):
        store.embedding(without=["first"], replace="mean")


def test_an_unreadable_image_is_a_row_and_leaves_the_others_bit_identical(images, store, tmp_path):
    bad = images.keys[5]
    images.path(bad).write_bytes(b"not an image")
    other = extract(images, tiny(), tmp_path / "other", batch_size=4, shard_size=8, workers=0, progress=False)
    assert list(other.rows.index[~other.usable]) == [bad]
    assert other.rows.loc[bad, "error"]
    assert np.isnan(other.array("head_values")[5]).all()
    for name in ("head_values", "mlp_values", "embedding", "norm_std"):
        np.testing.assert_array_equal(np.delete(other.array(name), 5, 0), np.delete(store.array(name), 5, 0))


def test_images_that_are_all_unreadable_are_rows_with_their_reasons(tmp_path):
    (tmp_path / "images" / "real").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "images" / "real" / f"{name}.png").write_bytes(b"")
    store = extract(ImageSet.open(tmp_path / "images"), tiny(), tmp_path / "s", workers=0, progress=False)
    assert store.rows["error"].tolist() == ["the file is empty"] * 2
    assert np.isnan(store.embedding()).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"encoder": {"seed": 1}}, "encoder.weights"),
        ({"encoder": {"dtype": "bfloat16"}}, "encoder.dtype"),
        ({"equalize": "24:75"}, "equalize"),
        ({"shard_size": 16}, "shard_size"),
        ({"store_dtype": "float32"}, "dtype"),
    ],
)
def test_other_settings_are_refused_and_named(change, named, images, store):
    encoder = tiny(**change.pop("encoder", {}))
    options = {"batch_size": 4, "shard_size": 8, "workers": 0, "progress": False, **change}
    with pytest.raises(InputError, match=rf"made with other settings.*{named}"):
        extract(images, encoder, store.folder, **options)


def test_other_images_and_foreign_folders_are_refused(images, store, tmp_path):
    options = {"batch_size": 4, "shard_size": 8, "workers": 0, "progress": False}
    with pytest.raises(InputError, match="images: the store has"):
        extract(images.where("label=real"), tiny(), store.folder, **options)
    with pytest.raises(InputError, match="not empty and holds no feature store"):
        extract(images, tiny(), images.root, **options)
    with pytest.raises(InputError, match="holds no feature store"):
        FeatureStore(tmp_path)


def test_an_overflow_is_an_error_that_names_the_layer():
    values = np.zeros((2, 3, 4))
    values[1, 2, 0] = 1e5
    with pytest.raises(InputError, match=r"layer 2 reach 1e\+05.*float32"):
        to_storage(values, "float16", "mlp_values")
    assert to_storage(values, "float32", "mlp_values")[1, 2, 0] == 1e5


def test_a_model_that_its_family_description_does_not_fit_is_refused_before_work(images, tmp_path):
    encoder = tiny()
    object.__setattr__(encoder.readout, "norm_weight", encoder.readout.norm_weight * 1.01)
    with pytest.raises(InputError, match="miss its embedding"):
        extract(images, encoder, tmp_path / "s", progress=False)


def test_a_precision_too_far_from_float32_is_refused_before_work(images, tmp_path, monkeypatch):
    half = tiny(dtype="bfloat16")
    pixels = half.preprocessing.normalize(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    deviation = float(half.precision_error(pixels).max())
    assert 1e-4 < deviation < 0.3
    monkeypatch.setitem(LARGEST_DEVIATION, torch.bfloat16, deviation / 10)
    with pytest.raises(InputError, match=r"from float32 on four images .*use --dtype float32"):
        extract(images, half, tmp_path / "s", workers=0, progress=False)
    monkeypatch.setitem(LARGEST_DEVIATION, torch.bfloat16, 10 * deviation)
    assert len(extract(images, half, tmp_path / "t", workers=0, progress=False)) == len(images)


def test_a_store_of_vit_large_fits_110_kb_an_image(tmp_path):
    """ViT-L/14's widths at two layers; the bytes scale with the layers."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=16,
        image_size=28,
        patch_size=14,
        projection_dim=768,
    )
    encoder = Encoder(CLIPVisionModelWithProjection(config), Preprocessing.clip(28), name="wide")
    store = extract(draw(tmp_path / "i", 64), encoder, tmp_path / "s", workers=0, progress=False)
    on_disk = store.size()[0] / len(store)
    two_layers, per_layer = bytes_per_image(encoder), 2 * (16 * 64 + 1024)
    assert on_disk <= two_layers + 1500  # rows and .npy headers
    assert two_layers + 22 * per_layer <= 105_000


def test_cut_off_inside_a_shard_and_resumed_it_is_byte_identical(images, store, tmp_path, monkeypatch):
    """The disk fails in the middle of the second shard; what is half-written there is not taken for a shard."""
    out, calls = tmp_path / "cut", iter(range(99))
    save = np.save

    def failing(path, array):
        if next(calls) == 8:  # the third of six arrays of the second shard
            raise OSError("no space left on device")
        save(path, array)

    monkeypatch.setattr("interp.features.shards.np.save", failing)
    options = {"batch_size": 4, "shard_size": 8, "workers": 0, "progress": False}
    with pytest.raises(InputError, match="no space"):
        extract(images, tiny(), out, **options)
    with pytest.raises(InputError, match=r"not finished \(1 of 3 shards\)"):
        FeatureStore(out)
    monkeypatch.undo()
    extract(images, tiny(), out, **options)
    assert same_tree(store.folder, out)
