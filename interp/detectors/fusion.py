"""Several detectors' log-odds as one: the fusion rules of the few-shot detector's public code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_expit, logsumexp

from interp.errors import InputError, unknown_name


def fuse(logits: ArrayLike, rule: str = "soft_or_prob") -> np.ndarray:
    """One log-odds for each image out of those of m detectors.

    Rules of Cozzolino et al. 2024 (arXiv 2312.00195), s the sigmoid of a logit x:

    - soft_or_prob (theirs by default): logit(1 - Π (1 - s)), fake if any detector says so;
    - mean_prob: logit(mean s);
    - mean_logit, median_logit, max_logit: of the x;
    - lse_logit: log Σ exp x.

    All is computed with logarithms of probabilities, so no score saturates.

    Args:
        logits: (n, m) log-odds, high for fakes; comparable, so calibrated first.
        rule: one of the above.

    Returns:
        (n,) float64.

    Raises:
        InputError: an unknown rule, or other than (n, m) finite numbers.

    >>> fuse([[0.0, 0.0], [800.0, -800.0]]).round(3)
    array([  1.099, 800.   ])
    """
    values = np.asarray(logits, dtype=np.float64)
    if rule not in RULES:
        raise unknown_name("fusion rule", rule, RULES)
    if values.ndim != 2 or not values.shape[1] or not np.isfinite(values).all():
        raise InputError(
            f"logits must be (n, m) finite numbers, a column for each detector; given shape {values.shape}"
        )
    return RULES[rule](values)


def _soft_or(x: np.ndarray) -> np.ndarray:
    """log(1 - q) - log q with log q = Σ log(1 - s), by whichever form of log(1 - q) keeps its digits."""
    log_q = log_expit(-x).sum(axis=1)
    with np.errstate(divide="ignore"):
        log_1_q = np.where(log_q < -np.log(2), np.log1p(-np.exp(log_q)), np.log(-np.expm1(log_q)))
    # All s so small that 1 - q is 0 in double precision: there 1 - q = Σ s to the last digit.
    return np.where(np.isfinite(log_1_q), log_1_q, logsumexp(log_expit(x), axis=1)) - log_q


def _mean_prob(x: np.ndarray) -> np.ndarray:
    return logsumexp(log_expit(x), axis=1) - logsumexp(log_expit(-x), axis=1)


RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "soft_or_prob": _soft_or,
    "mean_prob": _mean_prob,
    "mean_logit": lambda x: x.mean(axis=1),
    "median_logit": lambda x: np.median(x, axis=1),
    "max_logit": lambda x: x.max(axis=1),
    "lse_logit": lambda x: logsumexp(x, axis=1),
}
"""Fusion rules by the names that the published code gives them."""
