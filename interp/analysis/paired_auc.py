"""What one set of scores gains in AUC over another on the same rows, with weights and groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class AucGain(NamedTuple):
    """AUC after minus AUC before, and its standard error."""

    gain: float
    se: float


def auc_gain(
    fake: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    weight: np.ndarray,
    unit: np.ndarray | None = None,
) -> AucGain:
    """The gain in weighted AUC, with DeLong's (1988) paired standard error summed within units.

    Args:
        fake: (n,) bool.
        before, after: (n,) float64 scores.
        weight: (n,) ≥ 0, as from `generator_weights`; made to sum to 1 in each class.
        unit: (n,) numbers of sets of rows that are not independent; by default each row is its own.

    >>> fake, half = np.array([False, False, True, True]), np.full(4, 0.5)
    >>> auc_gain(fake, np.array([1.0, 2, 0, 3]), np.array([1.0, 2, 3, 4]), half)
    AucGain(gain=0.5, se=0.3535...)
    """
    share = weight / np.where(fake, weight[fake].sum(), weight[~fake].sum())
    change = _placements(fake, after, share) - _placements(fake, before, share)
    gain = float(share[fake] @ change[fake])
    parts = np.bincount(np.arange(len(fake)) if unit is None else unit, share * (change - gain))
    return AucGain(gain, float(np.sqrt(parts @ parts)))


def _placements(fake: np.ndarray, scores: np.ndarray, share: np.ndarray) -> np.ndarray:
    """For each fake the share of photographs below it, for each photograph of fakes above it, ties half."""
    placed = np.empty(len(fake))
    for rows, sign in ((fake, 1.0), (~fake, -1.0)):
        others, mine = sign * scores[~rows], sign * scores[rows]
        order = np.argsort(others)
        below = np.append(0.0, np.cumsum(share[~rows][order]))
        ends = (np.searchsorted(others[order], mine, side=side) for side in ("left", "right"))
        placed[rows] = sum(below[end] for end in ends) / 2
    return placed
