"""Agreement with opinion scores: invariances, reference values, and the interval over repeated splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.protocol.quality import quality_agreement, repeated_splits_interval


@given(st.integers(0, 20))
def test_ranks_ignore_any_rising_map_and_lines_ignore_scale(seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=40)
    x = y + rng.normal(size=40)
    plain, bent = quality_agreement(y, x), quality_agreement(y, np.exp(x))
    assert (plain.srcc, plain.krcc) == pytest.approx((bent.srcc, bent.krcc))
    assert quality_agreement(y, 3 * x + 2).plcc == pytest.approx(plain.plcc)
    assert quality_agreement(y, -x).srcc == pytest.approx(-plain.srcc)


def test_a_logistic_relation_is_linear_once_fitted():
    x = np.linspace(-4, 4, 60)
    found = quality_agreement(1 + 4 / (1 + np.exp(-2 * x)), x)
    assert found.srcc == 1 and found.plcc < 0.96 and found.plcc_fitted == pytest.approx(1, abs=1e-4)


def test_constant_predictions_have_no_correlation_and_nan_is_refused():
    assert np.isnan(quality_agreement([1, 2, 3], [5, 5, 5])).all()
    with pytest.raises(InputError, match="must be finite"):
        quality_agreement([1, 2, np.nan], [1, 2, 3])


def test_the_interval_covers_where_the_plain_one_does_not():
    """Ten random halves of one sample: the plain interval is too narrow for the mean of the population."""
    rng = np.random.default_rng(0)
    covered, naive = 0, 0
    for _ in range(300):
        values = rng.normal(size=60)
        gains = np.array([values[rng.permutation(60)[:12]].mean() for _ in range(10)])
        low, high = repeated_splits_interval(gains, n_train=48, n_test=12)
        half = 2.262 * gains.std(ddof=1) / np.sqrt(10)
        covered += low <= 0 <= high
        naive += abs(gains.mean()) <= half
    assert covered / 300 > 0.9 > naive / 300
