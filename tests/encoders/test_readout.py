"""The parts sum to the whole, in every family; what is stored is enough to rebuild everything else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES, make, run

from interp.encoders.encoder import Encoder
from interp.encoders.readout import Readout
from interp.errors import InputError
from interp.images.preprocess import Preprocessing


def encoder_of(name: str, seed: int = 0) -> Encoder:
    return Encoder(make(name, seed), Preprocessing.clip(32), name=name)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 99), centering=st.sampled_from(["own", "shared"]))
def test_parts_sum_to_the_models_own_embedding(name, seed, centering):
    encoder = encoder_of(name, seed)
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    parts = encoder.decompose(pixels, centering)
    torch.testing.assert_close(parts.embedding, run(encoder.model, pixels))
    assert parts.error().max() <= 1e-5
    layers = 1 if encoder.recorder.parts.family.pooling == "attention" else 4
    assert parts.heads.shape == (4, layers, 3, encoder.width)


def test_every_part_matters(any_model, pixels):
    """No term is near zero, so the sum could not hold with one of them forgotten."""
    encoder = Encoder(any_model, Preprocessing.clip(32), name="tiny")
    parts = encoder.decompose(pixels)
    smallest = 1e-3 * parts.embedding.norm(dim=-1)
    assert (parts.heads.norm(dim=-1).amin((1, 2)) > smallest).all()
    assert encoder.recorder.parts.mlps == () or (parts.mlps.norm(dim=-1).amin(1) > smallest).all()
    pooled = encoder.recorder.parts.family.pooling == "attention"
    assert pooled or (parts.first.norm(dim=-1) > smallest).all()
    assert (parts.bias.norm(dim=-1) > smallest).all()


def test_shared_centering_differs_by_the_mean_alone(pixels):
    encoder = encoder_of("clip-gelu")
    own, shared = encoder.decompose(pixels), encoder.decompose(pixels, "shared")
    direction = encoder.readout.norm_weight @ encoder.readout.projection
    difference = shared.heads - own.heads
    along = (difference @ direction)[..., None] * direction / direction.dot(direction)
    torch.testing.assert_close(difference, along, atol=1e-5, rtol=1e-4)
    assert difference.abs().max() > 1e-3
    with pytest.raises(InputError, match="did you mean 'shared'"):
        encoder.decompose(pixels, "share")


def test_a_head_embedding_is_what_the_embedding_loses_with_that_head(pixels):
    """Against the definition: subtract z·W_O from the final residual, keep the image's LayerNorm statistics."""
    encoder = encoder_of("clip-quick-gelu")
    record, read = encoder.record(pixels), encoder.readout
    token = read.class_tokens(record)[:, -1]
    written = torch.einsum("nd,dm->nm", record.head_values[:, 2, 1], read.output_weight[2, 1])
    without = token - written
    mean = record.norm_mean - written.mean(-1)
    reduced = (
        (without - mean[:, None]) / record.norm_std[:, None] * read.norm_weight + read.norm_bias
    ) @ read.projection
    torch.testing.assert_close(
        record.embedding - encoder.decompose(pixels).heads[:, 2, 1], reduced, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    "name", ["clip-gelu", "clip-without-projection", "vit", "deit", "dinov2", "dinov3-gated", "beit"]
)
def test_class_tokens_equal_the_models_hidden_states(name, pixels):
    encoder = encoder_of(name)
    record = encoder.record(pixels)
    with torch.inference_mode():
        output = encoder.model(pixel_values=pixels, output_hidden_states=True)
    states = torch.stack([state[:, 0] for state in output.hidden_states], dim=1)
    torch.testing.assert_close(encoder.readout.class_tokens(record), states, atol=2e-5, rtol=1e-4)
    final = encoder.recorder.parts.final_norm(states[:, -1])
    torch.testing.assert_close(encoder.readout.next_to_last(record), final, atol=2e-5, rtol=1e-4)


def test_readout_survives_its_file(tmp_path):
    readout = encoder_of("clip-gelu").readout
    readout.save(tmp_path / "readout.safetensors")
    again = Readout.load(tmp_path / "readout.safetensors")
    assert torch.equal(readout.folded, again.folded)
    assert again.layout == readout.layout


@pytest.mark.parametrize(("dtype", "limit"), [("bfloat16", 3e-2), ("float16", 5e-3)])
def test_low_precision_reports_its_distance_to_float32(dtype, limit, pixels):
    encoder = Encoder(make("clip-gelu"), Preprocessing.clip(32), name="tiny", dtype=dtype)
    error = encoder.precision_error(pixels)
    assert (error > 1e-6).all()
    assert error.max() < 3 * limit  # tiny random models are rougher than trained ones


def test_real_weights_sum_within_bound(shared):
    from PIL import Image

    from interp.encoders.loading import load_encoder

    encoder = load_encoder(shared / "models" / "deit-tiny")
    photographs = sorted((shared / "corpus" / "bsds500").rglob("*.jpg"))[:8]
    values = encoder.pixel_values([Image.open(path).convert("RGB") for path in photographs])
    parts = encoder.decompose(values)
    assert parts.heads.shape == (8, 12, 3, 192)
    assert parts.error().max() <= 1e-5
