"""How well predicted quality agrees with people's: rank and linear correlation with mean opinion scores."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import expit
from scipy.stats import kendalltau, pearsonr, spearmanr, t

from interp.errors import InputError


class Agreement(NamedTuple):
    """Correlations of predictions with mean opinion scores.

    `srcc` is Spearman's, `krcc` Kendall's τ-b, `plcc` Pearson's; `plcc_fitted` is Pearson's after a logistic curve with
    four parameters, fitted to these very rows, as image quality studies report it. NaN where a side is constant.
    """

    srcc: float
    plcc: float
    krcc: float
    plcc_fitted: float


def quality_agreement(opinions: ArrayLike, predicted: ArrayLike) -> Agreement:
    """Agreement of predictions with mean opinion scores.

    Args:
        opinions: (n,) mean opinion scores, higher is better; at least 3.
        predicted: (n,) predictions, of any scale.

    Raises:
        InputError: other shapes, or a value that is not finite.

    >>> found = quality_agreement([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 9.0, 16.0])
    >>> found.srcc, found.krcc, round(found.plcc, 3)
    (1.0, 1.0, 0.984)
    """
    y, x = np.asarray(opinions, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or x.shape != y.shape or len(y) < 3:
        raise InputError(
            f"opinions and predictions must be (n,) of one length, 3 or more; given {y.shape} and {x.shape}"
        )
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise InputError("opinions and predictions must be finite; drop rows without an opinion or a score")
    if np.ptp(y) == 0 or np.ptp(x) == 0:
        return Agreement(np.nan, np.nan, np.nan, np.nan)
    srcc, plcc, krcc = (float(measure(y, x)[0]) for measure in (spearmanr, pearsonr, kendalltau))
    return Agreement(srcc, plcc, krcc, _fitted(y, x))


def repeated_splits_interval(
    gains: ArrayLike, n_train: float, n_test: float, level: float = 0.95
) -> tuple[float, float]:
    """Interval for the mean gain over repeated random splits of one set of images.

    Splits share images, so their gains are not independent and the usual standard error is too small. Nadeau and Bengio
    2003 put 1 / k + n_test / n_train in the place of 1 / k.

    Args:
        gains: (k,) one difference for each split.
        n_train, n_test: images that are fitted on and judged on in one split.
        level: coverage.

    >>> low, high = repeated_splits_interval([0.1, 0.2, 0.15, 0.12], n_train=80, n_test=20)
    >>> round(low, 3), round(high, 3)
    (0.045, 0.24)
    """
    values = np.asarray(gains, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not (n_train > 0 and n_test > 0):
        raise InputError("an interval needs the gains of two splits or more, with rows to train and to test")
    error = np.sqrt(values.var(ddof=1) * (1 / len(values) + n_test / n_train))
    half = float(t.ppf((1 + level) / 2, len(values) - 1) * error)
    return float(values.mean() - half), float(values.mean() + half)


def _fitted(y: np.ndarray, x: np.ndarray) -> float:
    """Pearson's correlation after y ≈ low + (high - low) σ((x - middle) / scale); without a fit, of x itself."""

    def curve(z: np.ndarray, low: float, high: float, middle: float, scale: float) -> np.ndarray:
        return low + (high - low) * expit((z - middle) / (abs(scale) + 1e-12))

    z = (x - x.mean()) / x.std()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)
            best, _ = curve_fit(curve, z, y, p0=[y.min(), y.max(), 0.0, 1.0], maxfev=5000)
    except RuntimeError:
        return float(pearsonr(y, x)[0])
    fitted = curve(z, *best)
    return float(pearsonr(y, fitted)[0]) if np.ptp(fitted) > 0 else float(pearsonr(y, x)[0])
