"""What another generator would give: an interval for the mean over generators, and one for the next of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import bootstrap, t

from interp.errors import InputError
from interp.protocol.intervals import Interval, check_level, two_way_interval

ENOUGH_FAMILIES = 20
"""From so many families on they are resampled; below, Student's t is taken."""


def generator_interval(
    values: ArrayLike,
    families: ArrayLike | None = None,
    *,
    level: float = 0.95,
    n_resamples: int = 9999,
    random_state: int = 0,
) -> Interval:
    """An interval for the mean over generators, as other families of generators would give it.

    Below 20 families Student's t on the family-clustered variance (`two_way_interval` with one side); from 20 on the
    BCa bootstrap over whole families (`scipy.stats.bootstrap`, Efron 1987). Images that were drawn differ too: that
    is in the spread of the values already.

    Args:
        values: (g,) a number for each generator, such as the AUC of its fakes against the photographs.
        families: (g,) names; generators of one family count as one draw. By default each is its own.
        level: coverage.
        n_resamples, random_state: of the bootstrap.

    Returns:
        `Interval`; its df are families - 1, and -1 where the families were resampled.

    >>> found = generator_interval([0.9, 0.8, 0.7])
    >>> round(found.low, 3), round(found.high, 3), found.df
    (0.552, 1.048, 2)
    >>> generator_interval([0.9, 0.8, 0.7], ["sd", "sd", "sd"]).reason
    'all generators are of one family; two at least tell how much another one would change'
    """
    check_level(level)
    given, family = _draws(values, families)
    n = int(family.max()) + 1
    if n < ENOUGH_FAMILIES:
        cells = pd.DataFrame({"value": given, "family": family})
        found = two_way_interval(cells, "value", "family", "family", level)
        if found.reason:
            reason = "all generators are of one family; two at least tell how much another one would change"
            return Interval(found.mean, found.low, found.high, level, n, n, found.df, reason)
        return found
    mean = float(given.mean())
    sums, sizes = np.bincount(family, given), np.bincount(family)
    if np.ptp(sums / sizes) < 1e-12:  # resamples are all alike
        return Interval(mean, mean, mean, level, n, n, -1)
    ends = bootstrap(
        (sums, sizes),
        lambda total, size, axis: total.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=n_resamples,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(random_state),
    ).confidence_interval
    return Interval(mean, float(ends.low), float(ends.high), level, n, n, -1)


def next_generator_interval(
    aucs: ArrayLike, families: ArrayLike | None = None, *, level: float = 0.95, edge: float = 1e-3
) -> Interval:
    """Where the AUC of one more generator is to be expected: a prediction interval.

    On the logit of the AUC, mean ± t s sqrt(1 + 1 / g) for g generators (the classical interval for one more normal
    observation; Hahn and Meeker 1991), mapped back, so it stays in 0 to 1. Where families hold several generators, the
    families are the draws: their means spread with the family variance, and a single generator of a new family adds
    the variance inside families that its family's mean would have averaged away.

    It assumes that the next generator is drawn as these were: measured with about as many images, neither newer nor
    chosen for being hard, and the logits roughly normal. A generator of a new kind is not covered. With few
    generators it is wide, and must be: t alone is 12.7 for two, 4.3 for three, 2.3 for ten.

    Args:
        aucs: (g,) AUC of each generator, 0 to 1.
        families: (g,) names; by default each generator is its own family.
        level: chance that the interval holds the next AUC.
        edge: AUCs nearer than this to 0 or 1 are put there, for their logit is not finite.

    Returns:
        `Interval` around the AUC at the mean logit; df are families - 1.

    >>> found = next_generator_interval([0.9, 0.8, 0.7, 0.85])
    >>> round(found.low, 2), round(found.mean, 2), round(found.high, 2)
    (0.38, 0.82, 0.97)
    """
    check_level(level)
    values, family = _draws(aucs, families)
    if values.min() < 0 or values.max() > 1:
        raise InputError(f"AUCs lie between 0 and 1; given {values.min()} to {values.max()}")
    if not 0 < edge < 0.5:
        raise InputError(f"edge must lie between 0 and 0.5, such as 0.001; given {edge}")
    values = logit(values.clip(edge, 1 - edge))
    sizes = np.bincount(family)
    means = np.bincount(family, values) / sizes
    n, centre = len(means), float(means.mean())
    mean = float(expit(centre))
    if n < 2:
        reason = "all generators are of one family; two at least tell how much the next one may differ"
        return Interval(mean, float("nan"), float("nan"), level, n, n, 0, reason)
    within = ((values - means[family]) ** 2).sum() / max(len(values) - n, 1)
    variance = means.var(ddof=1) * (1 + 1 / n) + within * (1 - 1 / sizes).mean()
    half = float(t.ppf((1 + level) / 2, n - 1)) * np.sqrt(variance)
    return Interval(mean, float(expit(centre - half)), float(expit(centre + half)), level, n, n, n - 1)


def _draws(values: ArrayLike, families: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Values (g,) float64 and the number of each one's family (g,) int64."""
    given = np.asarray(values, dtype=np.float64)
    names = np.arange(len(given)) if families is None else np.asarray(families)
    if given.ndim != 1 or names.shape != given.shape:
        raise InputError(
            f"values and families must both be (g,), one for each generator; given {given.shape} and {names.shape}"
        )
    family = pd.factorize(names)[0]
    missing = int((~np.isfinite(given)).sum()) + int((family < 0).sum())
    if missing or not len(given):
        raise InputError(
            f"{missing} values or families of {len(given)} generators are missing; drop these generators and say so"
        )
    return given, family.astype(np.int64)
