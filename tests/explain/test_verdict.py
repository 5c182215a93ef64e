"""The parts of a verdict sum to it, over heads and over patches, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from random_clip import random_clip
from tiny_models import FAMILIES, make

from interp.detectors.detector import Detector, LinearScore
from interp.encoders.encoder import Encoder
from interp.errors import InputError
from interp.explain.verdict import explain, explain_pixels
from interp.images.preprocess import Preprocessing

PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def encoder_of(name: str) -> Encoder:
    return Encoder(make(name), Preprocessing.clip(32), name=name)


def detector_of(encoder: Encoder, features: str, key: dict | None = None) -> Detector:
    widths = {"embedding": encoder.width, "heads": encoder.layout.size}
    p = sum(width for name, width in widths.items() if name in features.split("_and_"))
    coef = np.random.default_rng(0).normal(size=p)
    return Detector("random", features, LinearScore(coef, 0.7), threshold=0.3, key=key or {})


@pytest.mark.parametrize("name", list(FAMILIES))
def test_heads_and_patches_sum_to_the_logit_of_every_family(name):
    encoder = encoder_of(name)
    for image, features in enumerate(("embedding", "embedding_and_heads")):
        verdict = explain_pixels(encoder, detector_of(encoder, features), PIXELS[image : image + 1])
        assert verdict.error <= 1e-5
        assert verdict.patch_error <= 1e-5
        total = verdict.parts["contribution"].sum()
        assert total == pytest.approx(verdict.logit, rel=1e-5, abs=1e-5)
        heads = verdict.patches.sum() + verdict.prefix.sum()
        assert heads == pytest.approx(verdict.heads.sum(), rel=1e-5, abs=1e-4)
        assert verdict.patches.shape == (4, 4)


@pytest.mark.parametrize("name", ["clip-gelu", "dinov3", "ijepa", "siglip", "timm-mean-then-norm"])
def test_parts_are_the_decomposition_of_the_embedding_times_the_weights(name):
    encoder = encoder_of(name)
    detector = detector_of(encoder, "embedding")
    parts = encoder.decompose(PIXELS[:1])
    w = torch.from_numpy(detector.model.coef).float()
    found = explain_pixels(encoder, detector, PIXELS[:1]).parts.set_index("part")["contribution"]
    scale = float((parts.embedding @ w).abs()) + 1
    layers = encoder.layout.layers
    expected = dict(zip(encoder.layout.names, (parts.heads @ w).flatten().tolist(), strict=True))
    expected |= {f"L{layer}.MLP": float(parts.mlps[0, layer] @ w) for layer in range(layers)}
    expected |= {"first": float(parts.first[0] @ w), "bias": float(parts.bias[0] @ w), "intercept": 0.7}
    assert list(expected) == list(found.index)
    np.testing.assert_allclose(found.to_numpy(), list(expected.values()), rtol=1e-4, atol=1e-4 * scale)


def test_a_detector_of_head_values_has_heads_and_intercept_alone():
    encoder = encoder_of("vit")
    detector = detector_of(encoder, "heads")
    verdict = explain_pixels(encoder, detector, PIXELS[:1])
    assert list(verdict.parts["part"]) == [*encoder.layout.names, "intercept"]
    record = encoder.record(PIXELS[:1])
    each = (record.head_values / record.norm_std).flatten().double().numpy() * detector.model.coef
    np.testing.assert_allclose(verdict.heads.ravel(), each.reshape(12, -1).sum(1), rtol=1e-5)


def test_a_detector_of_one_head_has_patches_where_that_head_looks():
    encoder = encoder_of("vit")
    coef = np.zeros(encoder.layout.size)
    coef[encoder.layout.slice("L2.H1")] = 1
    verdict = explain_pixels(encoder, Detector("one", "heads", LinearScore(coef, 0.0), 0.0, {}), PIXELS[:1])
    others = np.delete(verdict.sources.reshape(12, -1), encoder.layout.index("L2.H1"), axis=0)
    assert not others.any()
    np.testing.assert_array_equal(verdict.patches, verdict.head_patches[2, 1])
    assert verdict.largest(1)["part"].item() == "L2.H1"


def test_the_image_goes_through_the_detectors_equalisation_and_is_kept_as_seen(tmp_path):
    encoder = random_clip()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8))
    plain = explain(encoder, detector_of(encoder, "embedding"), image)
    equalised = explain(encoder, detector_of(encoder, "embedding", {"equalize": "common:32:75"}), image)
    assert plain.seen.shape == equalised.seen.shape == (64, 64, 3)
    assert (
        np.abs(np.diff(equalised.seen.astype(float), axis=0)).mean()
        < 0.5 * np.abs(np.diff(plain.seen.astype(float), axis=0)).mean()
    )
    assert plain.logit != equalised.logit
    image.save(tmp_path / "image.png")
    assert explain(encoder, detector_of(encoder, "embedding"), tmp_path / "image.png").logit == plain.logit
    assert plain.label == ("fake" if plain.logit > 0.3 else "real")


@pytest.mark.parametrize(
    ("features", "key", "message"),
    [
        ("layers", {}, "reads the embedding, the heads, or both"),
        ("embedding", {"views": "4:64"}, "views"),
        ("embedding", {"encoder": {"name": "other"}}, "differ in .*name"),
    ],
)
def test_what_has_no_exact_parts_is_refused(features, key, message):
    encoder = random_clip()
    detector = Detector("d", features, LinearScore(np.ones(encoder.width), 0.0), 0.0, key)
    with pytest.raises(InputError, match=message):
        explain(encoder, detector, Image.new("RGB", (64, 64)))
