"""Both readings of residual-vector classification, against their definitions and scikit-learn's own checks."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from interp.detectors.linear import LinearDetector
from interp.errors import InputError
from interp.explain.residual_vector import READINGS, ResidualVector
from interp.explain.text_encoder import unit_rows
from interp.protocol.metrics import auc, balanced_accuracy_at, threshold_for_balanced_accuracy


class OfAnyWidth(ResidualVector):
    """Takes the first column away, of X of any width, as scikit-learn's checks need it."""

    def _pool(self, width):
        return np.eye(width)[:1]


CHECKED = [OfAnyWidth(k=None, center=False, reading=reading, C=1.0) for reading in READINGS]


@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


def planted(seed=0, n=600):
    """A word that misleads beyond the train generator, and a direction without a name that does not."""
    rng = np.random.default_rng(seed)
    y, part = np.arange(n) % 2, np.repeat(["train", "select", "test"], n // 3)
    texts = unit_rows(rng.normal(size=(40, 12)))
    word = unit_rows(texts, texts.mean(0))[17]
    unnamed = unit_rows(np.eye(12)[0] - word * word[0])[0]
    X = rng.normal(size=(n, 12)) + np.outer(1.5 * y, unnamed)
    X += np.outer(np.where(part == "train", 5, -1) * y, word)
    return X, y, part, texts


@pytest.mark.parametrize("reading", READINGS)
def test_taking_the_misleading_word_away_helps_on_unseen_generators(reading):
    X, y, part, texts = planted()
    known, test = part != "test", part == "test"
    plain = LinearDetector().fit(X[known], y[known], part=part[known])
    residual = ResidualVector(texts, k=1, reading=reading).fit(X[known], y[known], part=part[known])
    assert residual.words_.tolist() == [17] and 0 < residual.kept_ < 0.5
    left = auc(y[test], residual.decision_function(X[test]))
    assert left > 0.7 and left > auc(y[test], plain.decision_function(X[test])) + 0.1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from(READINGS))
def test_what_is_left_is_orthogonal_to_every_word(seed, k, reading):
    X, y, part, texts = planted(seed, n=120)
    residual = ResidualVector(texts, k=k, reading=reading).fit(X[:80], y[:80], part=part[:80])
    words = unit_rows(texts, texts.mean(0))[residual.words_]
    np.testing.assert_allclose(words @ residual.coef_, 0, atol=1e-9)
    np.testing.assert_allclose(residual.transform(X) @ words.T, 0, atol=1e-9)
    moved = X + np.random.default_rng(seed).normal(size=(len(X), k)) @ words
    np.testing.assert_allclose(residual.decision_function(moved), residual.decision_function(X), atol=1e-8)


def test_the_first_reading_is_the_old_weights_on_the_residual_features():
    X, y, part, texts = planted(1)
    known = part != "test"
    residual = ResidualVector(texts, k=3).fit(X[known], y[known], part=part[known])
    words = unit_rows(texts, texts.mean(0))[residual.words_]
    project = np.eye(12) - np.linalg.pinv(words) @ words
    old = LinearDetector().fit(X[known], y[known], part=part[known])
    np.testing.assert_allclose(residual.coef_, project @ old.coef_, atol=1e-9)
    scores = residual.decision_function(X)
    np.testing.assert_allclose(scores, X @ project @ old.coef_ + old.intercept_, atol=1e-8)
    select = part == "select"
    assert residual.threshold_ == threshold_for_balanced_accuracy(y[select], scores[select])


def test_the_second_reading_is_the_detector_on_the_residual_features():
    X, y, part, texts = planted(2)
    known = part != "test"
    residual = ResidualVector(texts, k=3, reading="features").fit(X[known], y[known], part=part[known])
    again = LinearDetector().fit(residual.transform(X[known]), y[known], part=part[known])
    expected = again.decision_function(residual.transform(X))
    np.testing.assert_allclose(residual.decision_function(X), expected, atol=1e-6)
    assert residual.threshold_ == pytest.approx(again.threshold_)


def test_without_select_rows_zero_is_best_on_the_rows_fitted():
    X, y, _, texts = planted(3)
    residual = ResidualVector(texts, k=2, C=1.0).fit(X, y)
    scores = residual.decision_function(X)
    assert residual.threshold_ == 0
    best = threshold_for_balanced_accuracy(y, scores)
    assert balanced_accuracy_at(y, scores, 0.0) == balanced_accuracy_at(y, scores, best)


def test_generators_travel_through_a_pipeline():
    X, y, _, texts = planted(4)
    generator = np.where(y == 0, "real", np.where(np.arange(len(y)) % 4 == 1, "a", "b"))
    with sklearn.config_context(enable_metadata_routing=True):
        told = ResidualVector(texts, k=2, select_generators="b").set_fit_request(generator=True)
        pipeline = make_pipeline(FunctionTransformer(), told).fit(X, y, generator=generator)
    alone = ResidualVector(texts, k=2, select_generators="b").fit(X, y, generator=generator)
    np.testing.assert_array_equal(pipeline.predict(X), alone.predict(X))
    assert alone.threshold_ != 0


@pytest.mark.parametrize(
    ("texts", "more", "words"),
    [
        (None, {}, "needs texts="),
        (np.eye(5), {}, "one model"),
        (np.eye(12), {"k": 13}, "1 to 12"),
        (np.eye(12), {"reading": "feature"}, "did you mean 'features'"),
    ],
)
def test_what_does_not_fit_is_refused(texts, more, words):
    X, y, _, _ = planted(n=60)
    with pytest.raises(InputError, match=words):
        ResidualVector(texts, C=1.0, **more).fit(X, y)
