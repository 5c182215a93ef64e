"""RINE equals its formula, reads what the second LayerNorms put out, and asks for the encoder that has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from rine_files import rine_tensors
from scipy.special import softmax
from tiny_models import make

from interp.detectors import fitting
from interp.detectors.fitting import OPENAI
from interp.detectors.released import load_released_head
from interp.detectors.rine_head import RineHead, mlp_inputs, second_norms
from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.extract import extract
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageSet:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return ImageSet.open(folder)


def rine_by_hand(tensors: dict[str, torch.Tensor], tokens: np.ndarray, depth: int) -> np.ndarray:
    t = {name: value.double().numpy() for name, value in tensors.items()}

    def linear(name, x):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    for i in range(depth):
        tokens = np.maximum(linear(f"proj1.{3 * i + 1}", tokens), 0)
    mixed = (softmax(t["alpha"][0], axis=0)[None] * tokens).sum(1)
    for i in range(depth):
        mixed = np.maximum(linear(f"proj2.{3 * i + 1}", mixed), 0)
    for i in range(2):
        mixed = np.maximum(linear(f"head.{3 * i}", mixed), 0)
    return linear("head.6", mixed)[:, 0]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_rine_equals_its_formula(depth):
    tensors = rine_tensors(5, 12, 7, depth)
    head = RineHead.from_checkpoint({**tensors, "clip.visual.proj": torch.zeros(2)})
    tokens = torch.randn(6, 5, 12, generator=torch.Generator().manual_seed(1))
    expected = rine_by_hand(tensors, tokens.double().numpy(), depth)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(head(tokens).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert head.shape == (5, 12) and not any(p.requires_grad for p in head.parameters())


@pytest.fixture(scope="module")
def tiny_rine(images, tmp_path_factory) -> tuple[Encoder, FeatureStore]:
    encoder = Encoder(make("clip-quick-gelu"), Preprocessing.clip(32), name=OPENAI)
    return encoder, extract(
        images,
        encoder,
        tmp_path_factory.mktemp("rine"),
        batch_size=4,
        shard_size=4,
        workers=0,
        store_dtype="float32",
        progress=False,
    )


def test_the_tokens_are_what_the_second_norms_put_out(images, tiny_rine):
    encoder, store = tiny_rine
    caught: list[torch.Tensor] = []
    handles = [
        block.layer_norm2.register_forward_hook(lambda _m, _a, output: caught.append(output[:, 0]))
        for block in encoder.recorder.parts.blocks
    ]
    keys = store.rows.index[store.usable]
    pixels = encoder.pixel_values([Image.open(images.path(key)).convert("RGB") for key in keys])
    with torch.inference_mode():
        encoder.model(pixel_values=pixels)
    for handle in handles:
        handle.remove()
    found = torch.cat(list(mlp_inputs(store, second_norms(encoder))))[readable(store)]
    np.testing.assert_allclose(found.numpy(), torch.stack(caught, dim=1).numpy(), atol=2e-5)


def test_rine_scores_a_store_with_the_encoder_that_made_it(tiny_rine, tmp_path, monkeypatch):
    encoder, store = tiny_rine
    monkeypatch.setitem(fitting.RINE_ENCODERS, (4, 48), OPENAI)
    path = tmp_path / "model_4class_trainable.pth"
    torch.save(rine_tensors(4, 48, 6, 2), path)
    head = load_released_head(path)
    with pytest.raises(InputError, match="pass encoder=, the one that made"):
        head.score(store, allow_other_preprocessing=True)
    table = head.score(store, encoder=encoder, allow_other_preprocessing=True)
    tokens = torch.cat(list(mlp_inputs(store, second_norms(encoder))))[readable(store)]
    expected = rine_by_hand(rine_tensors(4, 48, 6, 2), tokens.double().numpy(), 2)
    np.testing.assert_allclose(table["score"][store.usable], expected, rtol=1e-3, atol=1e-3)
    assert table["score"].isna().tolist() == (~store.usable).tolist()
    other = Encoder(make("clip-quick-gelu", 1), Preprocessing.clip(32), name=OPENAI)
    with pytest.raises(InputError, match="has other weights"):
        head.score(store, encoder=other, allow_other_preprocessing=True)
    with pytest.raises(InputError, match=r"no Detector; use score\(\)"):
        head.detector(store)
    again = load_released_head(head.save(tmp_path / "rine.safetensors"), "rine")
    again_scores = again.score(store, encoder=encoder, allow_other_preprocessing=True)["score"]
    np.testing.assert_array_equal(again_scores, table["score"])


def readable(store: FeatureStore) -> torch.Tensor:
    return torch.tensor(np.flatnonzero(store.usable))
