"""Source tokens: weights are the model's own, values stand where their patches stand, and nothing is changed."""

from __future__ import annotations

import pytest
import torch
from tiny_models import FAMILIES, make
from torch import nn

from interp.encoders.encoder import Encoder
from interp.encoders.token_recorder import every_token, record_tokens
from interp.errors import InputError
from interp.images.preprocess import Preprocessing


def encoder_of(name: str) -> Encoder:
    return Encoder(make(name), Preprocessing.clip(32), name=name)


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("name", ["clip-gelu", "deit", "dinov2-registers", "dinov3", "beit", "vit"])
def test_weights_are_those_of_the_models_own_eager_attention(name, pixels):
    encoder = encoder_of(name)
    _, tokens = record_tokens(encoder, pixels)
    encoder.model.set_attn_implementation("eager")  # type: ignore[operator]
    with torch.inference_mode():
        given = encoder.model(pixel_values=pixels, output_attentions=True).attentions
    torch.testing.assert_close(tokens.weights, torch.stack(given, 1)[:, :, :, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_weights_sum_to_one_and_with_values_to_the_head_values_of_an_unchanged_pass(name, pixels):
    encoder = encoder_of(name)
    plain = encoder.record(pixels)
    record, tokens = record_tokens(encoder, pixels)
    assert torch.equal(plain.embedding, record.embedding)
    assert hooks(encoder.model) == 0
    torch.testing.assert_close(tokens.weights.sum(-1), torch.ones(tokens.weights.shape[:-1]))
    distance = (tokens.head_values() - record.head_values).norm() / record.head_values.norm()
    assert distance < 2e-6
    assert tokens.grid == (4, 4)


@pytest.mark.parametrize(
    ("name", "prefix"), [("vit", 1), ("deit", 2), ("dinov3", 3), ("ijepa", 0), ("torchvision", 1)]
)
def test_a_change_of_one_patch_changes_the_first_layers_value_of_its_token_alone(name, prefix, pixels):
    encoder, changed = encoder_of(name), pixels[:1].clone()
    changed[:, :, 8:16, 24:32] += 1  # patch of row 1, column 3
    before, after = (record_tokens(encoder, p)[1] for p in (pixels[:1], changed))
    assert before.prefix == prefix
    moved = (after.values - before.values)[0, 0].abs().amax((0, 2))
    assert torch.nonzero(moved > 1e-5).flatten().tolist() == [prefix + 1 * 4 + 3]


@pytest.mark.parametrize("name", ["vit", "clip-gelu", "open-clip", "aimv2", "siglip"])
def test_every_tokens_values_begin_with_those_of_the_token_that_is_recorded(name, pixels):
    encoder = encoder_of(name)
    z = every_token(encoder, pixels)
    torch.testing.assert_close(z[:, :, :, 0], encoder.record(pixels).head_values, rtol=1e-4, atol=1e-5)
    assert hooks(encoder.model) == 0


def test_attention_that_is_not_seen_is_refused_with_what_to_do_and_no_hook_stays(pixels):
    encoder = encoder_of("vit")
    encoder.model.set_attn_implementation("eager")  # type: ignore[operator]
    with pytest.raises(InputError, match="attn_implementation='sdpa'"):
        record_tokens(encoder, pixels)
    assert hooks(encoder.model) == 0


def test_attention_that_does_more_than_weigh_values_is_refused(pixels):
    encoder = encoder_of("vit")
    late = encoder.recorder.parts.output_projections[2]
    late.register_forward_pre_hook(lambda _, args: (args[0] * 1.01,))
    with pytest.raises(InputError, match="more than weigh values"):
        record_tokens(encoder, pixels)
