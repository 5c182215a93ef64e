"""Pruning in the forward pass: what zero columns of W_O do, with hooks that always leave."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import make, run
from torch import nn

from interp.encoders.encoder import Encoder
from interp.encoders.family import Parts, find_parts
from interp.encoders.pruning import pruned
from interp.errors import InputError
from interp.images.preprocess import Preprocessing

LAYER_NORM_BEHIND_A_CLASS_TOKEN = ["clip-gelu", "clip-without-projection", "vit", "vit-no-qkv-bias", "deit"]


def some_heads(parts: Parts) -> list[tuple[int, int]]:
    """A head of the first layer, and the first and last one of the last layer."""
    last = len(parts.blocks) - 1
    return list(dict.fromkeys([(0, 1), (last, 0), (last, parts.heads - 1)]))


def names(heads: list[tuple[int, int]]) -> list[str]:
    return [f"L{layer}.H{head}" for layer, head in heads]


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def encoder_of(model: nn.Module) -> Encoder:
    return Encoder(model, Preprocessing.clip(32), name="tiny")


def test_pruning_is_what_zero_columns_of_the_output_projection_do(model, pixels):
    cut = copy.deepcopy(model)
    parts = find_parts(cut)
    with torch.no_grad():
        for layer, head in some_heads(parts):
            weight = parts.output_projections[layer].weight
            weight[:, head * parts.width : (head + 1) * parts.width] = 0
    with pruned(model, names(some_heads(parts))):
        found = run(model, pixels)
    scale = run(model, pixels).abs().max()
    torch.testing.assert_close(found, run(cut, pixels), rtol=0, atol=2e-5 * float(scale))
    assert (found - run(model, pixels)).abs().max() > 1e-3 * scale


def test_without_all_heads_of_a_layer_its_attention_gives_its_bias(model, pixels):
    parts = find_parts(model)
    output, attention = parts.output_projections[-1], parts.attentions[-1]
    seen: list[torch.Tensor] = []

    def keep(_module, _args, given):
        seen.append((given[0] if isinstance(given, tuple) else given).clone())

    last = len(parts.blocks) - 1
    with pruned(model, [f"L{last}.H{h}" for h in range(parts.heads)]):
        heard = attention if isinstance(attention, nn.MultiheadAttention) else output
        listening = heard.register_forward_hook(keep)
        run(model, pixels)
    listening.remove()
    bias = torch.zeros(output.out_features) if output.bias is None else output.bias
    torch.testing.assert_close(seen[0], bias.expand_as(seen[0]), rtol=0, atol=1e-4)


def test_hooks_leave_also_after_an_exception_and_the_model_is_as_before(model, pixels):
    before = run(model, pixels)
    chosen = some_heads(find_parts(model))
    with pytest.raises(ZeroDivisionError), pruned(model, names(chosen)):
        assert hooks(model) == len({layer for layer, _ in chosen})
        assert not torch.equal(run(model, pixels), before)
        raise ZeroDivisionError
    assert hooks(model) == 0
    assert torch.equal(run(model, pixels), before)


def test_the_parts_of_a_pruned_pass_sum_to_the_pruned_embedding(model, pixels):
    encoder = encoder_of(model)
    found = encoder.recorder.parts
    if isinstance(found.attentions[0], nn.MultiheadAttention):
        pytest.skip(
            "a MultiheadAttention is corrected behind the projection; the recorder sees what is before it"
        )
    with pruned(encoder, names(some_heads(found))):
        parts = encoder.decompose(pixels)
    assert parts.error().max() < 2e-5
    for layer, head in some_heads(found):
        assert not parts.heads[:, layer, head].any()


@pytest.mark.parametrize("family", LAYER_NORM_BEHIND_A_CLASS_TOKEN)
def test_a_head_of_the_last_layer_acts_through_its_mlp_and_the_final_norm_alone(family, pixels):
    """(pruned - constant) · std' = (embedding without the head - constant) · std + (MLP' - MLP) carried outward."""
    encoder, head = encoder_of(make(family)), 1
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


@pytest.mark.parametrize("family", ["vit", "clip-gelu", "torchvision", "open-clip"])
def test_a_heads_own_values_put_back_change_nothing(family, pixels):
    from interp.encoders.multihead import head_values

    model, one = make(family), pixels[:1]
    parts = find_parts(model)
    seen: list[torch.Tensor] = []

    def keep(module, args, kwargs):
        if isinstance(module, nn.MultiheadAttention):
            seen.append(head_values(module, args, kwargs, slice(None)))
        else:
            seen.append(args[0])

    fused = isinstance(parts.attentions[1], nn.MultiheadAttention)
    heard = parts.attentions[1] if fused else parts.output_projections[1]
    listening = heard.register_forward_pre_hook(keep, with_kwargs=True)
    plain = run(model, one)
    listening.remove()
    z = seen[0][0].unflatten(-1, (parts.heads, parts.width))  # (tokens, h, d)
    with pruned(model, ["L1.H2", "L1.H0"], values=z[:, [2, 0]].transpose(0, 1)):
        torch.testing.assert_close(run(model, one), plain, rtol=1e-4, atol=1e-4)


def test_values_of_two_axes_stand_for_every_token(pixels):
    model = make("vit")
    mean = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    with pruned(model, ["L1.H0"], values=mean):
        short = run(model, pixels)
    with pruned(model, ["L1.H0"], values=mean[:, None].expand(1, 17, 16)):
        long = run(model, pixels)
    with pruned(model, ["L1.H0"]):
        zero = run(model, pixels)
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
