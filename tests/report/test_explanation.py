"""One call that says why: exact parts where there are any, estimates with their error where there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from random_clip import random_clip
from sklearn.neighbors import KNeighborsClassifier

from interp.detectors.detector import Detector, LinearScore
from interp.errors import InputError
from interp.explain.verdict import explain, features
from interp.report.explanation import explain_image

IMAGES = [
    Image.fromarray(np.random.default_rng(i).integers(0, 60 * (1 + i % 4), (70, 90, 3), dtype=np.uint8))
    for i in range(12)
]


@pytest.fixture(scope="module")
def encoder():
    return random_clip()


@pytest.fixture(scope="module")
def linear(encoder) -> Detector:
    coef = np.random.default_rng(0).normal(size=encoder.width)
    return Detector("linear", "embedding", LinearScore(coef, 0.2), 0.1, {})


@pytest.fixture(scope="module")
def neighbours(encoder) -> Detector:
    X = features(encoder.record(encoder.pixel_values(IMAGES)), "embedding")
    return Detector(
        "knn", "embedding", KNeighborsClassifier(5, weights="distance").fit(X, np.arange(12) % 4 > 1), 0.5, {}
    )


def test_a_linear_detector_has_its_exact_verdict_by_default(encoder, linear, tmp_path):
    why = explain_image(IMAGES[0], encoder, linear)
    verdict = explain(encoder, linear, IMAGES[0])
    pd.testing.assert_frame_equal(why.parts, verdict.parts)
    assert why.method == "exact" and why.error <= 1e-5 and why.label == verdict.label
    np.testing.assert_array_equal(why.patches, verdict.patches)
    saved = pd.read_csv(why.save(tmp_path) / "parts.csv")
    assert saved["contribution"].sum() == pytest.approx(why.score, rel=1e-5)
    patches = pd.read_csv(tmp_path / "patches.csv")
    assert patches.set_index(["row", "column"]).loc[(3, 5), "contribution"] == pytest.approx(
        verdict.patches[3, 5]
    )
    assert Image.open(tmp_path / "explanation.png").width > 1000


def test_estimates_of_a_linear_detector_are_its_exact_heads(encoder, linear):
    exact = explain_image(IMAGES[0], encoder, linear)
    for method in ("shapley", "integrated_gradients", "occlusion"):
        why = explain_image(IMAGES[0], encoder, linear, method=method)
        assert why.patches is None and why.method == method
        np.testing.assert_allclose(why.heads, exact.heads, rtol=1e-3, atol=1e-4)
        assert why.error < 1e-4


def test_a_detector_that_is_not_linear_is_estimated_and_says_how_well_it_adds_up(encoder, neighbours):
    image = next(one for one in IMAGES if 0 < explain_image(one, encoder, neighbours).score < 1)
    why = explain_image(image, encoder, neighbours)
    assert why.method == "shapley" and why.error < 1e-4
    assert why.parts["part"].iloc[-1] == "heads at the baseline"
    assert why.parts["contribution"].sum() == pytest.approx(why.score, abs=1e-4)
    table = why.compare(nulls=3).set_index("method")
    assert list(table.index) == ["shapley", "occlusion"] and table.loc["shapley", "completeness"] < 1e-3
    with pytest.raises(InputError, match="not linear"):
        explain_image(image, encoder, neighbours, method="exact")


def test_a_baseline_of_the_image_itself_leaves_nothing_to_heads(encoder, neighbours):
    image = IMAGES[2]
    itself = explain_image(image, encoder, neighbours).heads_score.values[0]
    why = explain_image(image, encoder, neighbours, baseline=itself)
    assert not why.heads.any()
    assert why.parts["contribution"].iloc[-1] == pytest.approx(why.score)


def test_it_shows_itself_in_a_notebook(encoder, linear, neighbours):
    for detector in (linear, neighbours):
        why = explain_image(IMAGES[1], encoder, detector)
        html = why._repr_html_()
        assert "data:image/png;base64," in html and why.largest(1)["part"].item() in html
        assert why.label in repr(why)


def test_unknown_methods_are_refused(encoder, linear):
    with pytest.raises(InputError, match="did you mean 'shapley'"):
        explain_image(IMAGES[0], encoder, linear, method="shaply")  # pyright: ignore[reportArgumentType]
