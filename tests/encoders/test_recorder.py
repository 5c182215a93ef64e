"""The hooks: they change nothing, they see everything, they always leave."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from torch import nn

from interp.encoders.family import Family, find_parts
from interp.encoders.recorder import HeadRecorder
from interp.errors import InputError


def forward(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    output = tiny_models.forward(model, pixels)
    return output if isinstance(output, torch.Tensor) else output[0]


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_output_is_bit_identical_under_the_hooks(any_model, pixels):
    with torch.inference_mode():
        plain = forward(any_model, pixels)
        with HeadRecorder(any_model):
            hooked = forward(any_model, pixels)
    assert torch.equal(plain, hooked)


def test_hooks_leave_after_use_and_after_an_exception(any_model, pixels):
    with pytest.raises(ZeroDivisionError), HeadRecorder(any_model):
        assert hooks(any_model) > 0
        raise ZeroDivisionError
    assert hooks(any_model) == 0
    with pytest.raises((RuntimeError, ValueError)), HeadRecorder(any_model):
        forward(any_model, pixels[:, :2])
    assert hooks(any_model) == 0


def test_several_passes_are_taken_in_order(any_model, pixels):
    with torch.inference_mode(), HeadRecorder(any_model) as recorder:
        forward(any_model, pixels[:2])
        forward(any_model, pixels[2:])
        together = recorder.take()
        forward(any_model, pixels[:2])
        first = recorder.take()
    assert len(together) == 5
    torch.testing.assert_close(together.head_values[:2], first.head_values)
    torch.testing.assert_close(together.embedding[:2], first.embedding)


def test_a_pass_cut_off_half_way_is_not_taken(any_model, pixels):
    with torch.inference_mode(), HeadRecorder(any_model) as recorder:
        with pytest.raises(InputError, match="run the model"):
            recorder.take()
        boom = recorder.parts.embeds.register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forward(any_model, pixels)
        boom.remove()
        with pytest.raises(InputError, match="nothing complete"):
            recorder.take()
        forward(any_model, pixels)
        assert len(recorder.take()) == 5


def test_record_does_not_keep_the_whole_token_tensors_alive(any_model, pixels):
    with torch.inference_mode(), HeadRecorder(any_model) as recorder:
        forward(any_model, pixels[:1])
        held = [t for tensors in recorder._caught.values() for t in tensors]
    assert all(t.untyped_storage().nbytes() == t.numel() * t.element_size() for t in held)


def test_a_model_without_a_tower_is_refused_with_what_to_do():
    with pytest.raises(InputError, match=r"no vision tower.*CLIPVisionModel.*Family"):
        HeadRecorder(nn.Linear(3, 3))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.attention, self.mlp = Attention(), MLP()

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    num_heads = 4

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, 4)).permute(2, 0, 3, 1, 4)
        return self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))


class MLP(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.blocks, self.norm = nn.ModuleList([Block(), Block()]), nn.LayerNorm(16)

    def forward(self, pixel_values):
        patches = self.patches(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(patches), -1, -1), patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


def test_a_users_own_model_is_recorded_through_one_family_description(pixels):
    from interp.encoders.encoder import Encoder
    from interp.images.preprocess import Preprocessing

    torch.manual_seed(0)
    model = Tower().eval()
    family = Family("own", "Tower", "Block", "Attention", "proj", "MLP", "norm")
    expected = model(pixels).detach()
    encoder = Encoder(model, Preprocessing.clip(32), name="own", family=family)
    parts = encoder.decompose(pixels)
    torch.testing.assert_close(parts.embedding, expected)
    assert parts.error().max() < 1e-5
    with pytest.raises(InputError, match="no attribute 'projection'"):
        find_parts(model, Family("own", "Tower", "Block", "Attention", "projection", "MLP", "norm"))
