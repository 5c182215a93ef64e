"""The detection head equals scikit-learn's at the strength it chose, and chooses on select rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp.analysis.strength import STRENGTHS
from interp.detectors.linear import LinearDetector
from interp.errors import InputError


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(240) % 2
    X = rng.normal(size=(240, 20)) * rng.uniform(0.1, 9, 20) + 5
    X[:, 3] += y * X[:, 3].std()
    return X, y, np.repeat(["train", "select", ""], 80)


def test_it_equals_scikit_learn_at_the_chosen_strength(data):
    X, y, part = data
    train, select = part == "train", part == "select"
    ours = LinearDetector().fit(X[train | select], y[train | select], part=part[train | select])
    best = {}
    for C in STRENGTHS:
        theirs = make_pipeline(
            StandardScaler(), LogisticRegression(C=C, class_weight="balanced", tol=1e-10, max_iter=10000)
        ).fit(X[train], y[train])
        best[C] = roc_auc_score(y[select], theirs.decision_function(X[select]))
        if ours.C_ == C:
            np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-4)
    assert best[ours.C_] == pytest.approx(max(best.values()), abs=1e-9)
    assert ours.select_auc_ == pytest.approx(best[ours.C_], abs=1e-9)


def test_the_threshold_is_the_best_on_select_rows(data):
    X, y, part = data
    ours = LinearDetector().fit(X, y, part=part)
    select = part == "select"
    scores = ours.decision_function(X[select])
    reached = balanced_accuracy_score(y[select], ours.predict(X[select]))
    assert reached == pytest.approx(
        max(balanced_accuracy_score(y[select], scores > t) for t in [-np.inf, *scores])
    )


def test_rows_without_a_part_and_constant_columns_have_no_say(data):
    X, y, part = data
    X[:, 7] = 4.0
    first = LinearDetector().fit(X, y, part=part)
    X[part == ""] = 1e6
    second = LinearDetector().fit(X, y, part=part)
    np.testing.assert_array_equal(first.coef_, second.coef_)
    assert first.coef_[7] == 0
    assert first.threshold_ == second.threshold_


def test_wrong_use_says_what_to_do(data):
    X, y, part = data
    with pytest.raises(InputError, match="photographs and fakes among its select rows"):
        LinearDetector().fit(X, y, part=np.where((part == "select") & (y == 0), "", part))
    with pytest.raises(InputError, match="C must be positive"):
        LinearDetector(C=[0.0, 1.0]).fit(X, y, part=part)
