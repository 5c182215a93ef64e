"""The last block for the class token alone: the same record up to rounding, fewer rows, and where it is not taken."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from torch import nn

from interp.encoders.encoder import LAST_BLOCK, Encoder
from interp.encoders.family import Family
from interp.encoders.last_block import class_token_alone, reads_class_token_alone
from interp.encoders.pruning import pruned
from interp.encoders.recorder import HeadRecord
from interp.encoders.token_recorder import every_token, record_tokens
from interp.images.preprocess import Preprocessing

ALONE = [*tiny_models.CLASS_TOKEN, "timm-token", "timm-unscaled", "open-clip", "torchvision"]
"""Every family that reads its class token; the others keep the plain pass."""


@pytest.fixture(autouse=True)
def no_other_shortcut(monkeypatch):
    monkeypatch.setattr("interp.encoders.encoder.has_linears", lambda *_: False)


def encoder(model: nn.Module, fast: bool = True, **more) -> Encoder:
    return Encoder(model, Preprocessing.clip(32), name="tiny", fast=fast, **more)


def distance(ours: HeadRecord, theirs: HeadRecord) -> float:
    """Largest ‖difference‖ / ‖value‖ of an image, over everything recorded; means are measured in stds."""
    pairs = [(getattr(ours, name), value) for name, value in vars(theirs).items() if name != "norm_mean"]
    relative = [(a - b).reshape(len(a), -1).norm(dim=1) / b.reshape(len(b), -1).norm(dim=1) for a, b in pairs]
    return float(torch.stack([*relative, (ours.norm_mean - theirs.norm_mean).abs() / theirs.norm_std]).max())


@pytest.mark.parametrize("name", tiny_models.FAMILIES)
def test_the_record_is_the_plain_ones_up_to_rounding(name, pixels):
    plain, fast = encoder(tiny_models.make(name), fast=False), encoder(tiny_models.make(name))
    assert fast.shortcuts == ((LAST_BLOCK,) if name in ALONE else ()) and not plain.shortcuts
    ours, theirs = fast.record(pixels), plain.record(pixels)
    if fast.shortcuts:
        assert distance(ours, theirs) <= 1e-6
        assert fast.decompose(pixels).error().max() <= 1e-5
        assert fast.provenance == {**plain.provenance, "pass": LAST_BLOCK}
        assert repr(fast) == repr(plain)[:-1] + f", {LAST_BLOCK})"
    else:
        assert all(torch.equal(getattr(ours, key), value) for key, value in vars(theirs).items())
        assert fast.provenance == plain.provenance and repr(fast) == repr(plain)


@pytest.mark.parametrize("name", ALONE)
def test_only_keys_and_values_of_the_last_block_are_made_for_all_tokens(name, pixels):
    found = encoder(tiny_models.make(name))
    parts, rows = found.recorder.parts, {}

    def count(key):
        return lambda module, args, output: rows.update({key: len(output[0]) if output.ndim == 3 else 0})

    with torch.inference_mode(), class_token_alone(parts):
        handles = [parts.mlps[layer].register_forward_hook(count(("mlp", layer))) for layer in (-1, -2)]
        attention = parts.attentions[-1]
        for key in ("q_proj", "k_proj", "o_proj", "out_proj", "proj"):
            if isinstance(linear := getattr(attention, key, None), nn.Linear):
                handles.append(linear.register_forward_hook(count(key)))
        tiny_models.forward(found.model, pixels)
    for handle in handles:
        handle.remove()
    tokens = rows.pop(("mlp", -2))
    assert tokens >= 16 and rows.pop("k_proj", tokens) == tokens
    assert rows.pop("q_proj", tokens) == tokens  # one row, shown as that of every token
    assert rows and set(rows.values()) == {1}


def test_the_model_is_left_as_it_was_after_use_and_after_an_exception(any_model, pixels):
    found = encoder(any_model)
    before = tiny_models.run(any_model, pixels)
    found.record(pixels)
    with pytest.raises(ZeroDivisionError), class_token_alone(found.recorder.parts):
        raise ZeroDivisionError
    stop = found.recorder.parts.output_projections[-1].register_forward_pre_hook(lambda *_: 1 / 0)
    attention = found.recorder.parts.attentions[-1]
    if not isinstance(attention, nn.MultiheadAttention):
        with pytest.raises(ZeroDivisionError), class_token_alone(found.recorder.parts):
            tiny_models.forward(any_model, pixels)
    stop.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in any_model.modules())
    assert torch.equal(tiny_models.run(any_model, pixels), before)
    query = torch.randn(
        1, 2, 5, 4
    )  # no mode is left behind, which would give every query the first one's row
    rows = nn.functional.scaled_dot_product_attention(query, query, query)
    assert not torch.equal(rows[:, :, 0], rows[:, :, 1])


@pytest.mark.parametrize("name", ["clip-gelu", "dinov3", "timm-token", "open-clip"])
def test_who_listens_to_the_last_block_gets_every_token(name, pixels):
    plain, fast = encoder(tiny_models.make(name), fast=False), encoder(tiny_models.make(name))
    assert fast.shortcuts
    assert torch.equal(every_token(fast, pixels), every_token(plain, pixels))
    assert torch.equal(record_tokens(fast, pixels)[1].weights, record_tokens(plain, pixels)[1].weights)
    for heads in (["L3.H1"], ["L0.H2"]):
        with pruned(fast, heads), pruned(plain, heads):
            assert distance(fast.record(pixels), plain.record(pixels)) <= 1e-6


@pytest.mark.parametrize("name", ["clip-gelu", "vit", "dinov2-registers"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_either_attention_of_transformers(name, attention, pixels):
    model = tiny_models.make(name)
    model.set_attn_implementation(attention)  # type: ignore[operator]
    plain = encoder(model, fast=False).record(pixels)
    fast = encoder(model)
    assert fast.shortcuts and distance(fast.record(pixels), plain) <= 1e-6


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_differs_by_its_own_rounding(dtype, pixels):
    plain = encoder(tiny_models.make("clip-gelu"), fast=False, dtype=dtype)
    fast = encoder(tiny_models.make("clip-gelu"), dtype=dtype)
    assert fast.shortcuts
    ours, theirs = fast.record(pixels).embedding, plain.record(pixels).embedding
    assert (ours - theirs).norm() / theirs.norm() < (3e-2 if dtype == "bfloat16" else 5e-3)


class Mixing(nn.Module):
    """An MLP whose output at the class token depends on every token."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x):
        return self.inner(x - x.mean(1, keepdim=True))


class Cut(nn.Module):
    """An MLP that takes all 17 tokens and no fewer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x):
        return self.inner(x.reshape(-1, 17, 16))


@pytest.mark.parametrize("kind", [Mixing, Cut])
def test_a_model_of_ones_own_whose_tokens_need_each_other_keeps_the_plain_pass(kind, pixels):
    class OwnViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
            self.blocks, self.norm = nn.ModuleList([OwnBlock(), OwnBlock()]), nn.LayerNorm(16)

        def forward(self, pixel_values):
            x = self.patches(pixel_values).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
            for block in self.blocks:
                x = block(x)
            return self.norm(x)[:, 0]

    class OwnBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
            self.norm1, self.norm2, self.mlp = nn.LayerNorm(16), nn.LayerNorm(16), kind()

        def forward(self, x):
            y = self.norm1(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return x + self.mlp(self.norm2(x))

    torch.manual_seed(0)
    own = Family("own", "OwnViT", "OwnBlock", "MultiheadAttention", "out_proj", kind.__name__, "norm")
    found = encoder(OwnViT().eval(), family=own)
    assert reads_class_token_alone(found.recorder.parts) and not found.shortcuts
    assert found.decompose(pixels).error().max() <= 1e-5
