"""Pruning in the forward pass: what zero columns of W_O do, with hooks that always leave."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import make
from torch import nn

from interp.encoders.encoder import Encoder
from interp.encoders.family import find_parts
from interp.encoders.pruning import pruned
from interp.errors import InputError
from interp.images.preprocess import Preprocessing

SOME = ["L0.H1", "L2.H0", "L2.H2", "L3.H1"]


def forward(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    output = getattr(model, "get_image_features", model)(pixel_values=pixels)
    return output if isinstance(output, torch.Tensor) else output[0]


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def encoder_of(model: nn.Module) -> Encoder:
    return Encoder(model, Preprocessing.clip(32), name="tiny")


def test_pruning_is_what_zero_columns_of_the_output_projection_do(model, pixels):
    cut = copy.deepcopy(model)
    parts = find_parts(cut)
    with torch.no_grad():
        for name in SOME:
            layer, head = int(name[1]), int(name[-1])
            weight = parts.output_projections[layer].weight
            weight[:, head * parts.width : (head + 1) * parts.width] = 0
    with torch.inference_mode(), pruned(model, SOME):
        found = forward(model, pixels)
    with torch.inference_mode():
        torch.testing.assert_close(found, forward(cut, pixels), rtol=1e-4, atol=1e-5)


def test_without_all_heads_of_a_layer_its_attention_gives_its_bias(model, pixels):
    parts = find_parts(model)
    seen: list[torch.Tensor] = []
    listening = parts.output_projections[1].register_forward_hook(lambda _m, _a, out: seen.append(out))
    with torch.inference_mode(), pruned(model, [f"L1.H{h}" for h in range(parts.heads)]):
        forward(model, pixels)
    listening.remove()
    bias = parts.output_projections[1].bias
    torch.testing.assert_close(seen[0], bias.expand_as(seen[0]))


def test_hooks_leave_also_after_an_exception_and_the_model_is_as_before(model, pixels):
    with torch.inference_mode():
        before = forward(model, pixels)
        with pytest.raises(ZeroDivisionError), pruned(model, SOME):
            assert hooks(model) == 3
            assert not torch.allclose(forward(model, pixels), before)
            raise ZeroDivisionError
        assert hooks(model) == 0
        assert torch.equal(forward(model, pixels), before)


def test_the_parts_of_a_pruned_pass_sum_to_the_pruned_embedding(model, pixels):
    encoder = encoder_of(model)
    with pruned(encoder, SOME):
        parts = encoder.decompose(pixels)
    assert parts.error().max() < 1e-5
    for name in SOME:
        assert not parts.heads[:, int(name[1]), int(name[-1])].any()


def test_a_head_of_the_last_layer_acts_through_its_mlp_and_the_final_norm_alone(model, pixels):
    """(pruned - constant) · std' = (embedding without the head - constant) · std + (MLP' - MLP) carried outward."""
    encoder, head = encoder_of(model), 1
    readout = encoder.readout
    plain = encoder.record(pixels)
    with pruned(encoder, [f"L3.H{head}"]):
        cut = encoder.record(pixels)
    torch.testing.assert_close(cut.head_values[:, :3], plain.head_values[:, :3])
    stored = plain.embedding - readout.decompose(plain).heads[:, 3, head]
    constant = readout.norm_bias @ readout.projection + readout.projection_bias
    mlp = (cut.mlp_values - plain.mlp_values)[:, 3] @ readout.outward
    expected = constant + ((stored - constant) * plain.norm_std[:, None] + mlp) / cut.norm_std[:, None]
    torch.testing.assert_close(cut.embedding, expected, rtol=1e-4, atol=1e-4)
    assert (cut.embedding - stored).abs().max() > 1e-3


def test_a_heads_own_values_put_back_change_nothing(model, pixels):
    parts, one = find_parts(model), pixels[:1]
    seen: list[torch.Tensor] = []

    def keep(_module, args, kwargs):
        seen.append(args[0] if args else next(iter(kwargs.values())))

    listening = parts.output_projections[2].register_forward_pre_hook(keep, with_kwargs=True)
    with torch.inference_mode():
        plain = forward(model, one)
    listening.remove()
    z = seen[0][0].unflatten(-1, (parts.heads, parts.width))  # (tokens, h, d)
    with torch.inference_mode(), pruned(model, ["L2.H2", "L2.H0"], values=z[:, [2, 0]].transpose(0, 1)):
        torch.testing.assert_close(forward(model, one), plain)


def test_values_of_two_axes_stand_for_every_token(pixels):
    model = make("vit")
    mean = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        with pruned(model, ["L1.H0"], values=mean):
            short = forward(model, pixels)
        with pruned(model, ["L1.H0"], values=mean[:, None].expand(1, 17, 16)):
            long = forward(model, pixels)
        with pruned(model, ["L1.H0"]):
            zero = forward(model, pixels)
    torch.testing.assert_close(short, long)
    assert not torch.allclose(short, zero)


@pytest.mark.parametrize(
    ("heads", "values", "message"),
    [
        (["L9.H0"], None, "unknown head"),
        (["L1.H0", 3], None, "pruned once"),
        (["L1.H0"], torch.zeros(2, 16), r"\(1, 16\)"),
        (["L1.H0"], torch.zeros(16), r"\(1, 16\)"),
    ],
)
def test_what_cannot_be_pruned_is_refused_and_leaves_no_hook(heads, values, message):
    model = make("deit")
    with pytest.raises(InputError, match=message), pruned(model, heads, values=values):
        pass
    assert hooks(model) == 0
