"""Intervals cover, p-values hold their level, and what cannot be known says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from interp.errors import InputError
from interp.protocol.intervals import holm, percentile_interval, two_sided_p, two_way_interval


def test_percentiles_are_taken_along_the_resamples():
    values = np.random.default_rng(0).normal(size=(500, 3, 2))
    low, high = percentile_interval(values, level=0.8)
    assert low.shape == high.shape == (3, 2)
    assert np.allclose([low, high], np.quantile(values, [0.1, 0.9], axis=0))


def test_resamples_without_a_value_are_left_out():
    values = np.array([[0.1, np.nan], [np.nan, np.nan], [0.3, np.nan]])
    low, high = percentile_interval(values, level=0.5)
    assert np.allclose([low[0], high[0]], [0.15, 0.25]) and np.isnan([low[1], high[1]]).all()
    assert np.isclose(two_sided_p(values)[0], 2 / 3) and np.isnan(two_sided_p(values)[1])


def test_two_sided_p_counts_both_sides():
    values = np.concatenate([-np.ones(10), np.ones(989)])
    assert np.isclose(two_sided_p(values), 2 * 11 / 1000)
    assert np.isclose(two_sided_p(-values), two_sided_p(values))
    assert np.isclose(two_sided_p(np.ones(999)), 2 / 1000)
    assert two_sided_p(np.zeros(99)) == 1


def test_bootstrap_p_of_no_difference_is_rarely_small():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(400, 60))
    counts = rng.multinomial(60, np.full(60, 1 / 60), size=500)
    p = two_sided_p(counts @ samples.T / 60)
    assert p.shape == (400,) and 0.02 < (p < 0.05).mean() < 0.09


def table(
    rng: np.random.Generator, trains: int, tests: int, shares: tuple[float, float, float]
) -> pd.DataFrame:
    """A table with a random effect of the train family, of the test family, and of the cell."""
    train, test = (axis.ravel() for axis in np.indices((trains, tests)))
    of_train, of_test, of_cell = (
        scale * rng.normal(size=size) for scale, size in zip(shares, (trains, tests, len(train)), strict=True)
    )
    value = 0.7 + of_train[train] + of_test[test] + of_cell
    return pd.DataFrame({"value": value, "train_cluster": train, "test_cluster": test})


@pytest.mark.parametrize("shares", [(0.1, 0.1, 0.1), (0.1, 0.0, 0.05), (0.0, 0.0, 0.1)])
def test_the_two_way_interval_covers(shares: tuple[float, float, float]):
    rng = np.random.default_rng(2)
    found = [two_way_interval(table(rng, 8, 8, shares)) for _ in range(400)]
    assert np.mean([one.low <= 0.7 <= one.high for one in found]) >= 0.90


def test_taking_cells_for_independent_would_not_cover():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        cells = table(rng, 8, 8, (0.1, 0.1, 0.1))
        by_cell = two_way_interval(cells.assign(train_cluster=range(64), test_cluster=range(64)))
        covered.append(by_cell.low <= 0.7 <= by_cell.high)
    assert np.mean(covered) < 0.75


@given(st.lists(st.floats(0, 1), min_size=3, max_size=20))
def test_clusters_of_one_cell_give_students_interval(values: list[float]):
    cells = pd.DataFrame({"auc": values, "a": range(len(values)), "b": range(len(values))})
    found = two_way_interval(cells, "auc", "a", "b", level=0.9)
    half = t.ppf(0.95, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    assert np.allclose([found.low, found.high], [np.mean(values) - half, np.mean(values) + half], atol=1e-9)


def test_the_variance_is_train_plus_test_minus_cell():
    """Worked by hand: residuals -.2 .0 .1 .1; train sums -.2 .2, test sums -.1 .1."""
    cells = pd.DataFrame(
        {"value": [0.5, 0.7, 0.8, 0.8], "train_cluster": list("aabb"), "test_cluster": list("cdcd")}
    )
    variance = 2 * 0.08 / 16 + 2 * 0.02 / 16 - 4 / 3 * 0.06 / 16
    found = two_way_interval(cells)
    assert np.isclose(found.high - found.mean, t.ppf(0.975, 1) * np.sqrt(variance))
    crossed = two_way_interval(cells.assign(value=[0.6, 0.8, 0.8, 0.6]))  # 0 + 0 - cell is negative
    assert np.isclose(crossed.high - crossed.mean, t.ppf(0.975, 1) * np.sqrt(4 / 3 * 0.04 / 16))


def test_one_family_on_a_side_has_no_interval_and_says_why():
    cells = table(np.random.default_rng(4), 1, 5, (0.1, 0.1, 0.1))
    found = two_way_interval(cells)
    assert np.isclose(found.mean, cells["value"].mean()) and np.isnan([found.low, found.high]).all()
    assert "all cells have one train cluster" in found.reason and found.n_test_clusters == 5
    swapped = two_way_interval(cells, train="test_cluster", test="train_cluster")
    assert "all cells have one test cluster" in swapped.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cells: cells.rename(columns={"value": "auc"}), "no column 'value'; given auc"),
        (
            lambda cells: cells.assign(value=[np.nan] + [0.5] * 3),
            "1 values or clusters of 4 cells are missing",
        ),
        (lambda cells: cells.assign(test_cluster=[None, "a", "b", "a"]), "1 values or clusters of 4 cells"),
        (lambda cells: cells[:0], "of 0 cells"),
    ],
)
def test_incomplete_cells_are_refused(change, message: str):
    with pytest.raises(InputError, match=message):
        two_way_interval(change(table(np.random.default_rng(5), 2, 2, (1, 1, 1))))


def test_holm_by_hand():
    assert np.allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert np.allclose(holm([0.5, 0.9]), [1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(values: list[float]):
    p = np.array(values)
    adjusted = holm(p)
    assert np.all(adjusted >= p) and np.all(adjusted <= np.minimum(1, len(p) * p))
    assert np.all(np.diff(adjusted[np.argsort(p)]) >= 0)
    assert np.isclose(adjusted.min(), min(1, len(p) * p.min()))


def test_impossible_requests_are_refused():
    with pytest.raises(InputError, match="numbers from 0 to 1"):
        holm([0.5, np.nan])
    with pytest.raises(InputError, match="level must lie between 0 and 1, such as 0.95; given 95"):
        percentile_interval(np.ones(3), level=95)
    with pytest.raises(InputError, match="at least one resample"):
        two_sided_p([])
