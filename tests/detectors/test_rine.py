"""RINE trained here: its importance, its loss, its two readings, and the released form of its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import make

from interp.detectors.rine import Rine, in_training, second_norm_weights, supervised_contrast
from interp.detectors.rine_head import RineHead, second_norms
from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.images.preprocess import Preprocessing
from interp.protocol.metrics import auc

LAYERS, D = 4, 6
rng = np.random.default_rng(0)
Y = np.arange(160) % 2
X = rng.normal(size=(160, LAYERS * D))
X[:, 2 * D] += 4 * Y  # the third block sees fakes


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("as_published", ["code", "paper"])
def test_a_one_hot_importance_is_the_network_on_that_layer_alone(layer, as_published):
    fitted = Rine(LAYERS, as_published, hidden=8, depth=2, steps=20).fit(X, Y)
    weights = {**fitted.weights_, "alpha": np.zeros_like(fitted.weights_["alpha"])}
    weights["alpha"][0, layer] = 1e4
    fitted.weights_ = weights
    alone = Rine(1, as_published, hidden=8, depth=2, steps=1).fit(X[:, :D], Y)
    alone.weights_ = {**weights, "alpha": weights["alpha"][:, :1]}
    given = X[:, layer * D : (layer + 1) * D]
    difference = fitted.decision_function(X) - alone.decision_function(given)
    assert np.abs(difference).max() <= 1e-6
    assert np.ptp(alone.decision_function(given)) > 1e-3


def test_it_learns_which_block_sees_fakes_and_both_losses_matter():
    fitted = Rine(LAYERS, hidden=64, depth=1, steps=200).fit(X[:100], Y[:100])
    assert auc(Y[100:], fitted.decision_function(X[100:])) > 0.85
    np.testing.assert_allclose(fitted.importance_.sum(0), 1, rtol=1e-5)
    gain = [fitted.importance_.mean(1)[layer] for layer in range(LAYERS)]
    start = Rine(LAYERS, hidden=64, depth=1, steps=1).fit(X[:100], Y[:100]).importance_.mean(1)
    assert np.argmax(gain - start) == 2
    plain = Rine(LAYERS, hidden=64, depth=1, steps=20, contrast=0.0).fit(X, Y)
    contrasted = Rine(LAYERS, hidden=64, depth=1, steps=20, contrast=5.0).fit(X, Y)
    assert not np.allclose(plain.decision_function(X), contrasted.decision_function(X))


def test_one_seed_gives_one_network_whatever_was_drawn_before():
    first = Rine(LAYERS, hidden=8, steps=5, random_state=3).fit(X, Y)
    torch.rand(7)
    again = Rine(LAYERS, hidden=8, steps=5, random_state=3).fit(X, Y)
    other = Rine(LAYERS, hidden=8, steps=5, random_state=4).fit(X, Y)
    np.testing.assert_array_equal(first.decision_function(X), again.decision_function(X))
    assert not np.allclose(first.decision_function(X), other.decision_function(X))


def test_contrast_equals_its_definition():
    z = torch.randn(9, 5, generator=torch.Generator().manual_seed(0)).double()
    y = torch.tensor([0, 1, 0, 1, 1, 0, 2, 1, 0])
    unit = (z / z.norm(dim=1, keepdim=True)).numpy()
    each = []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        same = [j for j in others if y[j] == y[i]]
        if same:  # the only image of class 2 is no anchor
            total = sum(np.exp(unit[i] @ unit[j] / 0.07) for j in others)
            each.append(-np.mean([np.log(np.exp(unit[i] @ unit[j] / 0.07) / total) for j in same]))
    assert float(supervised_contrast(z, y)) == pytest.approx(np.mean(each), rel=1e-9)


def test_dropout_averages_out_and_its_gradient_is_finite_for_dead_tokens():
    torch.manual_seed(0)
    head = RineHead(3, 4, 5, 1).requires_grad_(True)
    tokens = torch.zeros(6, 3, 4)
    logit, z = in_training(head, tokens)
    (logit.sum() + supervised_contrast(z, torch.arange(6) % 2)).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_the_weights_are_those_of_the_released_form():
    fitted = Rine(LAYERS, "paper", hidden=8, depth=3, steps=10).fit(X, Y)
    tensors = {name: torch.from_numpy(value) for name, value in fitted.weights_.items()}
    assert tensors["alpha"].shape == (1, LAYERS, 8)
    assert {"proj1.1.weight", "proj1.7.bias", "proj2.4.weight", "head.0.weight", "head.6.bias"} <= set(
        tensors
    )
    head = RineHead.from_checkpoint(tensors)
    scores = head(torch.from_numpy(X).float().unflatten(1, (LAYERS, D)))
    np.testing.assert_allclose(scores.numpy(), fitted.decision_function(X), rtol=1e-5, atol=1e-6)
    assert fitted.n_trainable_ == sum(p.numel() for p in head.parameters())


def test_the_published_size_has_the_published_number_of_weights():
    head = RineHead(24, 1024, 1024, 2)
    assert sum(p.numel() for p in head.parameters()) == pytest.approx(6.32e6, rel=0.002)


def test_norms_of_an_encoder_are_applied_as_its_own_layernorms():
    encoder = Encoder(make("clip-quick-gelu"), Preprocessing.clip(32), name="tiny")
    norms = second_norm_weights(encoder)
    _, layers, width = norms.shape
    tokens = torch.randn(5, layers, width, generator=torch.Generator().manual_seed(0))
    fitted = Rine(layers, norms=norms, hidden=4, steps=1)
    found = fitted._tokens(tokens.flatten(1).double().numpy())
    expected = torch.stack([norm(tokens[:, i]) for i, norm in enumerate(second_norms(encoder))], dim=1)
    torch.testing.assert_close(found, expected)
    with pytest.raises(InputError, match=r"norms must be \(2, 4, 6\)"):
        Rine(LAYERS, norms=norms, steps=1).fit(X, Y)
