"""Published heads score as their formulas say, on the encoder they were fitted to, from files that run nothing."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rine_files import rine_tensors
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from interp.detectors.checkpoints import read_tensors
from interp.detectors.detector import load_detector
from interp.detectors.fitting import CROPPED, GRIP_ARCH, OPENAI, RESIZED
from interp.detectors.released import load_released_head
from interp.detectors.scoring import score_images
from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.extract import extract
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing

COMMONPOOL = "laion/CLIP-ViT-L-14-CommonPool.XL-s13B-b90K"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageSet:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(5):
        name = folder / ("0_real" if i % 2 else "drawn") / f"{i}.png"
        name.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (240, 260, 3), dtype=np.uint8)).save(name)
    (folder / "drawn" / "broken.png").write_bytes(b"no image")
    return ImageSet.open(folder)


def clip(wide: int, joint: int, name: str, preprocessing: Preprocessing, act: str = "quick_gelu") -> Encoder:
    """A one-block CLIP with random weights under a published model's name."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=wide,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=224,
        patch_size=56,
        projection_dim=joint,
        hidden_act=act,
    )
    return Encoder(CLIPVisionModelWithProjection(config), preprocessing, name=name)


def stored(images: ImageSet, encoder: Encoder, folder: Path, **more) -> FeatureStore:
    return extract(images, encoder, folder, batch_size=4, shard_size=4, workers=0, progress=False, **more)


@pytest.fixture(scope="module")
def ufd_store(images, tmp_path_factory) -> FeatureStore:
    return stored(images, clip(32, 768, OPENAI, CROPPED), tmp_path_factory.mktemp("ufd"))


def linear(width: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(width)
    return {"weight": torch.randn(1, width, generator=generator), "bias": torch.tensor([0.25])}


def written(content: object, folder: Path, name: str = "head.pth", **more) -> Path:
    torch.save(content, folder / name, **more)
    return folder / name


def prefixed(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


UFD_FILES = {
    "bare": linear(768),
    "fc": prefixed(linear(768), "fc."),
    "parallel": {"model": prefixed(linear(768), "module.fc."), "optimizer": {"lr": 1e-4}, "total_steps": 7},
    "whole": {**prefixed(linear(768), "fc."), "model.visual.proj": torch.zeros(2, 3)},
}


@pytest.mark.parametrize("form", UFD_FILES)
def test_universal_fake_detect_is_the_raw_embedding_times_its_weights(form, ufd_store, tmp_path):
    head = load_released_head(written(UFD_FILES[form], tmp_path))
    assert head.kind == "universal-fake-detect" and head.notes["tensors_left"] == (form == "whole")
    table = head.score(ufd_store)
    weight = linear(768)["weight"].numpy()[0]
    usable = ufd_store.usable
    np.testing.assert_allclose(
        table["score"][usable], ufd_store.embedding()[usable].astype(float) @ weight + 0.25, rtol=1e-9
    )
    assert (table["verdict"][usable] == np.where(table["score"][usable] > 0, "fake", "real")).all()
    assert table.loc["drawn/broken.png", "verdict"] == "" and np.isnan(table.loc["drawn/broken.png", "score"])
    assert table.loc["drawn/broken.png", "error"]


def test_the_legacy_format_and_safetensors_give_the_same_head(ufd_store, tmp_path):
    legacy = written(linear(768), tmp_path, _use_new_zipfile_serialization=False)
    head = load_released_head(legacy)
    again = load_released_head(head.save(tmp_path / "head.safetensors"))
    np.testing.assert_array_equal(again.score(ufd_store)["score"], head.score(ufd_store)["score"])
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        head.save(tmp_path / "head.pth")


def test_few_shot_head_reads_the_next_to_last_token_at_unit_length(images, tmp_path):
    store = stored(images, clip(1024, 16, COMMONPOOL, RESIZED, "gelu"), tmp_path / "store")
    path = written({"model": prefixed(linear(1024), "fc.")}, tmp_path, "weights.pth")
    (tmp_path / "config.yaml").write_text(f"arch: {GRIP_ARCH}\nnorm_type: clip\npatch_size: Clip224\n")
    head = load_released_head(path)
    assert head.kind == "grip-few-shot"
    token = store.next_to_last()[store.usable].astype(float)
    token /= np.linalg.norm(token, axis=1, keepdims=True)
    expected = token @ linear(1024)["weight"].numpy()[0] + 0.25
    np.testing.assert_allclose(head.score(store)["score"][store.usable], expected, rtol=1e-6)
    kept = load_detector(head.detector(store).save(tmp_path / "kept"))
    np.testing.assert_array_equal(kept.score(store)["score"], head.score(store)["score"])
    assert (tmp_path / "kept" / "model.skops").exists()
    (tmp_path / "config.yaml").write_text("arch: opencliplinear_clipL14openai\n")
    with pytest.raises(InputError, match="says arch opencliplinear_clipL14openai; only opencliplinearnext"):
        load_released_head(path)


def test_a_prepared_encoder_scores_new_images_with_a_kept_head(images, ufd_store, tmp_path):
    head = load_released_head(written(linear(768), tmp_path))
    resizing = clip(32, 768, OPENAI, RESIZED)
    prepared = head.prepare(resizing)
    assert (
        prepared.preprocessing == CROPPED and prepared.provenance == clip(32, 768, OPENAI, CROPPED).provenance
    )
    assert head.prepare(prepared) is prepared
    head.detector(ufd_store).save(tmp_path / "kept")
    paths = [images.path(key) for key in images.keys]
    found = score_images(paths, tmp_path / "kept", encoder=prepared, workers=0)
    np.testing.assert_allclose(
        found["score"], head.score(ufd_store, encoder=prepared)["score"], rtol=1e-4, atol=1e-4
    )
    with pytest.raises(InputError, match="preprocessing"):
        score_images(paths, tmp_path / "kept", encoder=resizing, workers=0)


def test_a_bound_head_is_kept_as_a_linear_detector(ufd_store, tmp_path):
    head = load_released_head(written(linear(768), tmp_path))
    kept = load_detector(head.detector(ufd_store).save(tmp_path / "kept"))
    np.testing.assert_array_equal(kept.score(ufd_store)["score"], head.score(ufd_store)["score"])
    assert kept.notes["sha256"] == head.notes["sha256"] and kept.notes["fitted_to"] == OPENAI


def test_another_encoder_is_refused_unless_asked_for(images, ufd_store, tmp_path):
    head = load_released_head(written(linear(768), tmp_path))
    narrow = stored(images, clip(32, 512, OPENAI, CROPPED), tmp_path / "narrow")
    with pytest.raises(InputError, match="reads 768 columns .* gives 512"):
        head.score(narrow, allow_other_encoder=True)
    laion = clip(32, 768, "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", CROPPED, "gelu")
    other = stored(images, laion, tmp_path / "laion")
    with pytest.raises(
        InputError, match=r"fitted to openai/clip-vit-large-patch14 \(quick_gelu\), not to laion"
    ):
        head.score(other)
    assert head.score(other, allow_other_encoder=True)["score"].notna().sum() == 5
    with pytest.raises(InputError, match=r"not to laion/.* \(gelu\)"):
        head.check_encoder(laion)
    trap = clip(32, 768, OPENAI, CROPPED, "gelu")
    with pytest.raises(InputError, match=r"not to openai/clip-vit-large-patch14 \(gelu\)"):
        head.score(ufd_store, encoder=trap)
    head.check_encoder(trap, allow_other_encoder=True)
    head.check_encoder(clip(32, 768, "clip-vit-large-patch14", CROPPED))
    with pytest.raises(InputError, match="not to someone/clip-vit-large-patch14"):
        head.check_encoder(clip(32, 768, "someone/clip-vit-large-patch14", CROPPED))


def test_another_preprocessing_is_refused_unless_asked_for(images, tmp_path):
    head = load_released_head(written(linear(768), tmp_path))
    resized = stored(images, clip(32, 768, OPENAI, RESIZED), tmp_path / "resized")
    with pytest.raises(InputError, match=r"other preprocessing: .*resize \{'shortest_edge': 224\}, not None"):
        head.score(resized)
    assert head.score(resized, allow_other_preprocessing=True)["score"].notna().sum() == 5


RINE_GOOD = rine_tensors(24, 1024, 4, 1)
WRONG = {
    "missing bias": ({"weight": torch.zeros(1, 768)}, None, r"missing bias \(1,\)"),
    "misspelt": (
        {"wieght": torch.zeros(1, 768), "bias": torch.zeros(1)},
        "universal-fake-detect",
        "did you mean",
    ),
    "extra": ({**linear(768), "scale": torch.ones(1)}, None, r"unexpected scale \(1,\)"),
    "wrong width": (
        linear(512),
        "universal-fake-detect",
        r"weight has shape \(1, 512\), expected \(1, 768\)",
    ),
    "two classes": ({"weight": torch.zeros(2, 768), "bias": torch.zeros(2)}, None, "no released head"),
    "not finite": ({**linear(768), "bias": torch.tensor([float("nan")])}, None, "bias holds NaN"),
    "another model": (
        {"conv1.weight": torch.zeros(64, 3, 7, 7)},
        None,
        r"it holds conv1\.weight \(64, 3, 7, 7\)",
    ),
    "no alpha": ({n: v for n, v in RINE_GOOD.items() if n != "alpha"}, None, "alpha is missing"),
    "no head": (
        {n: v for n, v in RINE_GOOD.items() if n != "head.6.weight"},
        None,
        r"missing head\.6\.weight",
    ),
    "other blocks": (rine_tensors(3, 8, 4, 1), None, r"reads 3 blocks of width 8; known are 24 × 1024"),
    "no tensors": ({"epoch": 3}, None, "holds no named tensors; it holds epoch"),
    "a list": ([1, 2], None, "holds a list, expected a dictionary"),
    "unknown kind": (linear(768), "universal-fake", "did you mean 'universal-fake-detect'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_does_not_fit_is_refused_by_name(case, tmp_path):
    content, kind, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        load_released_head(written(content, tmp_path), kind)


class Malicious:
    def __reduce__(self):
        return os.system, (f"touch {Malicious.target}",)

    target = Path("never")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(how, tmp_path):
    Malicious.target = tmp_path / "was-here"
    content = {**linear(768), "extra": Malicious()}
    if how == "pickle":
        (tmp_path / "head.pth").write_bytes(pickle.dumps(content))
    else:
        written(content, tmp_path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(InputError, match=r"executing code.*safetensors\.torch\.save_file"):
        read_tensors(tmp_path / "head.pth")
    assert not Malicious.target.exists()


def test_a_harmless_object_beside_the_weights_is_named(tmp_path):
    path = written({"model": linear(768), "opt": argparse.Namespace(lr=1)}, tmp_path)
    with pytest.raises(InputError, match=r"'argparse\.Namespace'"):
        load_released_head(path)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>", b"PK\x03\x04 cut off", b"version https://git-lfs"]
)
@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_what_is_no_checkpoint_is_said_to_be_none(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="is no checkpoint|git-lfs pointer|no safetensors file"):
        load_released_head(tmp_path / name)
    with pytest.raises(InputError, match=f"did you mean '{name}'"):
        load_released_head(tmp_path / name.replace("head", "haed"))
