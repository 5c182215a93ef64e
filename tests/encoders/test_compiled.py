"""The compiled pass: near the plain one, never deaf to hooks, and left out where it cannot be had."""

from __future__ import annotations

import pickle
import shutil

import pytest
import tiny_models
import torch

from interp.encoders.encoder import COMPILED, LAST_BLOCK, Encoder, _distance
from interp.encoders.pruning import pruned
from interp.images.preprocess import Preprocessing


def encoder(**more) -> Encoder:
    return Encoder(tiny_models.make("vit"), Preprocessing.clip(32), name="tiny", **more)


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++"
)
def test_the_machines_own_code_is_near_the_plain_pass(pixels):
    found = encoder(fast=True, compile=True)
    assert found.shortcuts == (LAST_BLOCK, COMPILED) and found.provenance["pass"].endswith(COMPILED)
    assert _distance(found.record(pixels), encoder().record(pixels)) <= 5e-6
    assert found.decompose(pixels).error().max() <= 1e-5


def test_the_traced_pass_records_each_batch_and_hears_who_prunes(monkeypatch, pixels):
    """Traced as for compiling, run by torch: what the graph holds, without waiting for a compiler."""
    made = torch.compile
    monkeypatch.setattr(torch, "compile", lambda look, mode: made(look, backend="eager"))
    plain, found = encoder(), encoder(fast=True, compile=True)
    assert COMPILED in found.shortcuts
    for batch in (pixels, pixels.flip(0), pixels[:2]):
        assert _distance(found.record(batch), plain.record(batch)) <= 1e-6
    copied = pickle.loads(pickle.dumps(found))
    assert _distance(copied.record(pixels), plain.record(pixels)) <= 1e-6
    with pruned(found, ["L0.H1", "L3.H2"]), pruned(plain, ["L0.H1", "L3.H2"]):
        without = found.record(pixels)
        assert _distance(without, plain.record(pixels)) <= 1e-6
    assert _distance(without, plain.record(pixels)) > 1e-3
    assert _distance(found.record(pixels), plain.record(pixels)) <= 1e-6


def test_without_a_compiler_the_pass_is_the_plain_one(monkeypatch, pixels):
    def none(*_):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda look, mode: none)
    found = encoder(compile=True)
    assert found.shortcuts == () and found.provenance == encoder().provenance
    assert torch.equal(found.record(pixels).embedding, encoder().record(pixels).embedding)
