"""The corrected bootstrap equals SciPy's where that applies, covers for clusters, and says where it cannot be had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, norm

from interp.errors import InputError
from interp.protocol.bca import bca_interval, clustered_interval, counts_without_each
from interp.protocol.intervals import percentile_interval
from interp.protocol.metrics import auc
from interp.protocol.operating_points import average_precision
from interp.protocol.resampling import JointResample, resampled_auc


def test_two_samples_give_scipys_interval():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=40), rng.normal(size=25) + 1.2
    y, scores = np.repeat([0, 1], [40, 25]), np.concatenate([real, fake])

    def of_samples(a: np.ndarray, b: np.ndarray) -> float:
        return auc(np.repeat([0, 1], [len(a), len(b)]), np.concatenate([a, b]))

    expected = bootstrap((real, fake), of_samples, method="BCa", n_resamples=999, vectorized=False, rng=1)
    left_out = resampled_auc(y, scores, 1 - np.eye(65))
    found = bca_interval(auc(y, scores), expected.bootstrap_distribution, left_out, stratum=y, expanded=False)
    assert np.allclose([found.low, found.high], expected.confidence_interval, atol=1e-12)
    wider = bca_interval(auc(y, scores), expected.bootstrap_distribution, left_out, stratum=y)
    assert wider.low < found.low and wider.high > found.high


def test_columns_are_corrected_one_by_one():
    rng = np.random.default_rng(1)
    y, scores = np.repeat([0, 1], 30), rng.normal(size=(60, 3)) + np.repeat([0, 1], 30)[:, None]
    counts = np.hstack([rng.multinomial(30, np.full(30, 1 / 30), size=300) for _ in range(2)])
    given = [resampled_auc(y, scores, weights) for weights in (np.ones((1, 60)), counts, 1 - np.eye(60))]
    found = bca_interval(given[0][0], given[1], given[2], y)
    for column in range(3):
        alone = bca_interval(given[0][0, column], given[1][:, column], given[2][:, column], y)
        assert np.allclose([found.low[column], found.high[column]], [alone.low, alone.high])


def test_percentiles_stay_where_nothing_can_be_corrected():
    draws = np.random.default_rng(2).uniform(size=(200, 4))
    draws[:, 2] = 1.0  # perfect scores: every resample alike
    draws[:, 3] = np.nan
    observed = np.array([2.0, 0.5, 1.0, 0.5])  # the first lies beyond all resamples
    left_out = np.full((10, 4), 0.5)  # and nothing changes without any cluster
    found = bca_interval(observed, draws, left_out)
    assert not found.corrected.any()
    np.testing.assert_array_equal(np.stack(found[:2]), np.stack(percentile_interval(draws)))
    left_out[:, 1] = np.linspace(0.4, 0.6, 10)
    assert bca_interval(observed, draws, left_out).corrected.tolist() == [False, True, False, False]


def rows_in_groups(groups: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    label = np.where(y == 1, "fake", "real")
    return pd.DataFrame({"label": label, "generator": np.where(y == 1, "glide", "real"), "group": groups})


def test_the_jackknife_leaves_out_whole_groups():
    y = np.array([0, 0, 0, 1, 1])
    resample = JointResample(rows_in_groups(np.array(list("aabcc")), y), 5)
    counts, stratum = counts_without_each(resample, range(5))
    assert counts.tolist() == [[0, 0, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 1, 0, 0]]
    assert len(stratum) == 3 and stratum[0] == stratum[1] != stratum[2]
    assert counts_without_each(resample, [0, 3])[0].tolist() == [[0, 1], [1, 0]]


def covered(groups: int, target: float, n: int, seed: int, by_group: bool = True) -> np.ndarray:
    """Whether n intervals hold the true AUC of scores whose groups share a third of the variance."""
    rng = np.random.default_rng(seed)
    each = -(-200 // groups)
    group = np.repeat(np.arange(2 * groups), each)
    y = np.repeat([0, 1], groups * each)
    told = group if by_group else np.arange(len(y))
    resample = JointResample(rows_in_groups(told.astype(str), y), 500, random_state=seed)
    counts, stratum = counts_without_each(resample, range(len(y)))
    drawn = resample.counts(range(len(y)))
    found = np.empty(n, bool)
    for i in range(n):
        shared, own = rng.normal(size=2 * groups)[group], rng.normal(size=len(y))
        scores = norm.ppf(target) * np.sqrt(2) * y + np.sqrt(1 / 3) * shared + np.sqrt(2 / 3) * own
        given = [resampled_auc(y, scores, weights) for weights in (np.ones((1, len(y))), drawn, counts)]
        low, high, _ = bca_interval(given[0][0], given[1], given[2], stratum)
        found[i] = low <= target <= high
    return found


def test_intervals_of_grouped_images_cover():
    assert 0.90 <= covered(groups=30, target=0.9, n=150, seed=3).mean() <= 0.99
    assert (
        covered(groups=30, target=0.9, n=60, seed=3, by_group=False).mean() < 0.88
    )  # as single images: too narrow


@pytest.mark.slow
@pytest.mark.parametrize("target", [0.7, 0.8, 0.95])
@pytest.mark.parametrize("groups", [30, 60])
def test_coverage_is_93_to_97_percent(groups: int, target: float):
    runs = [
        covered(groups, target, 100, seed) for seed in range(10, 20)
    ]  # each with a joint resample of its own
    assert 0.93 <= np.mean(runs) <= 0.97


def test_any_weighted_metric_has_a_clustered_interval():
    rng = np.random.default_rng(4)
    y = np.repeat([0, 1], 60)
    resample = JointResample(rows_in_groups((np.arange(120) // 2).astype(str), y), 300)
    scores = rng.normal(size=(120, 2)) + y[:, None]
    found = clustered_interval(average_precision, y, scores, resample, range(120))
    centre = average_precision(y, scores)
    assert found.corrected.all() and (found.low < centre).all() and (centre < found.high).all()


def test_shapes_that_disagree_are_refused():
    with pytest.raises(InputError, match=r"must agree; given \(\), \(5,\), \(3, 2\) and \(3,\)"):
        bca_interval(0.5, np.ones(5), np.ones((3, 2)))
