"""A detector as a function of one image's heads: the same score, the same exact parts, and captum beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_clip import random_clip
from sklearn.neighbors import KNeighborsClassifier

from interp.detectors.detector import Detector, LinearScore
from interp.errors import InputError
from interp.explain.attribution import attribute
from interp.explain.head_score import HeadScore, compare_methods
from interp.explain.verdict import explain_pixels, features, logits

PIXELS = torch.randn(12, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def encoder():
    return random_clip()


def linear(encoder, kind: str) -> Detector:
    widths = {"embedding": encoder.width, "heads": encoder.layout.size}
    p = sum(width for name, width in widths.items() if name in kind.split("_and_"))
    return Detector("d", kind, LinearScore(np.random.default_rng(1).normal(size=p), 0.3), 0.0, {})


def neighbours(encoder, kind: str = "embedding") -> Detector:
    X = features(encoder.record(PIXELS), kind)
    return Detector("knn", kind, KNeighborsClassifier(3).fit(X, np.arange(12) % 2), 0.5, {})


@pytest.mark.parametrize("kind", ["embedding", "heads", "embedding_and_heads"])
def test_a_linear_detectors_heads_are_those_of_the_exact_verdict(encoder, kind):
    detector = linear(encoder, kind)
    score = HeadScore.of(detector, encoder, encoder.record(PIXELS[:1]))
    verdict = explain_pixels(encoder, detector, PIXELS[:1])
    assert score.linear
    assert score.decision_function(score.values)[0] == pytest.approx(verdict.logit, rel=1e-5)
    heads = attribute(score, score.values, encoder.layout, method="exact").heads[0]
    np.testing.assert_allclose(heads, verdict.heads.ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["embedding", "heads", "embedding_and_heads"])
def test_a_detector_that_is_not_linear_keeps_its_score(encoder, kind):
    detector = neighbours(encoder, kind)
    score = HeadScore.of(detector, encoder, encoder.record(PIXELS[3:4]))
    assert not score.linear
    expected = logits(detector, encoder.record(PIXELS[3:4]))
    np.testing.assert_allclose(score.decision_function(score.values), expected)


def test_methods_agree_where_there_is_an_exact_answer_and_all_report_how_they_add_up(encoder):
    score = HeadScore.of(linear(encoder, "embedding"), encoder, encoder.record(PIXELS[:1]))
    table, found = compare_methods(score, encoder, nulls=19)
    assert list(found) == list(table["method"]) == ["exact", "integrated_gradients", "shapley", "occlusion"]
    assert table["completeness"].max() < 1e-4 and table["correlation"].min() > 0.9999
    assert (table[["insertion_p", "deletion_p"]] == 0.05).all(axis=None)


def test_shapley_values_of_neighbours_add_up(encoder):
    detector = neighbours(encoder)
    record = next(
        one
        for one in (encoder.record(PIXELS[i : i + 1]) for i in range(12))
        if logits(detector, one)[0]
        != HeadScore.of(detector, encoder, one).decision_function(np.zeros((1, 256)))[0]
    )
    table, _ = compare_methods(HeadScore.of(detector, encoder, record), encoder, nulls=0)
    assert list(table["method"]) == ["shapley", "occlusion"]
    assert table["completeness"][0] < 1e-4


def test_what_is_no_function_of_heads_is_refused(encoder):
    with pytest.raises(InputError, match="reads the embedding, the heads, or both"):
        HeadScore.of(
            Detector("d", "layers", LinearScore(np.ones(3), 0.0), 0.0, {}),
            encoder,
            encoder.record(PIXELS[:1]),
        )
    with pytest.raises(InputError, match="one image at a time"):
        HeadScore.of(linear(encoder, "heads"), encoder, encoder.record(PIXELS[:2]))
