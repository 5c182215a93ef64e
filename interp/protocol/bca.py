"""Bootstrap intervals that correct for bias and skew, for images drawn by group and photograph."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from interp.errors import InputError
from interp.protocol.intervals import percentile_interval
from interp.protocol.resampling import JointResample

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Takes y (n,), scores (n,) or (n, m) and weights (B, n), gives (B,) or (B, m): `resampled_auc` is one."""


class BootstrapInterval(NamedTuple):
    """Ends of an interval, and where they are corrected; elsewhere they are plain percentiles."""

    low: np.ndarray
    high: np.ndarray
    corrected: np.ndarray


def bca_interval(
    observed: ArrayLike,
    resampled: ArrayLike,
    left_out: ArrayLike,
    stratum: ArrayLike | None = None,
    level: float = 0.95,
    expanded: bool = True,
) -> BootstrapInterval:
    """Bias-corrected and accelerated interval (Efron 1987), with the acceleration of a jackknife over clusters.

    The acceleration for several strata is that of `scipy.stats.bootstrap` for several samples. Few clusters
    resample too narrowly, so the normal quantiles are replaced by Student's times the square root of n / (n - 1)
    (the expanded interval of Hesterberg 2015); n and the degrees of freedom (Satterthwaite 1946) are weighed over
    the strata by what they contribute.

    The theory is for smooth numbers: AUC, average precision, Brier, rates at a fixed threshold; for TPR at an FPR and
    the equal error rate see docs/statistics.md. Percentiles are what stays where the correction does not exist: all
    resamples on one side of what was observed or all alike, or nothing that changes when a cluster is left out.

    Args:
        observed: (...) the numbers on all images.
        resampled: (B, ...) the same under each resample; NaN ones are left out.
        left_out: (U, ...) the same without each cluster; clusters without which there is none (NaN) are skipped.
        stratum: (U,) which clusters were drawn together; by default all.
        level: coverage.
        expanded: widen for few clusters; without it the interval is Efron's own.

    Returns:
        `BootstrapInterval`: low, high (...) float64, corrected (...) bool.

    >>> rng = np.random.default_rng(0)
    >>> sample = rng.exponential(size=40)
    >>> means = rng.choice(sample, size=(2000, 40)).mean(axis=1)
    >>> found = bca_interval(sample.mean(), means, (sample.sum() - sample) / 39)
    >>> low, high = percentile_interval(means)
    >>> bool(found.corrected), bool(found.low > low and found.high > high)  # a skewed sample: both ends move up
    (True, True)
    """
    values, draws, without = (
        np.asarray(given, dtype=np.float64) for given in (observed, resampled, left_out)
    )
    code = np.zeros(len(without), np.int64) if stratum is None else np.asarray(stratum)
    if (
        draws.shape[1:] != values.shape
        or without.shape[1:] != values.shape
        or code.shape != without.shape[:1]
    ):
        raise InputError(
            f"observed (...), resampled (B, ...), left_out (U, ...) and stratum (U,) must agree; given "
            f"{values.shape}, {draws.shape}, {without.shape} and {code.shape}"
        )
    influence = np.full(without.shape, np.nan)
    for one in np.unique(code):
        left = without[code == one]
        known = ~np.isnan(left)
        n = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, left, 0).sum(axis=0) / n
        influence[code == one] = (n - 1) / n * (mean - left)
    return bca_from_influence(values, draws, influence, code, level, expanded)


def bca_from_influence(
    observed: ArrayLike,
    resampled: ArrayLike,
    influence: np.ndarray,
    stratum: np.ndarray,
    level: float = 0.95,
    expanded: bool = True,
) -> BootstrapInterval:
    """The same interval from what each cluster contributes to the number, where a formula for that is known.

    Args:
        observed, resampled, stratum, level, expanded: as in `bca_interval`.
        influence: (U, ...) contributions, whose sum of squares is the variance; NaN for a cluster that has none. For
            an AUC, sums of `interp.protocol.metrics.auc_influence` over the images of a cluster.

    >>> sample = np.random.default_rng(0).exponential(size=40)
    >>> means = np.random.default_rng(1).choice(sample, size=(2000, 40)).mean(axis=1)
    >>> one = bca_from_influence(sample.mean(), means, (sample - sample.mean()) / 40, np.zeros(40))
    >>> other = bca_interval(sample.mean(), means, (sample.sum() - sample) / 39)
    >>> bool(np.allclose(one[:2], other[:2]))
    True
    """
    plain_low, plain_high = percentile_interval(resampled, level)
    values, draws = (np.asarray(given, dtype=np.float64) for given in (observed, resampled))
    known = (~np.isnan(draws)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = ((draws < values).sum(axis=0) + (draws <= values).sum(axis=0)) / (2 * known)
        bias, (skew, widen, df) = norm.ppf(below), _shape(influence, stratum)
        tail = (1 + level) / 2
        reach = widen * t.ppf(tail, df) if expanded else norm.ppf(tail)
        levels = [
            norm.cdf(bias + z / np.where(skew * z < 1, 1 - skew * z, np.nan))
            for z in (bias - reach, bias + reach)
        ]
    corrected = np.isfinite(bias) & np.isfinite(levels[0]) & np.isfinite(levels[1])
    low, high = np.array(plain_low), np.array(plain_high)
    for at in np.ndindex(values.shape):
        if corrected[at]:
            low[at], high[at] = np.nanquantile(draws[(slice(None), *at)], [levels[0][at], levels[1][at]])
    return BootstrapInterval(low, high, corrected)


def _shape(influence: np.ndarray, stratum: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sixth of the skewness of what clusters contribute; how far resamples are too narrow; degrees of freedom."""
    cubes, squares, unbiased, spread = (np.zeros(influence.shape[1:]) for _ in range(4))
    for one in np.unique(stratum):
        values = influence[stratum == one]
        n = (~np.isnan(values)).sum(axis=0)
        values = np.nan_to_num(values)
        cubes += (values**3).sum(axis=0)
        square = (values**2).sum(axis=0)
        variance = square * n / np.maximum(n - 1, 1)
        squares, unbiased = squares + square, unbiased + variance
        spread += variance**2 / np.maximum(n - 1, 1)
    some = np.where(squares > 1e-30, squares, np.nan)
    return (
        cubes / (6 * some**1.5),
        np.sqrt(unbiased / some),
        unbiased**2 / np.where(spread > 0, spread, np.nan),
    )


def counts_without_each(resample: JointResample, positions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The jackknife beside a joint resample: all rows at `positions` once, but for those of one unit.

    Args:
        resample: how units were drawn.
        positions: (n,) rows of the table that it was made for.

    Returns:
        counts (U, n) float32, a row for each unit that any of these rows belongs to; stratum (U,) int64 of it.
    """
    of_rows = resample.unit[np.asarray(positions, dtype=np.int64)]
    present = np.unique(of_rows)
    return (of_rows != present[:, None]).astype(np.float32), resample.stratum[present]


def clustered_interval(
    metric: Metric,
    y: ArrayLike,
    scores: ArrayLike,
    resample: JointResample,
    positions: ArrayLike,
    level: float = 0.95,
) -> BootstrapInterval:
    """The interval of a metric, as other images of the same generators, groups and photographs would give it.

    Args:
        metric: `resampled_auc`, `average_precision`, `brier_score` or another of (y, scores, weights).
        y, scores: (n,), and (n,) or (n, m), of the rows at `positions`.
        resample: the joint resample of the table they are rows of.
        positions: (n,) where they stand in it.
        level: coverage.

    >>> import pandas as pd
    >>> from interp.protocol.resampling import resampled_auc
    >>> rng = np.random.default_rng(0)
    >>> rows = pd.DataFrame({"label": ["real"] * 60 + ["fake"] * 60, "group": [str(i // 2) for i in range(120)]})
    >>> rows["generator"] = rows["label"].replace("fake", "glide")
    >>> y = np.repeat([0, 1], 60)
    >>> scores = rng.normal(size=120) + y
    >>> found = clustered_interval(resampled_auc, y, scores, JointResample(rows, 500), range(120))
    >>> found.low.round(2), found.high.round(2), bool(found.corrected)
    (np.float64(0.66), np.float64(0.84), True)
    """
    labels, values = np.asarray(y), np.asarray(scores)
    counts, stratum = counts_without_each(resample, positions)
    observed = metric(labels, values, np.ones((1, len(labels))))[0]
    resampled = metric(labels, values, resample.counts(positions))
    return bca_interval(observed, resampled, metric(labels, values, counts), stratum, level)
