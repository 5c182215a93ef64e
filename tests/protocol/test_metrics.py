"""AUC, DeLong and thresholds against scikit-learn, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from interp.errors import InputError
from interp.protocol.metrics import (
    auc,
    auc_by_generator,
    auc_columns,
    auc_influence,
    balanced_accuracy_at,
    delong,
    standard_error_auc,
    threshold_for_balanced_accuracy,
)


@st.composite
def scored(draw: st.DrawFn, at_least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores with many ties."""
    n_real, n_fake = draw(st.integers(at_least, 15)), draw(st.integers(at_least, 15))
    n = n_real + n_fake
    scores = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    return np.repeat([0, 1], [n_real, n_fake]), np.array(scores) / 4


def kernel(y: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(fakes, photographs): 1 where the fake scores higher, 0.5 for a tie."""
    fake, real = scores[y == 1][:, None], scores[y == 0][None]
    return (fake > real) + 0.5 * (fake == real)


@given(scored())
def test_auc_is_the_mean_of_the_pairs_and_scikit_learns(given_scores):
    y, scores = given_scores
    assert np.isclose(auc(y, scores), kernel(y, scores).mean(), atol=1e-12)
    assert np.isclose(auc(y, scores), roc_auc_score(y, scores), atol=1e-12)
    assert np.isclose(auc(y, scores) + auc(y, -scores), 1, atol=1e-12)
    order = np.random.default_rng(0).permutation(len(y))
    assert np.isclose(auc(y.astype(bool)[order], np.exp(scores)[order]), auc(y, scores), atol=1e-12)


def test_columns_are_scored_one_by_one():
    rng = np.random.default_rng(1)
    y, scores = rng.integers(2, size=60), rng.normal(size=(60, 7)).round(1)
    assert np.allclose(auc_columns(y, scores), [roc_auc_score(y, column) for column in scores.T])


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 70), st.integers(0, 3))
def test_one_sort_serves_every_generator(seed, generators, columns, digits):
    """Each generator's AUC is what its fakes and all photographs give alone, with ties or without, chunk by chunk."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.r_[np.arange(generators + 1), rng.integers(generators + 1, size=2000)])
    y, scores = np.minimum(kind, 1), rng.normal(size=(len(kind), columns)).round(digits)
    scores[:, 0] = rng.choice([-np.inf, 0.0, -0.0, np.inf], size=len(kind))
    found = auc_by_generator(y, scores, kind)
    assert found.shape == (generators, columns)
    for number, row in enumerate(found, 1):
        own = (kind == 0) | (kind == number)
        for column in {0, columns - 1}:
            fakes, real = scores[kind == number, column], np.sort(scores[kind == 0, column])
            beaten = np.searchsorted(real, fakes).sum() + np.searchsorted(real, fakes, side="right").sum()
            assert row[column] == beaten / (2 * len(fakes) * len(real))
        np.testing.assert_array_equal(row, auc_columns(y[own], scores[own]))


def test_generators_without_photographs_have_no_auc():
    assert np.isnan(auc_by_generator([1, 1], [0.1, 0.2], ["a", "b"])).tolist() == [True, True]
    assert auc_by_generator([0, 0], [0.1, 0.2], ["real", "real"]).shape == (0,)
    assert auc_by_generator([0, 1], np.ones((2, 0)), ["real", "a"]).shape == (1, 0)


def test_infinite_scores_have_an_order_and_missing_classes_have_no_auc():
    assert auc([0, 1], [-np.inf, np.inf]) == 1
    assert np.isnan(auc([1, 1], [0.1, 0.2])) and np.isnan(auc([], []))
    assert np.isnan(auc_columns([0, 0], np.ones((2, 3)))).tolist() == [True] * 3
    assert np.isnan(balanced_accuracy_at([1, 1], [0.1, 0.2], 0))


@given(scored(at_least=2))
def test_delong_is_the_variance_of_the_kernels_margins(given_scores):
    y, scores = given_scores
    pairs = kernel(y, scores)
    expected = np.sqrt(
        pairs.mean(axis=1).var(ddof=1) / len(pairs) + pairs.mean(axis=0).var(ddof=1) / pairs.shape[1]
    )
    assert np.isclose(standard_error_auc(y, scores), expected, atol=1e-12)


@given(scored(at_least=2), st.data())
def test_delongs_difference_is_the_u_statistic_of_paired_kernels(given_scores, data: st.DataObject):
    y, a = given_scores
    b = np.array(data.draw(st.lists(st.integers(-4, 4), min_size=len(y), max_size=len(y)))) / 4
    change = kernel(y, a) - kernel(y, b)
    m, n = change.shape
    of_fakes = sum((change[i].mean() - change.mean()) ** 2 for i in range(m)) / (m - 1) / m
    of_real = sum((change[:, j].mean() - change.mean()) ** 2 for j in range(n)) / (n - 1) / n
    found = delong(y, a, b)
    assert np.isclose(found.difference, change.mean(), atol=1e-10)
    assert np.isclose(found.se, np.sqrt(of_fakes + of_real), atol=1e-10)


def test_the_standard_error_is_the_spread_of_auc_over_data_sets():
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1], [80, 50])
    draws = [rng.normal(size=130) + 0.8 * y for _ in range(1500)]
    spread = np.std([auc(y, scores) for scores in draws])
    assert np.isclose(np.mean([standard_error_auc(y, scores) for scores in draws]), spread, rtol=0.06)


def test_delongs_test_holds_its_level_and_uses_the_pairing():
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1], [60, 60])
    results = []
    for _ in range(800):
        image = rng.normal(size=120) + y  # what both detectors see alike
        a, b = image + rng.normal(size=120), image + rng.normal(size=120)
        results.append((delong(y, a, b), standard_error_auc(y, a)))
    rejected = np.mean([result.p < 0.05 for result, _ in results])
    assert 0.03 < rejected < 0.075
    differences = [result.difference for result, _ in results]
    assert np.isclose(np.mean([result.se for result, _ in results]), np.std(differences), rtol=0.08)
    assert all(result.se < alone * np.sqrt(2) for result, alone in results)


def test_delong_of_special_cases():
    y, scores = np.array([0, 0, 1, 1]), np.array([1.0, 3.0, 2.0, 4.0])
    assert delong(y, scores, scores) == (0, 0, 1)
    assert delong(y, y, 1 - y) == (1, 0, 0)
    other = scores[::-1]
    assert delong(y, scores, other).difference == auc(y, scores) - auc(y, other)
    assert np.isnan(delong([1, 1], [0, 1], [1, 0])).all()
    assert np.isnan(standard_error_auc([0, 1, 1], [0, 1, 2]))


@given(scored(), st.integers(-5, 5))
def test_balanced_accuracy_is_scikit_learns(given_scores, threshold: int):
    y, scores = given_scores
    expected = balanced_accuracy_score(y, scores > threshold / 4)
    assert np.isclose(balanced_accuracy_at(y, scores, threshold / 4), expected)


@given(scored())
def test_no_threshold_is_better_than_the_chosen_one(given_scores):
    y, scores = given_scores
    chosen = threshold_for_balanced_accuracy(y, scores)
    inner = np.unique(scores)[:-1] if len(np.unique(scores)) > 1 else scores[:1]
    best = max(balanced_accuracy_at(y, scores, threshold) for threshold in inner)
    assert np.isclose(balanced_accuracy_at(y, scores, chosen), best)
    assert scores.min() <= chosen <= scores.max()


def test_thresholds_between_extreme_scores():
    one, two, three = 1.0, np.nextafter(1.0, 2), 1.0 + 2 * np.finfo(float).eps
    assert threshold_for_balanced_accuracy([0, 1], [one, two]) == one  # nothing lies between them
    assert threshold_for_balanced_accuracy([0, 1], [two, three]) == two
    assert threshold_for_balanced_accuracy([0, 1], [-np.inf, np.inf]) == -np.inf
    assert (
        balanced_accuracy_at(
            [0, 1], [-1e308, 1e308], threshold_for_balanced_accuracy([0, 1], [-1e308, 1e308])
        )
        == 1
    )


@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        ([0, 1], [0.1], "with the same n; given"),
        ([[0, 1]], [0.1, 0.2], "with the same n; given"),
        ([0, 2], [0.1, 0.2], "1 for fakes and 0 for photographs; given"),
        (["real", "fake"], [0.1, 0.2], "1 for fakes and 0 for photographs; given"),
        ([0, 1], [0.1, np.nan], "1 of 2 scores are NaN"),
        ([0, 1], [[0.1], [0.2]], r"scores must be \(n,\); given \(2, 1\)"),
    ],
)
def test_wrong_scores_are_refused(y: list, scores: list, message: str):
    for metric in (auc, standard_error_auc, threshold_for_balanced_accuracy):
        with pytest.raises(InputError, match=message):
            metric(y, scores)


def test_a_threshold_needs_both_classes():
    with pytest.raises(InputError, match="both classes; given 2 fakes and 0 photographs"):
        threshold_for_balanced_accuracy([1, 1], [0.1, 0.2])


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
def test_influence_tells_what_leaving_an_image_out_would_change(n_real: int, n_fake: int, seed: int):
    y = np.repeat([0, 1], [n_real, n_fake])
    scores = np.random.default_rng(seed).integers(0, 5, size=(len(y), 2)).astype(float)
    found = auc_influence(y, scores)
    np.testing.assert_allclose([found[y == 0].sum(0), found[y == 1].sum(0)], 0, atol=1e-12)
    for i in range(len(y)):
        k = (y == y[i]).sum()
        without = auc_columns(np.delete(y, i), np.delete(scores, i, axis=0))
        np.testing.assert_allclose(auc_columns(y, scores) - without, k / (k - 1) * found[i], atol=1e-12)
