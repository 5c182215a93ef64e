"""The detection head as any scikit-learn classifier: labels, weights, probabilities, calibration, no marked rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GroupKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interp.analysis.strength import STRENGTHS
from interp.detectors.linear import LinearDetector
from interp.errors import InputError

rng = np.random.default_rng(0)
Y = np.arange(240) % 2
X = rng.normal(size=(240, 12)) * rng.uniform(0.1, 9, 12) + 5
X[:, 3] += Y * X[:, 3].std()
PART = np.random.default_rng(1).choice(["train", "select", ""], 240)
GENERATOR = np.where(Y == 0, "real", np.resize(["a", "a", "b", "b", "c", "c"], 240))


@given(st.floats(1e-4, 1e2), st.integers(0, 5), st.booleans())
def test_with_one_strength_it_is_scikit_learns(C, seed, weighted):
    weight = np.random.default_rng(seed).integers(0, 4, len(Y)).astype(float) if weighted else None
    ours = LinearDetector(C=C).fit(X, Y, sample_weight=weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    theirs = LogisticRegression(C=C, class_weight="balanced", tol=1e-10, max_iter=10000)
    theirs.fit(scaler.transform(X), Y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_ * scaler.scale_, theirs.coef_[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(scaler.transform(X)), atol=1e-4)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(scaler.transform(X)))
    assert ours.C_ == C and ours.threshold_ == 0 and np.isnan(ours.select_auc_)


@pytest.mark.parametrize(
    "labels", [("real", "fake"), ("photo", "synthetic"), (1, 0), (-1, 1), (7, 3), (True, False), (0.0, 2.0)]
)
@pytest.mark.parametrize("way", ["part", "select_generators", "alone"])
def test_labels_of_any_kind_and_order_give_the_same_detector(labels, way):
    more = {"part": PART, "generator": GENERATOR} if way == "part" else {"generator": GENERATOR}
    plain = LinearDetector(select_generators="a" if way == "select_generators" else None)
    named = clone(plain).fit(X, np.array(labels)[Y], **more)
    plain.fit(X, Y, **more)
    np.testing.assert_array_equal(named.classes_, np.unique(labels))
    sign = 1 if named.classes_[1] == labels[1] else -1
    np.testing.assert_allclose(named.decision_function(X), sign * plain.decision_function(X))
    assert (named.predict(X) == np.array(labels)[plain.predict(X)]).mean() > 0.99
    assert (named.C_, named.select_auc_) == (plain.C_, plain.select_auc_)
    fake = list(named.classes_).index(labels[1])
    np.testing.assert_allclose(named.predict_proba(X)[:, fake], plain.predict_proba(X)[:, 1])
    assert named.predict(X).dtype == np.array(labels).dtype


def test_probabilities_are_those_of_the_score():
    detector = LinearDetector().fit(X, Y, part=PART)
    far = X * 1e4
    proba = detector.predict_proba(far)
    np.testing.assert_allclose(proba.sum(1), 1)
    np.testing.assert_array_equal(proba[:, 1] > 0.5, detector.decision_function(far) > 0)
    assert np.isfinite(detector.predict_log_proba(far)).all()
    np.testing.assert_allclose(np.exp(detector.predict_log_proba(X)), detector.predict_proba(X))


def test_weights_count_rows_and_zero_leaves_out():
    weight = np.random.default_rng(1).integers(0, 3, len(Y))
    repeated = np.repeat(np.arange(len(Y)), weight)
    for detector in (LinearDetector(C=0.1), LinearDetector(C=0.1).set_params(select_generators=["a"])):
        context = {"generator": GENERATOR[weight > 0]}
        first = clone(detector).fit(X, Y, sample_weight=weight, generator=GENERATOR)
        second = clone(detector).fit(
            X[weight > 0], Y[weight > 0], sample_weight=weight[weight > 0], **context
        )
        np.testing.assert_array_equal(first.coef_, second.coef_)
    counted = LinearDetector(C=0.1).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(counted.coef_, LinearDetector(C=0.1).fit(X[repeated], Y[repeated]).coef_)
    balanced = LinearDetector(C=0.1).fit(X, Y, sample_weight=np.where(Y == 1, 100.0, 1.0))
    probabilities = balanced.predict_proba(X)[:, 1]
    assert probabilities[Y == 0].mean() == pytest.approx(1 - probabilities[Y == 1].mean(), abs=0.05)


def test_without_marked_rows_folds_choose_the_strength_and_keep_groups_whole():
    noise = np.random.default_rng(2).normal(size=(200, 30))
    y = np.arange(200) % 2
    groups = np.arange(200) // 2 // 10  # ten groups
    noise += 3 * np.random.default_rng(3).normal(size=(10, 30))[groups] * (2 * y[:, None] - 1)
    torn = LinearDetector().fit(noise, y)
    whole = LinearDetector().fit(noise, y, groups=groups)
    assert torn.select_auc_ > 0.9 > 0.75 > whole.select_auc_  # what a group shares says nothing beyond it
    signal = LinearDetector().fit(X, Y)
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(X, Y, np.arange(len(Y))))
    aucs = [cross_val_score(LinearDetector(C=C), X, Y, scoring="roc_auc", cv=folds).mean() for C in STRENGTHS]
    assert signal.select_auc_ == pytest.approx(max(aucs))
    assert STRENGTHS.index(signal.C_) == np.argmax(aucs)
    nothing_to_choose_on = LinearDetector().fit(X[:2], Y[:2])
    assert STRENGTHS.index(nothing_to_choose_on.C_) == 0


@pytest.mark.parametrize("detector", [LinearDetector(), LinearDetector(C=0.1)])
def test_it_serves_cross_validation_and_calibration(detector):
    assert cross_val_score(detector, X, np.array(["photo", "fake"])[Y]).mean() > 0.65
    calibrated = CalibratedClassifierCV(detector, cv=3).fit(X, Y)
    assert roc_auc_score(Y, calibrated.predict_proba(X)[:, 1]) > 0.75
    held = cross_val_predict(
        detector, X, Y, method="predict_log_proba", cv=GroupKFold(4), groups=np.arange(240)
    )
    assert held.shape == (240, 2)


def test_metadata_travels_through_calibration():
    with sklearn.config_context(enable_metadata_routing=True):
        detector = LinearDetector().set_fit_request(
            part=True, generator=True, sample_weight=False, groups=False
        )
        calibrated = CalibratedClassifierCV(detector, cv=2).fit(X, Y, part=PART, generator=GENERATOR)
    folds = StratifiedKFold(2).split(X, Y)
    for (rows, _), fitted in zip(folds, calibrated.calibrated_classifiers_, strict=True):
        alone = LinearDetector().fit(X[rows], Y[rows], part=PART[rows], generator=GENERATOR[rows])
        np.testing.assert_array_equal(fitted.estimator.coef_, alone.coef_)
    with (
        pytest.raises(sklearn.exceptions.UnsetMetadataPassedError),
        sklearn.config_context(enable_metadata_routing=True),
    ):
        CalibratedClassifierCV(LinearDetector(), cv=2).fit(X, Y, part=PART)


def test_it_clones_pickles_and_takes_parameters():
    detector = clone(LinearDetector(C=(0.1, 1.0), select_generators=("a",)))
    assert detector.get_params() == {"C": (0.1, 1.0), "select_generators": ("a",), "random_state": 0}
    detector.set_params(random_state=3).fit(X, Y, generator=GENERATOR)
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.predict(X), detector.predict(X))
    pipeline = make_pipeline(StandardScaler(), LinearDetector()).set_params(lineardetector__C=1.0).fit(X, Y)
    assert pipeline[-1].C_ == 1.0 and len(pipeline.classes_) == 2


def test_other_than_two_classes_are_refused_in_scikit_learns_words():
    with pytest.raises(
        InputError, match="at least 2 classes in the data, but the data contains only one class: 1"
    ):
        LinearDetector().fit(X, np.ones(len(X), int))
    with pytest.raises(
        InputError, match="Only binary classification is supported. The type of the target is multic"
    ):
        LinearDetector().fit(X, GENERATOR)
    with pytest.raises(InputError, match="selects on 'a' and needs generator="):
        LinearDetector(select_generators="a").fit(X, Y)
    with pytest.raises(InputError, match="C must be positive, a number or several to choose from; given -1"):
        LinearDetector(C=-1).fit(X, Y)
