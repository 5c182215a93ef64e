"""Whether probabilities mean what they say: Brier score, log loss, calibration error, reliability bins."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from interp.errors import InputError, unknown_name
from interp.protocol.metrics import check_scores, check_weights
from interp.protocol.operating_points import squeeze

BINNINGS = ("width", "mass")


def check_probabilities(y: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as (n,) bool, and probabilities of a fake as (n,) or (n, m) float64 from 0 to 1.

    >>> check_probabilities([0, 1], [-2.3, 1.9])
    Traceback (most recent call last):
    interp.errors.InputError: probabilities lie between 0 and 1; given -2.3 to 1.9. Scores become ... with calibrate
    """
    fake, p = check_scores(y, probability)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise InputError(
            f"probabilities lie between 0 and 1; given {p.min():.3g} to {p.max():.3g}. "
            "Scores become probabilities with calibrate"
        )
    return fake, p


def brier_score(y: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Mean squared distance of the probability of a fake from 1 for fakes, 0 for photographs (Brier 1950).

    0 is perfect; always saying 0.5 gives 0.25. It rewards telling classes apart as well as calibration, and depends
    on the share of fakes.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        probability: (n,) or (n, m) float of a fake, 0 to 1.
        weights: (n,) or (B, n) >= 0: how often each row counts, such as `JointResample.counts`.

    Returns:
        float64 of shape (B,) + (m,), each axis there only where it was given; NaN where no row counts.

    >>> brier_score([0, 1, 1], [0.1, 0.8, 0.4]).round(3)
    np.float64(0.137)
    """
    fake, p = check_probabilities(y, probability)
    columns = p if p.ndim == 2 else p[:, None]
    return _mean((columns - fake[:, None]) ** 2, weights, p)


def log_loss(y: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Mean negative log probability of what the images are, in nats; always saying 0.5 gives 0.693.

    Probabilities nearer to 0 or 1 than 2.2e-16 are put there, as in `sklearn.metrics.log_loss`: one certain
    mistake costs 36.

    Args:
        y, probability, weights: as for `brier_score`.

    Returns:
        As for `brier_score`.

    >>> log_loss([0, 1, 1], [0.1, 0.8, 0.4]).round(3)
    np.float64(0.415)
    """
    fake, p = check_probabilities(y, probability)
    columns = p if p.ndim == 2 else p[:, None]
    eps = np.finfo(np.float64).eps
    of_truth = np.where(fake[:, None], columns, 1 - columns)
    return _mean(-np.log(np.clip(of_truth, eps, 1 - eps)), weights, p)


def calibration_error(
    y: ArrayLike,
    probability: ArrayLike,
    bins: int = 15,
    binning: str = "width",
    weights: ArrayLike | None = None,
) -> np.ndarray:
    """Expected calibration error: how far probabilities and shares of fakes lie apart, averaged over bins.

    The sum over bins of (share of the images in it) x |mean probability - share of fakes|, of the probability
    of a fake (Naeini, Cooper and Hauskrecht 2015; binned as in Guo et al. 2017). It is biased upwards: perfect
    probabilities have a positive one, more so with few images and many bins. `debiased_calibration_error` is not.

    Args:
        y, probability, weights: as for `brier_score`.
        bins: how many.
        binning: "width", (a, b] of equal width from 0 to 1, 0 in the first; "mass", of equally many
            images, where equal probabilities stay in one bin.

    Returns:
        As for `brier_score`.

    >>> calibration_error([0, 0, 1, 1], [0.2, 0.4, 0.4, 0.9], bins=2).round(3)
    np.float64(0.025)
    """
    fake, p = check_probabilities(y, probability)
    rows = check_weights(weights, len(fake))
    columns = p if p.ndim == 2 else p[:, None]
    found = np.empty((len(rows), columns.shape[1]))
    for column, values in enumerate(columns.T):
        for b, row in enumerate(rows):
            code = _bin(values, row, bins, binning)
            gaps = np.bincount(code, row * (values - fake), minlength=bins)
            found[b, column] = np.abs(gaps).sum() / row.sum() if row.any() else np.nan
    return squeeze(found, weights, p)


def debiased_calibration_error(
    y: ArrayLike, probability: ArrayLike, bins: int = 15, binning: str = "mass"
) -> float:
    """Root mean square calibration error without the part that chance alone puts into it.

    From the squared gap of each bin the variance of its share of fakes, r (1 - r) / (n - 1), is taken off (Kumar,
    Liang and Ma 2019, definition 4.2); a negative sum is 0. Bins of one image say nothing and are left out.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        probability: (n,) float of a fake, 0 to 1.
        bins, binning: as for `calibration_error`.

    >>> debiased_calibration_error([0, 0, 1, 1], [0.25, 0.25, 0.75, 0.75], bins=2)
    0.25
    """
    table = reliability_bins(y, probability, bins, binning)
    table = table[table["n"] > 1]
    if table.empty:
        return float("nan")
    n, shown = table["n"].to_numpy(float), table["observed"].to_numpy()
    squared = (table["predicted"].to_numpy() - shown) ** 2 - shown * (1 - shown) / (n - 1)
    return float(np.sqrt(max(0.0, float((n * squared).sum() / n.sum()))))


def reliability_bins(
    y: ArrayLike, probability: ArrayLike, bins: int = 15, binning: str = "width", level: float = 0.95
) -> pd.DataFrame:
    """What a reliability plot shows: for each bin that holds images, what was said and what was seen.

    The interval is Wilson's (1927) for a share of independent images: too narrow where images share a group.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        probability: (n,) float of a fake, 0 to 1.
        bins, binning: as for `calibration_error`.
        level: coverage of the intervals.

    Returns:
        A row for each bin: n; lowest and highest probability in it; predicted, the mean probability; observed, the
        share of fakes, with low and high.

    >>> reliability_bins([0, 0, 1, 1], [0.2, 0.4, 0.4, 0.9], bins=2).round(2)
       n  lowest  highest  predicted  observed   low  high
    0  3     0.2      0.4       0.33      0.33  0.06  0.79
    1  1     0.9      0.9       0.90      1.00  0.21  1.00
    """
    if np.ndim(probability) != 1:
        raise InputError(f"probability must be (n,); given {np.shape(probability)}")
    fake, p = check_probabilities(y, probability)
    code = _bin(p, np.ones(len(p)), bins, binning)
    found, n = np.unique(code, return_counts=True)
    last = np.cumsum(n) - 1  # bins hold stretches of the sorted probabilities
    ranked = np.sort(p)
    observed = np.bincount(code, fake)[found] / n
    low, high = _wilson(observed, n, level)
    return pd.DataFrame(
        {
            "n": n,
            "lowest": ranked[last - n + 1],
            "highest": ranked[last],
            "predicted": np.bincount(code, p)[found] / n,
            "observed": observed,
            "low": low,
            "high": high,
        }
    )


def _wilson(share: np.ndarray, n: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """`scipy.stats.binomtest(...).proportion_ci(method="wilson")` of many shares at once."""
    z = norm.ppf((1 + level) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def _mean(losses: np.ndarray, weights: ArrayLike | None, given: np.ndarray) -> np.ndarray:
    """Weighted mean over rows of losses (n, m)."""
    rows = check_weights(weights, len(losses))
    total = rows.sum(axis=1, keepdims=True)
    return squeeze(rows @ losses / np.where(total > 0, total, np.nan), weights, given)


def _bin(p: np.ndarray, weight: np.ndarray, bins: int, binning: str) -> np.ndarray:
    """(n,) int64, the bin of each probability."""
    if bins < 1:
        raise InputError(f"bins must be 1 or more; given {bins}")
    if binning not in BINNINGS:
        raise unknown_name("binning", binning, BINNINGS)
    if binning == "width" or not weight.any():
        return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p)
    order = np.argsort(p)
    order = order[weight[order] > 0]
    reached = np.cumsum(weight[order])
    shares = np.arange(1, bins) / bins * reached[-1]
    last = np.searchsorted(reached, shares * (1 - 1e-12))  # the row with which a bin is full
    return np.searchsorted(p[order][last], p)
