"""The CLIP inside the package: loads with plain transformers, sums exactly, and knows what its card says."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from experiments.embedded_data import read_photographs
from experiments.measure_embedded_clip import Encoder as MeasuredEncoder
from experiments.measure_embedded_clip import zero_shot
from interp.encoders.loading import DEFAULT, EMBEDDED, load_encoder, locate
from interp.explain.phrase_reliability import LEAST
from interp.explain.text_encoder import load_text_encoder

FOLDER = Path(locate(EMBEDDED)[0])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


def test_plain_transformers_sees_the_same(pixels: np.ndarray) -> None:
    model = CLIPModel.from_pretrained(FOLDER, dtype=torch.float32).eval()
    processed = CLIPImageProcessor.from_pretrained(FOLDER)(list(pixels), return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(FOLDER)(["a blurry photo", "a photo of a bus"], padding=True)
    tokens = {name: torch.tensor(tokens[name]) for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        seen = model.visual_projection(model.vision_model(processed["pixel_values"]).pooler_output)
        read = model.text_projection(model.text_model(**tokens).pooler_output)
    encoder, text = load_encoder(EMBEDDED, device="cpu"), load_text_encoder(EMBEDDED, device="cpu")
    parts = encoder.decompose(encoder.pixel_values([Image.fromarray(one) for one in pixels]))
    np.testing.assert_allclose(parts.embedding, seen, rtol=0, atol=1e-5 * float(seen.abs().max()))
    assert float(np.max(np.asarray(parts.error()))) <= 1e-5
    expected = read / read.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(text(["a blurry photo", "a photo of a bus"]), expected, atol=1e-5)
    assert encoder.name == text.name == EMBEDDED


def test_it_is_small_and_never_the_default() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 16e6
    assert inspect.signature(load_encoder).parameters["name"].default == DEFAULT != EMBEDDED


def test_phrases_say_whether_they_can_be_trusted() -> None:
    table = load_text_encoder(EMBEDDED, device="cpu").reliability
    assert table is not None and table["phrase"].is_unique
    trusted = table[table["reliable"]]
    assert (trusted["auc"] >= LEAST).all() and (trusted["low"] > 0.5).all()
    others = table[~table["reliable"]]
    assert ((others["auc"] < LEAST) | (others["low"] <= 0.5) | others["auc"].isna()).all()
    assert {"blurry", "compressed", "noisy", "upscaled", "animal", "vehicle", "food"} <= set(
        trusted["phrase"]
    )


def test_it_names_photographs_it_was_not_trained_on(shared: Path, tmp_path: Path) -> None:
    file = shared / "tiny-imagenet/val.parquet"
    if not file.exists():
        pytest.skip(f"{file} is not there: photographs with names")
    val = read_photographs([file], tmp_path / "val.npy")
    found = zero_shot(MeasuredEncoder(FOLDER), val, MeasuredEncoder(FOLDER).images(val.pixels))
    low, _ = found["interval"]
    assert found["images"] == 2000 and found["classes"] == 200
    assert low > 0.3  # chance is 0.005
