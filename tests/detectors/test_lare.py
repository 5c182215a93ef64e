"""Error-guided refinement against its definition, feature maps of several networks, the detector, wrong uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from tiny_models import make
from torch import nn
from torch.nn import functional

from interp.detectors.error_guided import ChannelRefinement, ErrorGuided, SpatialRefinement
from interp.detectors.feature_map import FeatureMap
from interp.detectors.image_detector import load_image_detector
from interp.detectors.lare import Lare
from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.features.pixels import joined
from interp.images.preprocess import Preprocessing
from interp.protocol.metrics import auc

pytest.importorskip("accelerate")


def convnet() -> nn.Module:
    """Two stages with a batch norm, as a small residual network would have, and a vector."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
    last = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(first, last)


PREPROCESSING = Preprocessing.clip(32)
LOOKED = FeatureMap(convnet(), PREPROCESSING, "0")
rng = np.random.default_rng(0)
Y = np.arange(160) % 2
PART = np.resize(["train", "train", "train", "train", "select", "select", "", ""], 160)
MAPS = rng.normal(size=(160, 4, 6, 6)).astype(np.float32) ** 2
MAPS[Y == 1, 2] += 1.5
PIXELS = rng.integers(0, 256, (160, 3, 32, 32), dtype=np.uint8)
X = joined(PIXELS, MAPS)


def test_with_a_zero_map_it_is_plain_attention_pooling():
    torch.manual_seed(0)
    part = SpatialRefinement(12, (3, 3), errors=4).eval()
    features = torch.randn(5, 12, 3, 3)
    tokens = features.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + part.positions
    plain = nn.MultiheadAttention(512, 8, batch_first=True, bias=False)
    with torch.no_grad():
        plain.in_proj_weight.copy_(torch.eye(512).repeat(3, 1))
        plain.out_proj.weight.copy_(torch.eye(512))
        asked, keys, values = (
            m(t) for m, t in ((part.ask, tokens[:, :1]), (part.answer, tokens), (part.value, tokens))
        )
        pooled = plain(asked, keys, values)[0][:, 0]
        expected = functional.layer_norm(tokens[:, 0] + part.out(pooled), (12,))
        found = part(features, torch.zeros(5, 4, 8, 8))
        constant = part(features, torch.full((5, 4, 8, 8), 3.0))
        guided = part(features, torch.rand(5, 4, 8, 8) * 9)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(constant, expected, atol=1e-5, rtol=1e-4)
    assert (guided - expected).abs().max() > 1e-3


def test_an_error_at_one_place_draws_all_attention_there():
    part = SpatialRefinement(12, (3, 3), errors=1).eval()
    features, error = torch.randn(1, 12, 3, 3), torch.zeros(1, 1, 3, 3)
    error[0, 0, 1, 2] = 1e4
    with torch.no_grad():
        part.guide.weight.fill_(1.0)
        token = features[0, :, 1, 2] + part.positions[1 + 1 * 3 + 2]
        first = features.mean((2, 3))[0] + part.positions[0]
        expected = part.norm(first + part.out(part.value(token)))
        torch.testing.assert_close(part(features, error)[0], expected, atol=1e-5, rtol=1e-4)


def test_the_gate_of_a_zero_map_is_one_half():
    part, features = ChannelRefinement(12, errors=4), torch.randn(5, 12, 3, 3)
    with torch.no_grad():
        assert (part.gate(torch.zeros(5, 4, 8, 8)) == 0.5).all()
        torch.testing.assert_close(part(features, torch.zeros(5, 4, 8, 8)), features.mean((2, 3)) / 2)
        gate = part.gate(torch.rand(5, 4, 8, 8))
    assert gate.shape == (5, 12) and (gate != 0.5).any()


@pytest.mark.parametrize("name", ["clip-quick-gelu", "deit", "dinov2-registers", "siglip"])
def test_a_transformers_tokens_are_its_map(name):
    encoder = Encoder(make(name), PREPROCESSING, name=name)
    found = FeatureMap.of(encoder)
    assert (found.channels, found.grid) == (48, (4, 4))
    pixels = torch.from_numpy(PIXELS[:2])
    kept = []
    module = encoder.model.get_submodule(found.layer)
    handle = module.register_forward_hook(
        lambda _m, _i, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.inference_mode():
        features, vector = found(pixels)
        encoder.model(pixel_values=PREPROCESSING.normalize(pixels))
    handle.remove()
    torch.testing.assert_close(features[:, :, 2, 1], kept[0][:, -16:][:, 2 * 4 + 1])
    assert vector.shape == (2, found.width)
    assert not any(m._forward_hooks for m in found.model.modules())


def test_it_finds_what_only_the_maps_show_and_the_best_epoch_is_kept():
    tuned = Lare(LOOKED, epochs=4, batch_size=20, rate=3e-3, device="cpu").fit(X, Y, part=PART)
    unseen = PART == ""
    assert auc(Y[unseen], tuned.decision_function(X[unseen])) > 0.9
    blind = Lare(LOOKED, refine="none", epochs=1, batch_size=20, device="cpu").fit(X, Y, part=PART)
    changed = joined(PIXELS, MAPS[::-1])
    np.testing.assert_array_equal(blind.decision_function(changed), blind.decision_function(X))
    assert np.abs(tuned.decision_function(changed) - tuned.decision_function(X)).max() > 0.1
    again = clone(tuned).set_params(encoder=LOOKED).fit(X, Y, part=PART)
    np.testing.assert_array_equal(again.decision_function(X), tuned.decision_function(X))


def test_a_frozen_encoder_stays_as_it_was():
    frozen = Lare(LOOKED, tune="head", epochs=1, batch_size=40, device="cpu").fit(X, Y)
    after, before = frozen.network_.encoder.state_dict(), LOOKED.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    tuned = Lare(LOOKED, epochs=1, batch_size=40, device="cpu").fit(X, Y)
    assert not torch.equal(
        tuned.network_.encoder.state_dict()["model.0.0.weight"], before["model.0.0.weight"]
    )
    assert frozen.n_trainable_ < tuned.n_trainable_


def test_a_resumed_training_ends_with_the_same_network(tmp_path, monkeypatch):
    from interp.detectors.resumable_training import ResumableTraining

    options = {"epochs": 2, "batch_size": 20, "rate": 1e-3, "device": "cpu"}
    whole = Lare(LOOKED, **options).fit(X, Y, part=PART)
    run = Lare(LOOKED, **options, folder=str(tmp_path), checkpoint_every=3)
    take = ResumableTraining._take_step

    def dies(self, *given):
        if self.step == 5:
            raise KeyboardInterrupt
        take(self, *given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ResumableTraining, "_take_step", dies)
        clone(run).fit(X, Y, part=PART)
    resumed = clone(run).fit(X, Y, part=PART)
    np.testing.assert_array_equal(resumed.decision_function(X), whole.decision_function(X))
    with pytest.raises(InputError, match="other settings; refine: the store has 'both', asked for 'spatial'"):
        clone(run).set_params(refine="spatial").fit(X, Y, part=PART)


def test_larger_images_are_cropped():
    larger = np.zeros((160, 3, 40, 48), np.uint8)
    larger[:, :, 4:36, 8:40] = PIXELS
    with pytest.raises(InputError, match="40 × 48 pixels, the encoder looks at 32 × 32"):
        Lare(LOOKED, device="cpu").fit(joined(larger, MAPS), Y)
    tuned = Lare(LOOKED, crop=True, epochs=1, batch_size=40, device="cpu").fit(joined(larger, MAPS), Y)
    with torch.inference_mode():
        expected = tuned.network_(torch.from_numpy(PIXELS), torch.from_numpy(MAPS)).numpy()
    np.testing.assert_allclose(
        tuned.decision_function(joined(larger, MAPS)), expected[:, 1] - expected[:, 0], atol=1e-4
    )


def test_a_named_encoder_is_saved_without_pickle(tmp_path):
    pixels = np.resize(PIXELS, (12, 3, 64, 64))
    some = joined(pixels, MAPS[:12])
    tuned = Lare("embedded", tune="head", epochs=1, batch_size=12, device="cpu").fit(some, Y[:12])
    saved = tuned.save(tmp_path / "lare")
    again, _ = load_image_detector(saved)
    np.testing.assert_array_equal(again.decision_function(some), tuned.decision_function(some))
    with pytest.raises(InputError, match="give models by name"):
        Lare(LOOKED, epochs=1, device="cpu").fit(X, Y).save(tmp_path / "no")


def test_wrong_uses_say_what_to_do():
    with pytest.raises(InputError, match="joined by interp.features.pixels.joined"):
        Lare(LOOKED).fit(PIXELS, Y)
    with pytest.raises(InputError, match="only one class"):
        Lare(LOOKED).fit(X, np.ones(160, int))
    with pytest.raises(InputError, match="unknown refine 'spacial'; did you mean 'spatial'"):
        Lare(LOOKED, refine="spacial").fit(X, Y)
    missing = MAPS.copy()
    missing[5] = np.nan
    with pytest.raises(InputError, match="1 maps are not numbers, the first that of row 5"):
        Lare(LOOKED).fit(joined(PIXELS, missing), Y)
    with pytest.raises(InputError, match="no feature map: expected"):
        FeatureMap(convnet(), PREPROCESSING, "1.3")
    with pytest.raises(InputError, match="unknown layer 'layer3'"):
        FeatureMap(convnet(), PREPROCESSING, "layer3")
    with pytest.raises(InputError, match="error maps have 3 channels; this network reads 4"):
        ErrorGuided(LOOKED, 4)(torch.from_numpy(PIXELS[:2]), torch.zeros(2, 3, 6, 6))
