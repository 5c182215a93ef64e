"""Average precision, TPR at an FPR, equal error and thresholds against scikit-learn and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_curve

from interp.errors import InputError
from interp.protocol.operating_points import average_precision, equal_error_rate, rates_at, tpr_at_fpr
from interp.protocol.resampling import resampled_auc
from interp.protocol.thresholds import threshold_for_equal_error, threshold_for_fpr


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores with many ties."""
    n_real, n_fake = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    n = n_real + n_fake
    scores = draw(st.lists(st.integers(-6, 6), min_size=n, max_size=n))
    return np.repeat([0, 1], [n_real, n_fake]), np.array(scores) / 4


LEVELS = st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
METRICS = [
    average_precision,
    equal_error_rate,
    lambda y, s, w=None: tpr_at_fpr(y, s, 0.05, w),
    lambda y, s, w=None: rates_at(y, s, 0.25, w).balanced_accuracy,
]


@given(scored())
def test_average_precision_is_scikit_learns(given_scores):
    y, scores = given_scores
    assert np.isclose(average_precision(y, scores), average_precision_score(y, scores), atol=1e-12)


@given(scored(), LEVELS)
def test_tpr_at_fpr_is_the_best_existing_point_of_scikit_learns_curve(given_scores, level: float):
    y, scores = given_scores
    fpr, tpr, _ = roc_curve(y, scores, drop_intermediate=False)
    assert tpr_at_fpr(y, scores, level) == tpr[fpr <= level + 1e-12].max()
    by_hand = [0.0] + [
        (scores[y == 1] >= cut).mean() for cut in scores if (scores[y == 0] >= cut).mean() <= level + 1e-12
    ]
    assert tpr_at_fpr(y, scores, level) == max(by_hand)


@given(scored())
def test_equal_error_is_where_scikit_learns_curve_crosses_the_diagonal(given_scores):
    y, scores = given_scores
    fpr, tpr, _ = roc_curve(y, scores, drop_intermediate=False)
    along = np.linspace(0, 1, len(fpr))  # both shares as functions of the way along the curve
    alarms, found = interp1d(along, fpr), interp1d(along, tpr)
    crossing = brentq(lambda at: alarms(at) + found(at) - 1, 0, 1, xtol=1e-14)
    assert np.isclose(equal_error_rate(y, scores), alarms(crossing), atol=1e-9)


def test_equal_error_of_two_normal_distributions():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 40_000)
    found = equal_error_rate(y, rng.normal(size=80_000) + 2 * y)
    assert np.isclose(found, 0.15866, atol=0.004)  # the normal tail beyond half the distance
    assert equal_error_rate([0, 0, 1], [1, 2, 3]) == 0 and equal_error_rate([0, 1], [1, 1]) == 0.5


@given(scored(), st.integers(-6, 6))
def test_rates_are_counts_at_a_threshold(given_scores, cut: int):
    y, scores = given_scores
    found = rates_at(y, scores, cut / 4)
    assert np.isclose(found.balanced_accuracy, balanced_accuracy_score(y, scores > cut / 4))
    assert np.isclose(found.tpr, (scores[y == 1] > cut / 4).mean())


@given(scored())
def test_a_monotone_transform_changes_no_number_of_the_curve(given_scores):
    y, scores = given_scores
    for metric in METRICS[:3]:
        assert metric(y, scores) == metric(y, np.exp(3 * scores) - 7)
    order = np.random.default_rng(0).permutation(len(y))
    for metric in METRICS:
        assert np.isclose(metric(y, scores), metric(y[order], scores[order]), atol=1e-12)


@given(scored(), st.data())
def test_weights_are_repeated_rows(given_scores, data: st.DataObject):
    y, scores = given_scores
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(y), max_size=len(y))))
    repeated = np.repeat(np.arange(len(y)), weights)
    for metric in METRICS:
        expected = metric(y[repeated], scores[repeated])
        assert np.isclose(metric(y, scores, weights), expected, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("metric", METRICS)
def test_columns_and_resamples_are_read_one_by_one(metric):
    rng = np.random.default_rng(1)
    y, scores = np.repeat([0, 1], [30, 40]), rng.normal(size=(70, 3)).round(1)
    counts = rng.multinomial(70, np.full(70, 1 / 70), size=5)
    found = metric(y, scores, counts)
    assert found.shape == (5, 3) and metric(y, scores).shape == (3,) and metric(y, scores[:, 0]).shape == ()
    for b, column in np.ndindex(5, 3):
        assert np.isclose(found[b, column], metric(y, scores[:, column], counts[b]))
    assert np.allclose(found[:, 0], metric(y, scores[:, 0], counts))


def test_a_resample_without_a_class_has_no_number():
    counts = [[1, 1, 1], [0, 0, 2], [1, 1, 0]]
    for metric in [*METRICS, resampled_auc]:
        assert np.isnan(metric([0, 0, 1], [0.1, 0.2, 0.3], counts)).tolist() == [False, True, True]
    assert np.isnan(average_precision([1, 1], [0.1, 0.2])) and np.isnan(tpr_at_fpr([], []))


def test_infinite_scores_have_an_order():
    y, scores = [0, 1, 1], [-np.inf, np.inf, np.inf]
    assert average_precision(y, scores) == 1 and tpr_at_fpr(y, scores, 0.0) == 1
    assert equal_error_rate([0, 1], [np.inf, np.inf]) == 0.5


@given(scored(), st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]), st.booleans())
def test_the_threshold_for_an_fpr_is_the_lowest_that_keeps_it(given_scores, level: float, on_new: bool):
    y, scores = given_scores
    n = int((y == 0).sum())
    if level * (n + on_new) < 1 - 1e-9:
        with pytest.raises(InputError, match=f"photographs or more; given {n}, which support"):
            threshold_for_fpr(y, scores, level, on_new=on_new)
        return
    threshold = threshold_for_fpr(y, scores, level, on_new=on_new)
    if on_new:
        assert ((scores[y == 0] > threshold).sum() + 1) / (n + 1) <= level + 1e-12
    else:
        assert rates_at(y, scores, threshold).fpr <= level + 1e-12
        assert rates_at(y, scores, threshold).tpr <= tpr_at_fpr(y, scores, level)
        lower = scores[(scores < threshold) & (y == 0)]
        assert not len(lower) or rates_at(y, scores, lower.max()).fpr > level


def test_without_ties_the_threshold_finds_what_tpr_at_fpr_promises():
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1], 200)
    scores = rng.normal(size=400) + y
    for level in (0.01, 0.05, 0.3):
        assert rates_at(y, scores, threshold_for_fpr(y, scores, level)).tpr == tpr_at_fpr(y, scores, level)


def test_new_photographs_exceed_a_threshold_as_often_as_is_said():
    rng = np.random.default_rng(3)
    y, alarms, held = np.zeros(60, int), [], []
    for _ in range(2000):
        scores, new = rng.normal(size=60), rng.normal(size=50)
        alarms.append((new > threshold_for_fpr(y, scores, 0.05)).mean())
        held.append((new > threshold_for_fpr(y, scores, 0.05, on_new=True)).mean())
    assert np.isclose(np.mean(alarms), 4 / 61, atol=0.003)  # 3 of 60 are above it
    assert np.isclose(np.mean(held), 3 / 61, atol=0.003)


@given(scored())
def test_no_threshold_is_nearer_to_equal_error(given_scores):
    y, scores = given_scores

    def gap(threshold: float) -> float:
        rates = rates_at(y, scores, threshold)
        return float(abs(1 - rates.tpr - rates.fpr))

    distinct = np.unique(scores)
    nearest = min(gap(cut) for cut in (distinct[:-1] if len(distinct) > 1 else distinct))
    assert np.isclose(gap(threshold_for_equal_error(y, scores)), nearest)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tpr_at_fpr([0, 1], [0, 1], 5), "between 0 and 1, such as 0.05; given 5"),
        (lambda: threshold_for_fpr([0, 1], [0, 1], 0), "between 0 and 1, such as 0.05; given 0"),
        (
            lambda: threshold_for_fpr([1, 1], [0, 1]),
            "needs 20 photographs or more; given 0, which support none",
        ),
        (lambda: threshold_for_fpr([0], [[0, 1]]), r"scores must be \(n,\)"),
        (lambda: threshold_for_equal_error([1, 1], [0, 1]), "both classes; given 2 fakes"),
        (lambda: average_precision([0, 1], [0, 1], [1, 2, 3]), r"weights must be \(2,\) or \(B, 2\)"),
        (
            lambda: average_precision([0, 1], [0, 1], [1, np.nan]),
            "finite numbers of 0 or more; given one of nan",
        ),
    ],
)
def test_wrong_requests_are_refused(call, message: str):
    with pytest.raises(InputError, match=message):
        call()
