"""Brier score, log loss and calibration error against scikit-learn, their definitions and planted probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from interp.errors import InputError
from interp.protocol.reliability import (
    BINNINGS,
    brier_score,
    calibration_error,
    debiased_calibration_error,
    log_loss,
    reliability_bins,
)


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities with ties and with 0 and 1 among them."""
    n = draw(st.integers(2, 60))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    return y, np.array(draw(st.lists(st.integers(0, 40), min_size=n, max_size=n))) / 40


def by_hand(y: np.ndarray, p: np.ndarray, bins: int) -> float:
    """The definition, bin by bin of equal width."""
    found = 0.0
    for b in range(bins):
        inside = (p > b / bins) & (p <= (b + 1) / bins) | ((p == 0) & (b == 0))
        if inside.any():
            found += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    return found


@given(judged())
def test_brier_score_and_log_loss_are_scikit_learns(given_rows):
    y, p = given_rows
    assert np.isclose(brier_score(y, p), metrics.brier_score_loss(y, p, pos_label=1), atol=1e-12)
    assert np.isclose(log_loss(y, p), metrics.log_loss(y, p, labels=[0, 1]), atol=1e-9)


@given(judged(), st.sampled_from([1, 3, 7, 15]))
def test_calibration_error_is_its_definition_and_scikit_learns_bins(given_rows, bins: int):
    y, p = given_rows
    p = p * 0.999 + 0.0005  # no probability on the border of two bins
    assert np.isclose(calibration_error(y, p, bins), by_hand(y, p, bins), atol=1e-12)
    shown, said = calibration_curve(y, p, n_bins=bins)
    table = reliability_bins(y, p, bins)
    assert np.allclose(table["observed"], shown) and np.allclose(table["predicted"], said)
    gaps = (table["n"] / len(y) * (table["observed"] - table["predicted"]).abs()).sum()
    assert np.isclose(gaps, calibration_error(y, p, bins), atol=1e-12)


@given(st.permutations(range(24)), st.sampled_from([1, 2, 4, 8]))
def test_bins_of_equal_mass_are_cut_from_the_sorted_rows(order: list[int], bins: int):
    p, y = np.array(order) / 24, np.array(order) % 3 == 0
    parts = np.split(np.argsort(p), bins)
    expected = np.mean([abs(p[part].mean() - y[part].mean()) for part in parts])
    assert reliability_bins(y, p, bins, "mass")["n"].tolist() == [24 // bins] * bins
    assert np.isclose(calibration_error(y, p, bins, "mass"), expected, atol=1e-12)


@given(judged(), st.sampled_from(BINNINGS), st.data())
def test_weights_are_repeated_rows(given_rows, binning: str, data: st.DataObject):
    y, p = given_rows
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(y), max_size=len(y))))
    again = np.repeat(np.arange(len(y)), weights)
    for metric in (
        brier_score,
        log_loss,
        lambda y, p, weights=None: calibration_error(y, p, 5, binning, weights),
    ):
        expected = metric(y[again], p[again])
        assert np.isclose(metric(y, p, weights), expected, atol=1e-12, equal_nan=True)


@given(judged(), st.sampled_from(BINNINGS))
def test_equal_probabilities_share_a_bin_and_all_rows_are_in_one(given_rows, binning: str):
    y, p = given_rows
    table = reliability_bins(y, p, 6, binning)
    assert table["n"].sum() == len(y)
    assert (table["highest"].to_numpy()[:-1] < table["lowest"].to_numpy()[1:]).all()
    assert ((table["low"] <= table["observed"] + 1e-12) & (table["observed"] <= table["high"] + 1e-12)).all()


@pytest.mark.parametrize(("fakes", "n"), [(0, 5), (3, 10), (7, 7), (40, 90)])
def test_intervals_of_bins_are_scipys_wilson_intervals(fakes: int, n: int):
    row = reliability_bins(np.arange(n) < fakes, np.full(n, 0.4), level=0.9).iloc[0]
    expected = binomtest(fakes, n).proportion_ci(0.9, method="wilson")
    assert np.allclose([row["low"], row["high"]], [expected.low, expected.high], atol=1e-12)


def test_columns_and_resamples_are_judged_one_by_one():
    rng = np.random.default_rng(0)
    y, p = rng.integers(2, size=40), rng.uniform(size=(40, 3))
    counts = rng.multinomial(40, np.full(40, 1 / 40), size=4)
    for metric in (
        brier_score,
        log_loss,
        lambda y, p, weights=None: calibration_error(y, p, weights=weights),
    ):
        found = metric(y, p, weights=counts)
        assert found.shape == (4, 3) and metric(y, p).shape == (3,)
        assert np.isclose(found[2, 1], metric(y, p[:, 1], weights=counts[2]))
    assert np.isnan(brier_score([], [])) and np.isnan(calibration_error([0, 1], [0.2, 0.3], weights=[0, 0]))


def test_the_debiased_error_by_hand():
    y, p = np.repeat([0, 1, 0, 1], [6, 4, 1, 9]), np.repeat([0.3, 0.8], 10)
    squared = [0.1**2 - 0.4 * 0.6 / 9, 0.1**2 - 0.9 * 0.1 / 9]
    assert np.isclose(debiased_calibration_error(y, p), np.sqrt(max(0, np.mean(squared))))
    y, p = np.repeat([0, 1, 0, 1], [5, 5, 1, 9]), np.repeat([0.1, 0.7], 10)
    squared = [0.4**2 - 0.5 * 0.5 / 9, 0.2**2 - 0.9 * 0.1 / 9]
    assert np.isclose(debiased_calibration_error(y, p), np.sqrt(np.mean(squared)))


def test_true_probabilities_have_no_debiased_error_but_a_calibration_error():
    rng = np.random.default_rng(1)
    plain, squared = [], []
    for _ in range(300):
        p = rng.uniform(size=300)
        y = rng.uniform(size=300) < p
        plain.append(float(calibration_error(y, p)))
        squared.append(np.mean(_signed(y, p)))
    assert np.mean(plain) > 0.05  # chance alone
    assert abs(np.mean(squared)) < 3 * np.std(squared) / np.sqrt(300)  # nothing is left of it


def _signed(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Squared debiased gaps of equal bins, negative ones kept: what the root is taken of."""
    table = reliability_bins(y, p, binning="mass")
    n, shown = table["n"], table["observed"]
    return ((table["predicted"] - shown) ** 2 - shown * (1 - shown) / (n - 1)).to_numpy()


def test_a_planted_error_is_found():
    rng = np.random.default_rng(2)
    p = rng.uniform(0.2, 0.8, size=30_000)
    y = rng.uniform(size=30_000) < p + 0.1
    assert np.isclose(calibration_error(y, p), 0.1, atol=0.01)
    assert np.isclose(calibration_error(y, p, binning="mass"), 0.1, atol=0.01)
    assert np.isclose(debiased_calibration_error(y, p), 0.1, atol=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: brier_score([0, 1], [0.1, 1.2]), "lie between 0 and 1; given 0.1 to 1.2. Scores become"),
        (lambda: calibration_error([0, 1], [0.1, 0.2], bins=0), "bins must be 1 or more; given 0"),
        (
            lambda: calibration_error([0, 1], [0.1, 0.2], binning="widths"),
            "unknown binning 'widths'; did you mean",
        ),
        (lambda: reliability_bins([0, 1], [[0.1], [0.2]]), r"must be \(n,\); given \(2, 1\)"),
    ],
)
def test_wrong_requests_are_refused(call, message: str):
    with pytest.raises(InputError, match=message):
        call()
