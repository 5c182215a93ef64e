"""Choose the strength of the penalty on select rows: one fixed C flatters whichever arm it happens to suit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interp.analysis.logistic import balanced_weights, coefficient_path
from interp.errors import InputError
from interp.protocol.metrics import auc_by_generator, auc_columns

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths C to choose from, ascending; on standardised columns the first is close to the difference of
class means, the last close to no penalty for 192 columns."""


CLOSE = 1e-4
"""Newton's last step, as a part of the coefficients; it converges quadratically, so they are closer than that."""


@dataclass(frozen=True)
class Choice:
    """A fitted logistic regression and how its strength was chosen.

    Attributes:
        C: the inverse strength.
        select_auc: AUC on the select rows, mean over their generators.
        coef: (p,) float64.
        intercept: float.
    """

    C: float
    select_auc: float
    coef: np.ndarray
    intercept: float


def choose_strength(
    train_X: np.ndarray,
    train_y: np.ndarray,
    select_X: np.ndarray,
    select_y: np.ndarray,
    *,
    generator: np.ndarray | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> Choice:
    """Fit one logistic regression for each strength and keep the one with the highest AUC on select rows.

    Both classes weigh the same; of equally good strengths the stronger penalty is kept.

    Args:
        train_X, select_X: (n, p) and (m, p), columns of one scale.
        train_y, select_y: (n,) and (m,), 1 fake, 0 photograph.
        generator: (m,) names of the select rows; their AUC is then the mean over generators.
        strengths: C values, ascending.

    Raises:
        InputError: a part without both classes, or no strengths.
    """
    if not len(strengths) or min(strengths) <= 0:
        raise InputError(f"strengths must be positive values of C; given {list(strengths)}")
    for part, labels in (("train", train_y), ("select", select_y)):
        if set(np.unique(labels)) != {0, 1}:
            raise InputError(
                f"the {part} rows need photographs and fakes; given labels {np.unique(labels).tolist()}"
            )
    grid = np.sort(np.asarray(strengths, dtype=float))
    coef, intercept = coefficient_path(train_X, train_y, grid, balanced_weights(train_y), tol=CLOSE)
    scores = select_X @ coef[:, 0].T + intercept[:, 0]
    aucs = mean_auc(select_y, scores, generator)
    best = int(np.argmax(aucs))
    return Choice(float(grid[best]), float(aucs[best]), coef[best, 0], float(intercept[best, 0]))


def mean_auc(y: np.ndarray, scores: np.ndarray, generator: np.ndarray | None = None) -> np.ndarray:
    """AUC of each score column (n, m), mean over the generators of the fakes, each against all photographs; (m,).

    >>> mean_auc(np.array([0, 0, 1, 1]), np.array([[1.0], [2], [3], [0]]), np.array(["real", "real", "a", "b"]))
    array([0.5])
    """
    if generator is None:
        return auc_columns(y, scores)
    return auc_by_generator(y, scores, generator).mean(0)
