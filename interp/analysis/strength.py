"""How strongly to regularise: the C whose detector separates the select rows best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.analysis.logistic import balanced_weights, coefficient_path
from interp.analysis.transfer import transfer_auc
from interp.errors import InputError

CS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True, eq=False)
class ChosenC:
    """A logistic regression whose C was chosen on select rows.

    Attributes:
        C: the chosen one.
        select_auc: its AUC on the select rows, mean over generators.
        coef, intercept: (p,) float64 and a number.
        path: (c,) select AUC of every C tried, in ascending order of C.
    """

    C: float
    select_auc: float
    coef: np.ndarray
    intercept: float
    path: np.ndarray

    def score(self, X: Any) -> np.ndarray:
        """Log-odds (n,) of rows (n, p)."""
        return np.asarray(X, dtype=float) @ self.coef + self.intercept


def choose_C(
    train_X: Any,
    train_y: Any,
    select_X: Any,
    select_y: Any,
    Cs: Any = CS,
    *,
    generator: Any = None,
) -> ChosenC:
    """Fit class-balanced logistic regressions on train rows and keep the C with the best select AUC.

    Args:
        train_X, train_y: (n, p) standardised columns and (n,) labels, 1 fake and 0 real.
        select_X, select_y: (m, p) and (m,).
        Cs: inverse strengths of the penalty to try; of equally good ones the strongest penalty wins.
        generator: (m,) names; the AUC is then the mean over the generators of the fakes.

    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 2
    >>> train, select = rng.normal(size=(2, 60, 3)) + 2 * y[:, None]
    >>> choose_C(train, y, select, y).select_auc > 0.9
    True
    """
    strengths = ascending(Cs)
    coef, intercept = coefficient_path(train_X, train_y, strengths, balanced_weights(train_y))
    scores = np.asarray(select_X, dtype=float) @ coef[:, 0].T + intercept[:, 0]
    path = transfer_auc(select_y, scores, generator)
    best = first_best(path)
    return ChosenC(float(strengths[best]), float(path[best]), coef[best, 0], float(intercept[best, 0]), path)


def ascending(Cs: Any) -> np.ndarray:
    """One C or several, ascending and each once."""
    strengths = np.unique(np.asarray(Cs, dtype=float))
    if not len(strengths) or not (strengths > 0).all():
        raise InputError(f"expected C > 0, got {Cs!r}; {CS} is the default")
    return strengths


def first_best(values: Any) -> int:
    """Position of the first value that no other exceeds by more than rounding.

    >>> first_best([0.7, 0.9, 0.9 + 1e-15])
    1
    """
    found = np.asarray(values, dtype=float)
    return int(np.flatnonzero(found >= np.nanmax(found) - 1e-12)[0])
