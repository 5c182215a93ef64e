"""How far a number can be trusted: intervals over resamples and over generator families, p-values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t

from interp.errors import InputError
from interp.protocol.resampling import JointResample, derive_seed, resampled_auc

__all__ = [
    "Interval",
    "JointResample",
    "derive_seed",
    "holm",
    "percentile_interval",
    "resampled_auc",
    "two_sided_p",
    "two_way_interval",
]


@dataclass(frozen=True)
class Interval:
    """A mean over cells and what is known about it; `low` and `high` are NaN where `reason` says why.

    `df` are the degrees of freedom of the t quantile, `level` the asked coverage.
    """

    mean: float
    low: float
    high: float
    level: float
    n_train_clusters: int
    n_test_clusters: int
    df: int
    reason: str = ""


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.95; given {level}")


def _resamples(values: ArrayLike) -> np.ndarray:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim == 0 or not len(given):
        raise InputError(f"values must be (B, ...) with at least one resample; given shape {given.shape}")
    return given


def percentile_interval(values: ArrayLike, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The middle `level` of resampled values: (B, ...) gives low (...) and high (...), float64.

    Resamples that are NaN (they hold no image of a class) are left out; all of them NaN gives NaN.

    >>> low, high = percentile_interval(np.arange(101) / 100, level=0.9)
    >>> round(float(low), 3), round(float(high), 3)
    (0.05, 0.95)
    """
    check_level(level)
    given = _resamples(values)
    tail = (1 - level) / 2
    known = given.copy()
    empty = np.isnan(given).all(axis=0)
    known[:, empty] = 0
    low, high = np.nanquantile(known, [tail, 1 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def two_sided_p(values: ArrayLike) -> np.ndarray:
    """Bootstrap p of differences against 0: (B, ...) gives (...) float64, at least 2 / (B + 1).

    Twice the smaller of the shares of resamples at or beyond 0 on either side, the observed one counted in,
    at most 1. NaN resamples are left out; all of them NaN gives NaN.

    >>> two_sided_p([0.1, 0.2, 0.3, -0.1])
    array(0.8)
    """
    given = _resamples(values)
    known = (~np.isnan(given)).sum(axis=0)
    smaller = np.minimum((given <= 0).sum(axis=0), (given >= 0).sum(axis=0))
    return np.where(known == 0, np.nan, np.minimum(1.0, 2 * (1 + smaller) / (known + 1)))


def two_way_interval(
    cells: pd.DataFrame,
    value: str = "value",
    train: str = "train_cluster",
    test: str = "test_cluster",
    level: float = 0.95,
) -> Interval:
    """An interval for the mean over cells of a transfer table, as other generator families would give it.

    Cells that share the train family, or the test family, go up and down together. The variance is two-way
    cluster robust (Cameron, Gelbach and Miller 2011: train + test - cell, each with its own G / (G - 1));
    where that is not positive, the largest of the three. The quantile is Student's t with the smaller number
    of clusters - 1 degrees of freedom.

    Args:
        cells: A row a cell, with its value and the generator family of its train and of its test generator.
        value, train, test: Names of these columns.
        level: Coverage.

    Raises:
        InputError: When a column is absent, or a value or family is missing.

    >>> cells = pd.DataFrame({"value": [0.7, 0.9, 0.6, 0.8]})
    >>> cells["train_cluster"], cells["test_cluster"] = list("aabb"), list("cdcd")
    >>> found = two_way_interval(cells)
    >>> round(found.mean, 2), found.df, found.low < 0.5 < found.high
    (0.75, 1, True)
    >>> two_way_interval(cells[:2]).reason
    'all cells have one train cluster; two at least tell how much another one would change'
    """
    check_level(level)
    for name in (value, train, test):
        if name not in cells.columns:
            raise InputError(f"the cells have no column {name!r}; given {', '.join(map(str, cells.columns))}")
    values = cells[value].to_numpy(np.float64)
    missing = int((~np.isfinite(values)).sum()) + int(cells[[train, test]].isna().to_numpy().sum())
    if missing or not len(values):
        raise InputError(
            f"{missing} values or clusters of {len(values)} cells are missing; an interval needs cells that "
            "all have both: drop the others and say so"
        )
    residual = values - values.mean()
    codes = [pd.factorize(cells[name])[0] for name in (train, test)]
    both = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)[1].ravel()
    of_train, of_test, of_cell = (_variance_of_mean(residual, code) for code in (*codes, both))
    variance = of_train + of_test - of_cell
    if not variance > 0:
        variance = max(of_train, of_test, of_cell)
    n_train, n_test = (int(code.max()) + 1 for code in codes)
    df = min(n_train, n_test) - 1
    mean = float(values.mean())
    if df < 1:
        side = "train" if n_train < 2 else "test"
        reason = f"all cells have one {side} cluster; two at least tell how much another one would change"
        return Interval(mean, float("nan"), float("nan"), level, n_train, n_test, df, reason)
    half = float(t.ppf((1 + level) / 2, df) * np.sqrt(variance))
    return Interval(mean, mean - half, mean + half, level, n_train, n_test, df)


def _variance_of_mean(residual: np.ndarray, cluster: np.ndarray) -> float:
    """One-way cluster-robust variance of a mean; 0 with a single cluster."""
    sums = np.bincount(cluster, weights=residual)
    return float((sums**2).sum() / len(residual) ** 2 * len(sums) / max(len(sums) - 1, 1))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjust p-values for several tests (Holm 1979): (m,) float64, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise InputError(f"p-values must be (m,) numbers from 0 to 1; given {p.ravel()[:5].tolist()}")
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
