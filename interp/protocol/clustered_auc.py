"""AUC of one set of scores with its interval where images come in groups, without resampling."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from interp.protocol.metrics import check_scores


class ClusteredAuc(NamedTuple):
    """An AUC, the ends of its interval, and the one-sided p against 0.5 or less; all NaN where it cannot be told."""

    auc: float
    low: float
    high: float
    p: float


def clustered_auc(
    y: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95
) -> ClusteredAuc:
    """The chance that a row of class 1 scores above one of class 0, and how sure it is when whole groups are drawn.

    Placements (DeLong et al. 1988) are summed within groups (Obuchowski 1997); interval and p are on the logit scale.
    Where all rows of one class score above all of the other, the end of the interval is the AUC at which that would
    still happen, once in 2 / (1 - level) times, to as many groups as the smaller class has.

    Args:
        y: (n,) 1 or 0.
        scores: (n,) float, higher for 1.
        groups: (n,) names of rows that are not independent; by default all are. Groups may hold both classes.
        level: of the interval.

    Returns:
        `ClusteredAuc`, NaN with fewer than two rows of a class.

    >>> found = clustered_auc([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    >>> round(found.auc, 3), found.low < 0.5 < found.high, round(found.p, 3)
    (0.889, True, 0.072)
    """
    shown, values = check_scores(y, scores)
    n_with, n_without = int(shown.sum()), int((~shown).sum())
    if min(n_with, n_without) < 2:
        return ClusteredAuc(*[float("nan")] * 4)
    group = np.unique(np.arange(len(values)) if groups is None else np.asarray(groups), return_inverse=True)[
        1
    ]
    ranks = rankdata(values)
    placed = np.empty(len(values))
    placed[shown] = (ranks[shown] - rankdata(values[shown])) / n_without
    placed[~shown] = 1 - (ranks[~shown] - rankdata(values[~shown])) / n_with
    value = float(placed[shown].mean())
    share = np.where(shown, 1 / n_with, 1 / n_without)
    sums = np.bincount(group, (placed - value) * share)
    many = len(sums)
    error = float(np.sqrt((sums**2).sum() * many / max(many - 1, 1)))
    tail = (1 - level) / 2
    if value in (0.0, 1.0):
        fewest = min(len(np.unique(group[shown])), len(np.unique(group[~shown])))
        end = tail ** (1 / fewest)
        found = (value, end, 1.0, 0.5**fewest) if value else (value, 0.0, 1 - end, 1.0)
        return ClusteredAuc(*found)
    spread = error / (value * (1 - value))
    half = norm.ppf(1 - tail) * spread
    p = float(norm.sf(logit(value) / spread)) if spread > 0 else float(value <= 0.5)
    return ClusteredAuc(value, float(expit(logit(value) - half)), float(expit(logit(value) + half)), p)
