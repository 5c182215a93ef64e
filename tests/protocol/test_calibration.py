"""Calibrations equal scikit-learn's, keep the order of scores, and recover planted probabilities."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from interp.errors import InputError
from interp.protocol.calibration import METHODS, Sigmoid, calibrate, read_calibration


class Scores(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose score is its only column."""

    def fit(self, X, y):
        self.classes_, self.n_features_in_ = np.unique(y), 1
        return self

    def decision_function(self, X):
        return np.asarray(X)[:, 0]

    def predict(self, X):
        return self.classes_[(self.decision_function(X) > 0).astype(int)]


@st.composite
def overlapping(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores, some above and some below 0 in each class."""
    n_real, n_fake = draw(st.integers(4, 20)), draw(st.integers(4, 20))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = np.concatenate([[-1, 1], rng.normal(size=n_real), [-1, 1], rng.normal(size=n_fake) + 0.5])
    return np.repeat([0, 1], [n_real + 2, n_fake + 2]), scores.round(1) * draw(
        st.sampled_from([0.01, 1.0, 100.0])
    )


def log_loss_of(y: np.ndarray, p: np.ndarray) -> float:
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_probabilities_are_scikit_learns(method: str):
    rng = np.random.default_rng(0)
    y, new = np.repeat([0, 1], [70, 50]), np.linspace(-4, 6, 101)
    scores = rng.normal(size=120) + 1.5 * y
    frozen = FrozenEstimator(Scores().fit(scores[:, None], y))  # nothing is fitted before: all rows calibrate
    reference = CalibratedClassifierCV(frozen, method=method).fit(scores[:, None], y)
    expected = reference.predict_proba(new[:, None])[:, 1]
    assert np.allclose(calibrate(y, scores, method).probability(new), expected, atol=1e-5)


@given(overlapping(), st.sampled_from(METHODS))
def test_a_calibration_keeps_the_order_and_gives_probabilities(given_scores, method: str):
    y, scores = given_scores
    p = calibrate(y, scores, method).probability(np.sort(scores))
    assert (np.diff(p) >= 0).all() and (p >= 0).all() and (p <= 1).all()
    turned = calibrate(1 - y, scores, method).probability(np.sort(scores))
    assert (np.diff(turned) >= 0).all()  # where fakes score lower it is flat, and never falls


@given(overlapping(), st.sampled_from(METHODS))
def test_a_calibration_does_not_depend_on_the_order_of_rows_and_weights_are_repeated_rows(
    given_scores, method
):
    y, scores = given_scores
    weights = np.arange(len(y)) % 3 + 1
    repeated = np.repeat(np.arange(len(y)), weights)[::-1]
    found = calibrate(y, scores, method, weights).probability(scores)
    assert np.allclose(found, calibrate(y[repeated], scores[repeated], method).probability(scores), atol=1e-6)


@given(overlapping(), st.sampled_from(METHODS))
def test_numbers_survive_json(given_scores, method: str):
    y, scores = given_scores
    found = calibrate(y, scores, method)
    assert read_calibration(json.loads(json.dumps(found.numbers()))) == found


@pytest.mark.filterwarnings("error")
@given(overlapping())
def test_a_sigmoid_follows_the_scale_of_scores_and_its_mean_is_the_smoothed_share(given_scores):
    y, scores = given_scores
    found = calibrate(y, scores)
    again = calibrate(y, 5 * scores + 2)
    assert np.allclose(again.probability(5 * scores + 2), found.probability(scores), atol=1e-6)
    n_fake, n_real = y.sum(), (1 - y).sum()
    smoothed = np.where(y, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    assert np.isclose(
        found.probability(scores).mean(), smoothed.mean(), atol=1e-6
    )  # the intercept's equation


@pytest.mark.filterwarnings("error")
@given(overlapping())
def test_no_other_temperature_is_better(given_scores):
    y, scores = given_scores
    for method in ("temperature", "temperature+bias"):
        found = calibrate(y, scores, method)
        assert isinstance(found, Sigmoid)
        least = log_loss_of(y, found.probability(scores))
        for factor in (0.8, 1.25):
            moved = Sigmoid(found.slope * factor, found.intercept)
            assert least <= log_loss_of(y, moved.probability(scores)) + 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_planted_probabilities_are_found_again(method: str):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=20_000) * 2
    bias = 0.0 if method == "temperature" else -0.7
    truth = expit(0.6 * scores + bias)
    y = rng.uniform(size=20_000) < truth
    found = calibrate(y, scores, method)
    assert np.abs(found.probability(scores) - truth).mean() < 0.015
    if isinstance(found, Sigmoid):
        assert np.isclose(found.slope, 0.6, atol=0.03) and np.isclose(found.intercept, bias, atol=0.05)


def test_classes_that_do_not_overlap():
    y, scores = np.repeat([0, 1], 20), np.linspace(-3, 3, 40)
    p = calibrate(y, scores).probability(scores)
    assert (p[:20] < 0.5).all() and (p[20:] > 0.5).all() and np.isfinite(calibrate(y, scores).probability(9))
    assert calibrate(y, scores, "isotonic").probability([-1, 1]).tolist() == [0, 1]
    for method in ("temperature", "temperature+bias"):
        with pytest.raises(InputError, match="do not overlap"):
            calibrate(y, scores, method)
    assert np.allclose(calibrate(y, np.ones(40)).probability([1.0, 7.0]), 0.5)  # scores that say nothing


@pytest.mark.parametrize(
    ("y", "scores", "method", "message"),
    [
        ([0, 1], [0, 1], "platt", "unknown calibration method 'platt'"),
        ([1, 1], [0, 1], "sigmoid", "both classes; given 2 fakes and 0 photographs"),
        ([0, 1], [0, np.inf], "sigmoid", "1 of 2 scores are infinite"),
        ([0, 1], [[0], [1]], "sigmoid", r"must be \(n,\); given \(2, 1\)"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(y: list, scores: list, method: str, message: str):
    with pytest.raises(InputError, match=message):
        calibrate(y, scores, method)


def test_numbers_of_no_calibration_are_refused():
    with pytest.raises(InputError, match="unknown calibration method 'sigmoidal'; did you mean 'sigmoid'"):
        read_calibration({"method": "sigmoidal", "slope": 1.0, "intercept": 0.0})
