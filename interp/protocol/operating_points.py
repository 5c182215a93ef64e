"""Numbers read off the curve of true against false positives: average precision, TPR at an FPR, equal error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.protocol.metrics import check_scores, check_weights

_CHUNK = 4_000_000  # numbers held at once
_ROUNDING = 1e-12  # a share that exceeds a level by less than this does not exceed it

Reading = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""What is read off curves: fakes (B, k) and photographs (B, k) called fake, and the totals (B, 1) of each."""


class Rates(NamedTuple):
    """Shares of the fakes and of the photographs that are called fake at a threshold."""

    tpr: np.ndarray
    fpr: np.ndarray

    @property
    def balanced_accuracy(self) -> np.ndarray:
        """Mean of the shares of fakes and of photographs that are called what they are."""
        return (self.tpr + 1 - self.fpr) / 2


def average_precision(y: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Mean precision over the fakes, each at the threshold that just finds it; ties are found together.

    The sum over distinct scores of (recall gained) x (precision there), without interpolation, as
    `sklearn.metrics.average_precision_score`. It depends on the share of fakes, so two sets are comparable only
    where these are equal.

    Args:
        y: (n,) 1 for a fake, 0 for a photograph.
        scores: (n,) or (n, m) float, higher for fakes.
        weights: (n,) or (B, n) >= 0: how often each row counts, such as `JointResample.counts`.

    Returns:
        float64 of shape (B,) + (m,), each axis there only where it was given; NaN where a class is missing.

    >>> average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).round(3)
    np.float64(0.833)
    """

    def read(fakes: np.ndarray, real: np.ndarray, n_fake: np.ndarray, n_real: np.ndarray) -> np.ndarray:
        called = fakes + real
        precision = np.divide(fakes, called, out=np.zeros_like(fakes), where=called > 0)
        return (np.diff(fakes, axis=1, prepend=0) * precision).sum(axis=1) / n_fake[:, 0]

    return _read_curves(y, scores, weights, read)


def tpr_at_fpr(
    y: ArrayLike, scores: ArrayLike, fpr: float = 0.05, weights: ArrayLike | None = None
) -> np.ndarray:
    """The largest share of fakes that a threshold finds while it calls at most `fpr` of the photographs fake.

    A threshold lies between two distinct scores, so images that tie are called alike, and nothing is interpolated:
    this is the largest ``tpr`` of `sklearn.metrics.roc_curve` whose ``fpr`` is at most the level (its point at
    an infinite threshold counts, so 0 is the least), and no operating point that does not exist is reported. The
    threshold is chosen on the rows themselves: the number ranks detectors; what a chosen threshold does on new
    images is `rates_at` of `threshold_for_fpr`.

    Args:
        y, scores, weights: as for `average_precision`.
        fpr: from 0 to 1.

    Returns:
        As for `average_precision`.

    >>> tpr_at_fpr([0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 6, 4, 5, 7, 8], fpr=0.05), tpr_at_fpr([0, 1], [1, 1], 0.5)
    (array(0.5), array(0.))
    """
    if not 0 <= fpr <= 1:
        raise InputError(f"a false positive rate lies between 0 and 1, such as 0.05; given {fpr}")

    def read(fakes: np.ndarray, real: np.ndarray, n_fake: np.ndarray, n_real: np.ndarray) -> np.ndarray:
        allowed = real / n_real <= fpr + _ROUNDING
        return np.where(allowed, fakes / n_fake, 0.0).max(axis=1, initial=0.0)

    return _read_curves(y, scores, weights, read)


def equal_error_rate(y: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """The error at which as large a share of fakes is missed as of photographs is called fake.

    Where no threshold gives equal shares, the curve of true against false positives is taken as straight between
    its two nearest points: on it lies the randomised threshold that does.

    Args:
        y, scores, weights: as for `average_precision`.

    Returns:
        As for `average_precision`: 0 for perfect scores, 0.5 for scores that say nothing.

    >>> equal_error_rate([0, 0, 0, 1, 1, 1], [1, 2, 5, 3, 4, 6]).round(3)
    np.float64(0.333)
    """

    def read(fakes: np.ndarray, real: np.ndarray, n_fake: np.ndarray, n_real: np.ndarray) -> np.ndarray:
        start = np.zeros((len(fakes), 1))
        false, found = np.hstack([start, real / n_real]), np.hstack([start, fakes / n_fake])
        excess = false + found - 1  # false alarms minus misses, from -1 to 1
        every, end = np.arange(len(excess)), np.argmax(excess >= 0, axis=1)
        before, after = excess[every, end - 1], excess[every, end]
        along = before / (before - after)
        return false[every, end - 1] + along * (false[every, end] - false[every, end - 1])

    return _read_curves(y, scores, weights, read)


def rates_at(
    y: ArrayLike, scores: ArrayLike, threshold: ArrayLike, weights: ArrayLike | None = None
) -> Rates:
    """What a threshold that was chosen on other rows does on these; a score equal to it counts as a photograph.

    Args:
        y, scores, weights: as for `average_precision`.
        threshold: one number, or (m,) for scores (n, m).

    Returns:
        `Rates`: tpr and fpr, each shaped as `average_precision` is.

    >>> found = rates_at([0, 0, 1, 1], [-1.0, 0.5, 2.0, 3.0], threshold=0.0)
    >>> found.tpr, found.fpr, found.balanced_accuracy
    (array(1.), array(0.5), np.float64(0.75))
    """
    fake, values = check_scores(y, scores)
    rows = check_weights(weights, len(fake))
    called = values > np.asarray(threshold, dtype=np.float64)
    called = called if called.ndim == 2 else called[:, None]
    n_fake, n_real = _totals(rows, fake)
    rates = (rows[:, of] @ called[of] / total for of, total in ((fake, n_fake), (~fake, n_real)))
    either = np.where((n_fake > 0) & (n_real > 0), 0.0, np.nan)
    tpr, fpr = (squeeze(rate + either, weights, values) for rate in rates)
    return Rates(tpr, fpr)


def squeeze(found: np.ndarray, weights: ArrayLike | None, values: np.ndarray) -> np.ndarray:
    """Take (B, m) results back to the axes that were given: B where weights are (B, n), m where scores are (n, m)."""
    found = found if np.ndim(weights) == 2 else found[0]  # type: ignore[arg-type]
    return found if values.ndim == 2 else found[..., 0]


def _totals(rows: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, 1) weight of the fakes and of the photographs, NaN where it is 0."""
    totals = (rows[:, of].sum(axis=1, keepdims=True) for of in (fake, ~fake))
    n_fake, n_real = (np.where(total > 0, total, np.nan) for total in totals)
    return n_fake, n_real


def _read_curves(y: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, read: Reading) -> np.ndarray:
    """Build the curve of each column under each row of weights, and read a number off each."""
    fake, values = check_scores(y, scores)
    rows = check_weights(weights, len(fake))
    columns = values if values.ndim == 2 else values[:, None]
    found = np.full((len(rows), columns.shape[1]), np.nan)
    step = max(1, _CHUNK // max(len(fake), 1))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        n_fake, n_real = _totals(part, fake)
        both = np.flatnonzero(np.isfinite(n_fake + n_real))
        if not len(both):
            continue
        part, n_fake, n_real = part[both], n_fake[both], n_real[both]
        for column, score in enumerate(columns.T):
            order = np.argsort(-score)
            ranked = score[order]
            ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
            fakes, real = (np.cumsum(part[:, order] * of[order], axis=1)[:, ends] for of in (fake, ~fake))
            found[start + both, column] = read(fakes, real, n_fake, n_real)
    return squeeze(found, weights, values)
