"""What each family's own structure asks for: pooling rules, layer scale, masks, sizes, models written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES, PIXELS, SHAPE, make, run
from torch import nn
from written_vits import MeanOfNormed, TimmVisionTransformer

from interp.encoders.encoder import Encoder
from interp.encoders.families import Family, family
from interp.encoders.family import find_parts
from interp.encoders.multihead import head_values
from interp.encoders.readout import Readout
from interp.encoders.recorder import HeadRecorder
from interp.errors import InputError
from interp.images.preprocess import Preprocessing

MEAN_OF_NORMED = Family(
    "own",
    tower="MeanOfNormed",
    block="ResidualAttentionBlock",
    attention="MultiheadAttention",
    output_projection="out_proj",
    mlp="Sequential",
    final_norm="norm",
    projection="to_joint",
    attention_scale="ls_1",
    mlp_scale="ls_2",
    pooling="mean",
)


def encoder_of(model: nn.Module, family: Family | None = None) -> Encoder:
    return Encoder(model, Preprocessing.clip(32), name="tiny", family=family)


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def test_a_users_mean_behind_an_rms_norm_sums_and_has_no_centring(pixels):
    encoder = encoder_of(perturbed(MeanOfNormed()), MEAN_OF_NORMED)
    parts = encoder.decompose(pixels)
    torch.testing.assert_close(parts.embedding, encoder.model(pixels))
    assert parts.error().max() <= 1e-5
    assert not encoder.readout.centred
    assert torch.equal(parts.heads, encoder.decompose(pixels, "shared").heads)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_mean_of_normed_tokens_is_what_its_formula_says(seed):
    """Against every token on its own: Σ_t z_t W_O γ P centred / (T std_t) is what the pooled values give."""
    model, pixels = make("ijepa", seed), torch.randn(2, 3, 32, 32)
    parts = find_parts(model)
    seen: dict[str, torch.Tensor] = {}
    z = parts.output_projections[2].register_forward_pre_hook(lambda _m, args: seen.update(z=args[0]))
    x = parts.final_norm.register_forward_pre_hook(lambda _m, args: seen.update(x=args[0]))
    encoder = encoder_of(model)
    decomposed = encoder.decompose(pixels)
    z.remove(), x.remove()
    std = (seen["x"].var(-1, correction=0) + parts.final_norm.eps).sqrt()
    folded = encoder.readout.folded[2, 1]
    each = seen["z"].unflatten(-1, (3, 16))[:, :, 1] @ folded / std[..., None]
    torch.testing.assert_close(decomposed.heads[:, 2, 1], each.mean(1), rtol=1e-4, atol=1e-5)
    record = encoder.record(pixels)
    torch.testing.assert_close(1 / record.norm_std, (1 / std).mean(1))
    assert (
        encoder.recorder.held == 16 * 4 * (1 + 2 * 4) * 48
    )  # tokens · bytes · (first, z and MLP of 4 layers) · D


@pytest.mark.parametrize("name", ["dinov2", "dinov3", "dinov2-registers"])
def test_a_known_family_with_the_mean_of_its_patches(name, pixels):
    model = make(name)
    prefix = 1 if name == "dinov2" else 3
    pooled = replace(find_parts(model).family, pooling="mean", prefix_tokens=prefix)
    parts = encoder_of(model, pooled).decompose(pixels)
    expected = model(pixel_values=pixels).last_hidden_state[:, prefix:].mean(1)
    torch.testing.assert_close(parts.embedding, expected, rtol=1e-4, atol=1e-5)
    assert parts.error().max() <= 1e-5
    with pytest.raises(InputError, match="did you mean 'mean'"):
        replace(pooled, pooling="means")


def test_layer_scale_of_one_head_is_folded_into_its_weights():
    model = make("dinov2")
    plain = Readout.of(find_parts(model))
    with torch.no_grad():
        for block in find_parts(model).blocks:
            block.layer_scale1.lambda1.mul_(3)
    scaled = Readout.of(find_parts(model))
    torch.testing.assert_close(scaled.folded, 3 * plain.folded)
    torch.testing.assert_close(scaled.output_bias, 3 * plain.output_bias)


def test_attention_pooling_is_the_sum_of_its_heads_their_bias_and_its_mlp(pixels):
    """Written out from SigLIP's definition: z W_O + b + MLP(LN(z W_O + b)), with nothing behind it."""
    model = make("siglip")
    encoder = encoder_of(model)
    record, head = encoder.record(pixels), model.head
    z = record.head_values.flatten(1)
    attended = head.attention.out_proj(z)
    torch.testing.assert_close(attended + head.mlp(head.layernorm(attended)), run(model, pixels))
    assert not record.first.any() and (record.norm_std == 1).all() and not encoder.readout.centred
    torch.testing.assert_close(encoder.readout.next_to_last(record), record.embedding)


def siglip2(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Three images of different shapes as padded patches."""
    shapes = torch.tensor([[4, 4], [2, 5], [3, 3]])
    mask = torch.arange(16)[None] < shapes.prod(1)[:, None]
    patches = pixels[:3].unfold(2, 8, 8).unfold(3, 8, 8).flatten(2, 3).permute(0, 2, 3, 4, 1).flatten(2)
    return {"pixel_values": patches, "pixel_attention_mask": mask.long(), "spatial_shapes": shapes}


def test_siglip2_of_any_shape_is_recorded_with_its_masks_but_no_encoder_can_feed_it(pixels):
    config = transformers.Siglip2VisionConfig(**SHAPE, patch_size=8, num_patches=16)
    model = perturbed(transformers.Siglip2VisionModel(config))
    with torch.inference_mode(), HeadRecorder(model) as recorder:
        output = model(**siglip2(pixels)).pooler_output
        record = recorder.take()
    assert torch.equal(record.embedding, output)
    assert Readout.of(recorder.parts).decompose(record).error().max() <= 1e-5
    with pytest.raises(InputError, match=r"takes pixel_attention_mask, spatial_shapes besides.*HeadRecorder"):
        encoder_of(model).record(pixels)


@settings(max_examples=40, deadline=None)
@given(
    batch_first=st.booleans(),
    own_widths=st.booleans(),
    bias=st.booleans(),
    mask=st.sampled_from(["none", "float", "bool", "each head"]),
    padded=st.booleans(),
    start=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_recomputed_heads_give_torchs_own_output(batch_first, own_widths, bias, mask, padded, start, seed):
    torch.manual_seed(seed)
    widths = {"kdim": 6, "vdim": 10} if own_widths else {}
    attention = perturbed(nn.MultiheadAttention(12, 3, bias=bias, batch_first=batch_first, **widths), seed)
    query, key, value = torch.randn(2, 4, 12), torch.randn(2, 5, 6), torch.randn(2, 5, 10)
    if not own_widths:
        key, value = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    masks = {"none": None, "float": torch.randn(4, 5), "each head": torch.randn(6, 4, 5)}
    masks["bool"] = torch.zeros(4, 5, dtype=torch.bool).index_fill_(1, torch.tensor([1, 3]), True)
    call = {"attn_mask": masks[mask], "need_weights": False}
    if padded:
        ignored = torch.tensor([[False] * 4 + [True], [False] * 5])
        call["key_padding_mask"] = ignored if mask == "bool" else torch.zeros(2, 5).masked_fill(ignored, -1e9)
    tokens = [query, key, value] if batch_first else [t.transpose(0, 1) for t in (query, key, value)]
    with torch.inference_mode():
        theirs = attention(*tokens, **call)[0]
        ours = attention.out_proj(head_values(attention, tokens, call, slice(start, None)))
    theirs = theirs if batch_first else theirs.transpose(0, 1)
    torch.testing.assert_close(ours, theirs[:, start:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("side", "name"), [(40, "CLIPVisionModelWithProjection"), (56, "Dinov2Model")])
def test_other_image_sizes(side, name):
    kind = getattr(transformers, name)
    model = perturbed(kind(kind.config_class(**{**SHAPE, **PIXELS, "image_size": side})))
    encoder = Encoder(model, Preprocessing.clip(side), name="tiny")
    assert encoder.decompose(torch.randn(2, 3, side, side)).error().max() <= 1e-5


@pytest.mark.parametrize("name", ["ijepa", "siglip", "timm-mean-then-norm", "dinov3", "aimv2"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_stays_near(name, dtype, pixels):
    encoder = Encoder(make(name), Preprocessing.clip(32), name=name, dtype=dtype)
    error = encoder.precision_error(pixels)
    assert (error > 1e-6).all() and error.max() < 0.1  # random weights are rougher than trained ones
    assert encoder.decompose(pixels).error().max() < 0.1


def test_every_family_names_itself_and_its_pooling(pixels):
    for name in FAMILIES:
        encoder = encoder_of(make(name))
        pooling = encoder.recorder.parts.family.pooling
        assert f"{encoder.family}{'' if pooling == 'class' else f' pooled by {pooling}'}, " in repr(encoder)
        assert encoder.provenance["encoder"].get("pooling", "class") == pooling
    assert family("siglip").pooling == "attention"
    with pytest.raises(InputError, match="did you mean 'dinov2'"):
        family("dino2")


def test_readout_keeps_whether_it_centres_and_reads_files_without_that(tmp_path):
    from safetensors.torch import load_file, save_file

    for name, centred in [("siglip", False), ("ijepa", True)]:
        readout = encoder_of(make(name)).readout
        readout.save(tmp_path / "readout.safetensors")
        again = Readout.load(tmp_path / "readout.safetensors")
        assert again.centred is centred and torch.equal(again.folded, readout.folded)
    tensors = load_file(tmp_path / "readout.safetensors")
    del tensors["centred"]
    save_file(tensors, tmp_path / "old.safetensors")
    assert Readout.load(tmp_path / "old.safetensors").centred is True


def test_a_projection_behind_timms_own_head(pixels):
    model = TimmVisionTransformer("avg")
    model.head = nn.Linear(48, 20)
    joint = replace(find_parts(model).family, projection="head")
    parts = encoder_of(perturbed(model), joint).decompose(pixels)
    torch.testing.assert_close(parts.embedding, model(pixels))
    assert parts.error().max() <= 1e-5
