"""Linear layers by oneDNN: the same values up to rounding, in float32 on the CPU and nowhere else."""

from __future__ import annotations

import pickle

import pytest
import tiny_models
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from interp.encoders.encoder import LAST_BLOCK, LINEARS, Encoder, _distance
from interp.encoders.onednn import LinearsByOneDNN, has_linears
from interp.encoders.recorder import HeadRecorder
from interp.images.preprocess import Preprocessing

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(
    not has_linears(CPU, torch.float32), reason="this torch or processor has no linear layers of oneDNN"
)


def encoder(name: str, **more) -> Encoder:
    return Encoder(tiny_models.make(name), Preprocessing.clip(32), name="tiny", **more)


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    widths=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    bias=st.booleans(),
    strided=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_linear_layer_is_near_its_exact_value(shape, widths, bias, strided, seed):
    torch.manual_seed(seed)
    layer, x = torch.nn.Linear(*widths, bias=bias), torch.randn(*shape, 2 * widths[0])
    x = x[..., ::2] if strided else x[..., : widths[0]]
    with torch.inference_mode(), LinearsByOneDNN():
        found = layer(x)
    exact = F.linear(x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_other_precisions_gradients_and_empty_batches_are_torchs_own():
    layer = torch.nn.Linear(8, 4)
    with LinearsByOneDNN():
        assert layer(torch.randn(2, 8)).requires_grad
        with torch.inference_mode():
            assert layer(torch.zeros(0, 8)).shape == (0, 4)
            for dtype in (torch.float64, torch.bfloat16):
                x = torch.randn(2, 8, dtype=dtype)
                expected = torch.mm(x, layer.weight.to(dtype).T)
                assert torch.equal(F.linear(x, layer.weight.to(dtype)), expected)
    assert not has_linears(CPU, torch.bfloat16) and not has_linears(torch.device("meta"), torch.float32)


@pytest.mark.parametrize("name", tiny_models.FAMILIES)
def test_every_family_is_as_near_to_float64_as_the_plain_pass(name, pixels):
    plain, fast = encoder(name), encoder(name, fast=True)
    if (
        name != "clip-wide-heads"
    ):  # so rough that even the plain pass is 8e-6 from float64: the trial keeps it plain
        assert LINEARS in fast.shortcuts and fast.provenance["pass"].endswith(LINEARS)
    with torch.inference_mode(), HeadRecorder(model := tiny_models.make(name).double()) as recorder:
        tiny_models.forward(model, pixels.double())
        exact = recorder.take()
    ours, theirs = (_distance(found.record(pixels), exact) for found in (fast, plain))
    assert ours <= 3 * theirs + 1e-7
    assert fast.decompose(pixels).error().max() <= 1e-5
    assert torch.equal(tiny_models.run(fast.model, pixels), tiny_models.run(plain.model, pixels))


def test_the_trial_on_random_images_keeps_a_wrong_shortcut_out(monkeypatch, pixels):
    right = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *call: right(*call) * 1.0001)
    fast = encoder("vit", fast=True)
    assert fast.shortcuts == (LAST_BLOCK,)
    assert _distance(fast.record(pixels), encoder("vit").record(pixels)) <= 1e-6


def test_another_device_drops_the_shortcut_that_it_does_not_have():
    """As where an encoder made on a CPU is sent to actors with GPUs; the meta device stands for one."""
    fast = encoder("clip-gelu", fast=True)
    sent = pickle.loads(pickle.dumps(fast.for_processes()))
    assert sent.shortcuts == fast.shortcuts == (LAST_BLOCK, LINEARS)
    assert sent.to("cpu").shortcuts == fast.shortcuts and sent.provenance == fast.provenance
    assert sent.to("meta").shortcuts == (LAST_BLOCK,) and sent.provenance["pass"] == LAST_BLOCK
    assert sent.record(torch.empty(2, 3, 32, 32)).embedding.device.type == "meta"
    assert fast.shortcuts == (LAST_BLOCK, LINEARS) and fast.device.type == "cpu"


def test_what_is_sent_gives_the_same_bits_and_leaves_the_float32_model_behind(pixels):
    low = encoder("clip-gelu", dtype="bfloat16")
    sent = pickle.loads(pickle.dumps(low.for_processes()))
    assert torch.equal(sent.record(pixels).head_values, low.record(pixels).head_values)
    assert low.precision_error(pixels).max() > 0 and sent.precision_error(pixels).max() == 0


def test_an_image_alone_has_the_bits_it_has_in_a_batch_of_the_same_length(pixels):
    """What `extract` builds on: rows of one pass do not read each other."""
    fast = encoder("clip-gelu", fast=True)
    others = torch.cat([pixels[:1], torch.randn(4, 3, 32, 32)])
    assert torch.equal(fast.record(pixels).head_values[0], fast.record(others).head_values[0])
